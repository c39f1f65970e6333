"""The one place of the web room that uses the Session: plans, runs, stops and counts. Pages and API ask here and nowhere else."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image, UnidentifiedImageError

from flux_svd import weights
from flux_svd.artifact import Artifact, VideoArtifact
from flux_svd.catalog import AUTO_IMAGE, IMAGE_FAMILIES, MODELS, Control, ModelSpec
from flux_svd.choosing import choose_model
from flux_svd.clock import Clock
from flux_svd.errors import DoesNotFit, FluxSvdError, InvalidRequest, ModelUnavailable, UnreadableFile
from flux_svd.memory import Budget
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.recipe import ImageRecipe, fingerprint
from flux_svd.request import make_request
from flux_svd.upscale import upscale_file
from flux_svd.web.owner import owner_of
from flux_svd.web.queued import Queued
from flux_svd.web.shelf import Shelf
from flux_svd.web.streamed import Streamed
from flux_svd.worker import ask_to_free

if TYPE_CHECKING:
    from flux_svd.session import Session

APART_SECONDS = 600.0
NEAR_PIXELS = 4_000_000  # of an enlarged copy: 12 MB in memory, made before a process of its own has started


@dataclass(frozen=True)
class Visitor:
    """One open page: `tab` is Gradio's id of it, `owner` whose its jobs and results are ("" where there is no cookie)."""

    tab: str
    owner: str


def visitor_of(request: gr.Request) -> Visitor:
    return Visitor(request.session_hash or "", owner_of(request.cookies))


