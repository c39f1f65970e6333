"""Makes a result again from what its file carries, and says whether it is the same, and if not, what else is different."""

from __future__ import annotations

import dataclasses
import itertools
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd import files
from flux_svd.artifact import load_recipe, load_request, models_of
from flux_svd.catalog import MODELS
from flux_svd.encode import iterate_film
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Plan
from flux_svd.recipe import (
    ImageRecipe,
    PlannedRecipe,
    Recipe,
    Versions,
    VideoRecipe,
    candidates_of,
    fingerprint,
    stage_named,
    with_keyframes,
)
from flux_svd.request import make_request
from flux_svd.run import OnProgress
from flux_svd.session import Session
from flux_svd.store import Store

# Below this a person sees the difference side by side; bf16 on another kind of GPU stays far above it.
CLOSE_PSNR = 35.0

Verdict = Literal["identical", "close", "different"]


@dataclass(frozen=True)
class Replay:
    """How a result made again compares with the first.

    Attributes:
        psnr: in dB, of the frame that differs most; None where the pixels are equal or the sizes differ.
        changes: what is different between then and now: versions, device, weights; each a sentence.
    """

    verdict: Verdict
    psnr: float | None
    changes: tuple[str, ...]


def replay(
    path: Path, session: Session, on_progress: OnProgress | None = None, stop: threading.Event | None = None
) -> Replay:
    """Make the picture or film in `path` again on the device of `session`, from nothing, and compare.

    No stage is taken from the store and none is kept; the file is not touched.

    Raises:
        UnreadableFile: the file carries no request and recipe of this version.
        InvalidRequest: a picture it was made from is not here any more.
        ModelUnavailable, DoesNotFit: it cannot be made on this machine.
        Cancelled: `stop` was set.
    """
    recipe = load_recipe(path)
    plan = _plan_for(recipe, path, session)
    with files.scratch_folder(session.store.scratch) as folder:
        scratch = Session(
            home=session.home, output_dir=folder / "outputs", owner=session.owner, device_number=session.device_number,
            store=Store(session.home, stages=folder / "stages"),
        )  # fmt: skip
        _lend_references(plan.recipes[0], session.store, scratch.store)
        try:
            made = scratch.run(plan, on_progress, stop)[0]
        finally:
            scratch.unload()
        psnr = _lowest_psnr(path, made.path)
    verdict: Verdict = "different"
    if psnr is not None and psnr >= CLOSE_PSNR:
        verdict = "identical" if math.isinf(psnr) else "close"
    told = None if psnr is None or math.isinf(psnr) else round(psnr, 2)
    return Replay(verdict, told, tuple(_changes(recipe, made.recipe, path, made.run.device)))


def _plan_for(recipe: Recipe, path: Path, session: Session) -> Plan:
    """Return the plan that carries out `recipe` with the libraries of today."""
    request = load_request(path)
    fields: dict[str, Any] = {**request.model_dump(mode="json"), "seed": request.seed or 0, "best_of": 1}
    if isinstance(recipe, ImageRecipe):  # perhaps a keyframe, whose request is that of its film
        fields = {"kind": "image", "prompt": recipe.prompt, "model": recipe.model, "width": recipe.width, "height": recipe.height}
    else:
        fields["stages"] = [{**stage, "lock": None, "pick": None} for stage in fields["stages"] or ()] or None
        fields |= {"model": models_of(recipe)[0] if len(models_of(recipe)) > 1 else "auto", "video_model": models_of(recipe)[-1]}
    plan = session.plan(make_request(fields))
    remade = _with_versions(recipe, plan.recipes[0])
    return dataclasses.replace(
        plan, request=request, recipes=(remade,), keyframes=remade.keyframes if isinstance(remade, VideoRecipe) else ()
    )


def _lend_references(recipe: PlannedRecipe, lender: Store, borrower: Store) -> None:
    """Copy the pictures that recipes name and that are no part of this result: keyframes of other films."""
    keyframes = recipe.keyframes if isinstance(recipe, VideoRecipe) else (recipe,)
    own = {fingerprint(key) for key in keyframes}
    wanted = {stage_named(reference) for key in keyframes for one in candidates_of(key) for reference in one.references}
    for name in wanted - own - {""}:
        kept = lender.find_stage(name, "png")
        if kept is not None:
            borrower.keep_stage(name, "png", kept.data, kept.facts)


def _with_versions(recipe: Recipe, now: PlannedRecipe) -> Recipe:
    """Return the recipe with the library versions of `now`: they are what will run."""
    if isinstance(recipe, ImageRecipe) or not isinstance(now, VideoRecipe):
        versions = now.versions if isinstance(now, VideoRecipe) else candidates_of(now)[0].versions
        return dataclasses.replace(recipe, versions=versions)
    drawn = next((key.versions for key in now.keyframes if isinstance(key, ImageRecipe)), ())
    keyframes = tuple(
        dataclasses.replace(key, versions=drawn) if isinstance(key, ImageRecipe) else key for key in recipe.keyframes
    )
    film = with_keyframes(recipe, keyframes)
    transitions = tuple(dataclasses.replace(part, versions=now.parts[0].versions) for part in film.transitions)
    passes = tuple(dataclasses.replace(part, versions=now.parts[0].versions) for part in film.passes)
    return dataclasses.replace(film, transitions=transitions, passes=passes, versions=now.versions)


def _changes(then: Recipe, now: Recipe, path: Path, device: str) -> Iterator[str]:
    before, after = dict(_versions(then)), dict(_versions(now))
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{name} was {before.get(name, 'absent')}, now {after.get(name, 'absent')}"
    sidecar: Mapping[str, Any] = files.read_json(path.with_name(path.name + ".json"))
    told = sidecar.get("run", {}).get("device") if isinstance(sidecar.get("run", {}), dict) else None
    if told is None:
        yield "the device it was made on is not known: it has no sidecar"
    elif told != device:
        yield f"it was made on {told}, now on {device}"
    for model, revision in dict.fromkeys(_revisions(then)):
        if model in MODELS and MODELS[model].revision != revision:
            yield f"the weights of {model} were {revision or 'the newest then'}, now {MODELS[model].revision or 'the newest'}"


def _versions(recipe: Recipe) -> Versions:
    if isinstance(recipe, ImageRecipe):
        return recipe.versions
    drawn = [key.versions for key in recipe.keyframes if isinstance(key, ImageRecipe)]
    return tuple(itertools.chain(recipe.versions, recipe.parts[0].versions, *drawn))


def _revisions(recipe: Recipe) -> list[tuple[str, str]]:
    if isinstance(recipe, ImageRecipe):
        return [(recipe.model, recipe.revision)]
    drawn = [(key.model, key.revision) for key in recipe.keyframes if isinstance(key, ImageRecipe)]
    return [*drawn, *((part.model, part.revision) for part in recipe.parts)]


def _lowest_psnr(first: Path, second: Path) -> float | None:
    """Return the PSNR in dB of the frame that differs most, infinite for equal pixels; None if there is no frame to compare."""
    lowest = math.inf
    for a, b in itertools.zip_longest(_frames(first), _frames(second)):
        if a is None or b is None or a.shape != b.shape:
            return None
        error = float(np.mean((a.astype(np.float64) - b) ** 2))
        lowest = min(lowest, math.inf if error == 0 else 10 * math.log10(255.0**2 / error))
    return lowest


def _frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    if path.suffix != ".png":
        yield from iterate_film(path)
        return
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            yield np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise InvalidRequest("file", str(path), f"a picture that can be decoded ({error})") from None
