"""What was made becomes files: pictures with the candidates beside them, films with their keyframes, each with its sidecar."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from flux_svd import artifact
from flux_svd.artifact import ImageArtifact, JobTag, RunFacts, VideoArtifact
from flux_svd.keyframes import Keyframe, explain_choice
from flux_svd.pictures import encode_png
from flux_svd.plan import Plan
from flux_svd.recipe import GivenPicture, ImageRecipe, VideoRecipe


class Saver:
    """Saves what one plan makes, by date; with a job under the job's names."""

    def __init__(self, outputs: Path, job: JobTag | None, plan: Callable[[], Plan], begin: Callable[[], None]) -> None:
        """Ask `plan` for the plan as it is by then, and tell `begin` before each file; it may raise `Cancelled`."""
        self._outputs, self._job, self._plan, self._begin = outputs, job, plan, begin

    def named(self, stem: str) -> str:
        """Return the name of a result before its ending, with the job's if there is one."""
        return f"{stem}_{self._job.id}" if self._job else stem

    def image(self, picture: Image.Image, recipe: ImageRecipe, run: RunFacts, name: str) -> ImageArtifact:
        """Save one picture under this name."""
        data = artifact.encode_image(picture, self._plan().request, recipe)
        path = self._save(data, ".png", recipe, run, name)
        return ImageArtifact(path, self._plan().request, recipe, run)

    def candidates(self, key: Keyframe, name: str, run: RunFacts) -> tuple[Path, ...]:
        """Save the candidates that were not taken beside the one that was, and return their files."""
        rows = explain_choice(key)
        saved = []
        for number, ((recipe, picture), row) in enumerate(zip(key.candidates, rows, strict=False), 1):
            if not row["taken"]:
                facts = dataclasses.replace(run, scores={"scorer": self._plan().scorer, "clip_cosine": row["match"]}, notes=())
                saved.append(self.image(picture, recipe, facts, f"{name}_candidate-{number}").path)
        return tuple(saved)

    def film(self, data: bytes, keys: Sequence[Keyframe], recipe: VideoRecipe, run: RunFacts) -> VideoArtifact:
        """Save a film (the bytes of an mp4 file) and its keyframes beside it."""
        request = self._plan().request
        stem = self.named(artifact.file_stem(request.prompt, self._plan().seed))
        own = run.scores["keyframes"]
        files: list[Path] = []
        candidates: dict[str, tuple[Path, ...]] = {}
        for n, key in enumerate(keys):
            name = f"{stem}_keyframe-{n + 1}"
            if isinstance(key.recipe, GivenPicture):  # the user's own picture: neither made here nor marked as made by a model
                files.append(artifact.place(encode_png(key.picture), ".png", self._folder(), name=name, job=self._job))
                continue
            scores = {"scorer": self._plan().scorer, "clip_cosine": own[n], "likeness": run.scores["likeness"][n]}
            facts = dataclasses.replace(run, scores={**scores, **choice_fact(key)}, ends=None, report=None)
            files.append(self.image(key.picture, key.recipe, facts, name).path)
            if key.name not in candidates:
                candidates[key.name] = self.candidates(key, name, facts)
        path = self._save(artifact.mark_film(data, request, recipe), ".mp4", recipe, run, stem)
        return VideoArtifact(path, tuple(files), request, recipe, run, tuple(itertools.chain(*candidates.values())))

    def _save(self, data: bytes, suffix: str, recipe: ImageRecipe | VideoRecipe, run: RunFacts, name: str) -> Path:
        self._begin()
        plan = self._plan()
        placement = [dataclasses.asdict(placement) for placement in plan.placements]
        return artifact.save(
            data, suffix, self._folder(), plan.request, recipe, run, name=name, placement=placement, job=self._job
        )

    def _folder(self) -> Path:
        return self._outputs / (self._job.day if self._job else datetime.date.today().isoformat())


def choice_fact(key: Keyframe) -> dict[str, Any]:
    """Return which candidates there were and how clear the choice was; {} where nothing was to choose."""
    if key.choice is None:
        return {}
    return {"candidates": explain_choice(key), "margin": key.choice.margin, "tie": key.choice.tie}