class Desk:
    """Plans for all visitors, starts and stops their work, and shows it. `work` is where it lives: see the two rooms."""

    def __init__(self, session: Session, shelf: Shelf, work: Queued | Streamed) -> None:
        self.session, self.shelf, self.work = session, shelf, work
        self._one_apart = threading.Lock()

    def plan(self, fields: Mapping[str, Any], *, considering: bool = False) -> Plan:
        """Return the plan for these request fields; only `considering` it, see `Session.plan`.

        Raises:
            InvalidRequest, ModelUnavailable, DoesNotFit: as they say.
        """
        return self.session.plan(make_request(fields), considering=considering)

    def seconds(self, plan: Plan) -> float | None:
        """Return what a plan will take here: None while its steps were never timed; what is finished takes nothing."""
        return Clock(self.session.store, plan).predict()

    def start(self, plan: Plan, visitor: Visitor) -> str:
        """Return the id of the work that was started.

        Raises:
            QueueFull: with how many there are and may be.
        """
        return self.work.start(plan, visitor.owner)

    def watch(self, job_id: str, visitor: Visitor) -> AsyncGenerator[Progress | Artifact, None]:
        """Yield where the work stands and each result as it is done.

        Raises:
            InvalidRequest: there is no such work of this visitor.
            Cancelled: it was stopped.
            FluxSvdError: it could not be done.
        """
        return self.work.watch(job_id, visitor.owner)

    def stop(self, job_id: str, visitor: Visitor) -> None:
        """Stop the work; it ends within a step."""
        self.work.stop(job_id, visitor.owner)

    def finished_picture(self, recipe: ImageRecipe) -> bytes | None:
        """Return the PNG of a picture that is finished already, though what it is part of is not."""
        stage = self.session.store.find_stage(fingerprint(recipe), "png")
        return stage.data if stage else None

    def job_plan(self, job_id: str, visitor: Visitor) -> Plan | None:
        """Return the plan of a job of this visitor, or None where there is no such job."""
        return self.work.plan_of(job_id, visitor.owner)

    def address(self, path: Path, visitor: Visitor) -> str:
        return self.shelf.put(path, visitor.owner)

    def path_of(self, address: str, visitor: Visitor) -> Path | None:
        """Return the file that this visitor was given the address of, or None."""
        return self.shelf.path_of(address.split("/")[1], visitor.owner)

    def addresses(self, film: VideoArtifact, visitor: Visitor) -> list[str]:
        return [self.address(path, visitor) for path in film.keyframes]

    def keep_picture(self, source: Path | bytes) -> str:
        """Return the id of a given picture, made safe.

        Raises:
            UnreadableFile: it cannot be used.
        """
        return self.session.store.keep_picture(source, field="references")

    def has_picture(self, picture_id: str) -> bool:
        try:
            return self.session.store.picture(picture_id).is_file()
        except InvalidRequest:
            return False

    def score(self, path: str, text: str) -> dict[str, Any]:
        """Return how well a given picture or film matches a text.

        Raises:
            UnreadableFile: it is no picture and no film.
        """
        if not self.work.lasting:
            return self.session.score(Path(path), text)
        text = make_request({"kind": "image", "prompt": text}).prompt  # the same rules as for a prompt
        with self._one_apart:  # by a process of its own: this one never loads torch
            answer = ask_apart(["score", path, "--", text], self.session.home)
        found: dict[str, Any] = answer["scores"]
        return found

    def enlarge(self, path: Path, scale: int) -> Path:
        """Return a copy of a picture `scale` times as large, by interpolation, beside its original.

        Raises:
            FluxSvdError: it cannot be made, or there is no room.
        """
        if not self.work.lasting or _pixels_of(path) * scale**2 <= NEAR_PIXELS:
            return upscale_file(path, scale)
        with self._one_apart:  # by a process of its own: the copy of a large picture takes hundreds of megabytes
            return Path(ask_apart(["upscale", str(path), "--scale", str(scale)], self.session.home)["path"])

    def is_warm(self) -> bool:
        return bool(self.work.warm_models())

    def unload(self) -> None:
        """Let go of the models that are loaded, as soon as no work needs them."""
        if self.work.lasting:
            ask_to_free(self.session.home)
        else:
            self.session.unload()

    def queue_words(self) -> str:
        """Return "idle", "1 at work" or "3 in queue"."""
        return self.work.queue_words()

    def budget(self) -> Budget:
        return self.session.budget()

    def image_models(self) -> list[ModelSpec]:
        """Return the image models whose weights are here and whose licence was accepted where it has to be."""
        inventory = weights.read_inventory(self.session.store.home)
        return [spec for spec in MODELS.values() if spec.family in IMAGE_FAMILIES and inventory.has(spec)]

    def model_or_best(self, name: str) -> tuple[str, list[str]]:
        """Return the image model of a request, or "auto" and a sentence that says so where it is not ready here."""
        if name == "auto" or name in {spec.name for spec in self.image_models()}:
            return name, []
        return "auto", [f"{name} is not ready on this machine; the best here takes its place."]

    def resolve(self, name: str, references: int = 0) -> ModelSpec:
        """Return the model of this name; for "auto" the one a plan with so many references would take here now."""
        if name in MODELS:
            return MODELS[name]
        inventory = weights.read_inventory(self.session.store.home)
        try:
            return choose_model(name, "model", AUTO_IMAGE, IMAGE_FAMILIES, self.budget(), inventory, [], references=references)
        except (ModelUnavailable, DoesNotFit):
            return MODELS["pocket-flux"]

    def obeyed(self, name: str) -> frozenset[Control]:
        """Return the wishes that this model obeys; for "auto" references too, where a plan with some would take another model."""
        return self.resolve(name).obeys | (self.resolve(name, references=1).obeys & {"references"})


def _pixels_of(path: Path) -> float:
    """Return how many pixels a picture has by its header; without end where it cannot be read."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.width * picture.height
    except (OSError, Image.DecompressionBombError, UnidentifiedImageError):
        return math.inf


def ask_apart(arguments: Sequence[str], home: Path) -> dict[str, Any]:
    """Return the answer of one command of the command line, run as a process of its own.

    Raises:
        InvalidRequest, FluxSvdError: as the command refused it.
    """
    command = [sys.executable, "-m", "flux_svd", arguments[0], "--json", *arguments[1:]]
    environment = {**os.environ, "FLUX_SVD_HOME": str(home)}
    try:
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=APART_SECONDS, check=False)
        answer: dict[str, Any] = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise FluxSvdError(f"{arguments[0]} gave no answer; the program's log says why") from error
    if "error" not in answer:
        return answer
    if answer["kind"] == "UnreadableFile":
        raise UnreadableFile(answer["field"], Path(arguments[1]).name, answer["allowed"])
    raise FluxSvdError(answer["error"])
