"""What lies in an output folder: pictures and films with their sidecars, read as rows for the library. Knows no database."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flux_svd import files
from flux_svd.artifact import Artifact, ImageArtifact, RunFacts, VideoArtifact, load_recipe, load_request, models_of
from flux_svd.errors import InvalidRequest
from flux_svd.recipe import VideoRecipe

KINDS = {".png": "image", ".mp4": "video"}
CANDIDATE = "_candidate-"  # in the name of a picture that was not taken
_NO_FACTS: dict[str, Any] = {"seconds": 0.0, "device": "", "peak_bytes": 0, "scores": {}}  # of a result without its sidecar


def sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def scan(outputs: Path, under: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path relative to the outputs, stamp) of every picture and film; a sidecar whose file is gone stands for it."""
    try:
        entries = {entry.name: entry for entry in os.scandir(outputs / under) if not entry.name.startswith(".")}
    except OSError:
        return
    for name, entry in entries.items():
        if entry.is_dir(follow_symlinks=False):
            yield from scan(outputs, f"{under}{name}/")
            continue
        media = name[:-5] if name.endswith(".json") else name
        if Path(media).suffix not in KINDS or (media != name and media in entries) or not entry.is_file(follow_symlinks=False):
            continue
        try:
            yield under + media, _stamp([entries[part].stat() for part in (media, media + ".json") if part in entries])
        except FileNotFoundError:
            continue  # thrown away meanwhile


def read_row(outputs: Path, name: str, *, compare: bool = False) -> dict[str, Any] | None:
    """Return the index row of a result, or None for a file that is not of this program, or gone by now.

    With `compare` every byte is compared with what the sidecar says; else only the size.
    """
    path = outputs / name
    sidecar = files.read_json(sidecar_of(path))
    try:
        told = _told(sidecar)
        problem = "" if path.exists() else "its file is missing"
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration):
        try:
            request, recipe = load_request(path), load_recipe(path, enlarged=True)
        except InvalidRequest:  # no sidecar and no record
            if not sidecar_of(path).exists():
                return None
            told, problem = {"prompt": "", "model": "", "score": None}, "its sidecar is damaged, and the file tells nothing"
        else:
            told = {"prompt": request.prompt, "model": models_of(recipe)[0], "score": None}
            problem = "its sidecar is damaged" if sidecar_of(path).exists() else "it has no sidecar"
        sidecar = {}
    if not problem:
        problem = _compare(path, sidecar, every_byte=compare)
    parts = [part.stat() for part in (path, sidecar_of(path)) if part.exists()]
    if not parts:
        return None
    return {
        **told, "path": name, "kind": KINDS[path.suffix], "made": parts[0].st_mtime,
        "words": f"{told['prompt']} {path.stem}".casefold(),
        "starred": sidecar.get("starred") is True, "owner": str(sidecar.get("owner", "")), "job": str(sidecar.get("job", "")),
        "stamp": _stamp(parts), "problem": problem,
    }  # fmt: skip


def load_artifacts(paths: Sequence[Path]) -> list[Artifact]:
    """Return what a job made, from its files: one film with its keyframes, or pictures; candidates belong to what was chosen.

    Raises:
        UnreadableFile: a file is missing or carries no record of this version.
    """
    candidates = tuple(path for path in paths if CANDIDATE in path.stem)
    chosen = [path for path in paths if path not in candidates]
    films = [path for path in chosen if path.suffix == ".mp4"]
    if films:
        return [_load(film, candidates, tuple(path for path in chosen if path not in films)) for film in films]
    return [_load(path, tuple(one for one in candidates if one.stem.startswith(path.stem + CANDIDATE))) for path in chosen]


def _load(path: Path, candidates: tuple[Path, ...], keyframes: tuple[Path, ...] = ()) -> Artifact:
    request, recipe = load_request(path), load_recipe(path)
    told = files.read_json(sidecar_of(path)).get("run", {})
    known = {name: value for name, value in told.items() if name in RunFacts.__dataclass_fields__}
    run = RunFacts(**{**_NO_FACTS, **known, "notes": tuple(known.get("notes", ()))})
    if isinstance(recipe, VideoRecipe):
        return VideoArtifact(path, keyframes, request, recipe, run, candidates)
    return ImageArtifact(path, request, recipe, run, candidates)


def _stamp(parts: list[os.stat_result]) -> str:
    """Return what changes when a file or its sidecar does."""
    return "/".join(f"{part.st_mtime_ns}-{part.st_size}" for part in parts)


def _told(sidecar: dict[str, Any]) -> dict[str, Any]:
    """Return prompt, model and score as the sidecar tells them; anything but a sidecar of ours raises."""
    recipe = sidecar["recipe"]
    score = sidecar["run"]["scores"].get("clip_cosine")
    parts = [recipe, *recipe.get("keyframes", ()), *recipe.get("transitions", ())]  # given pictures have no model
    model = next(part["model"] for part in parts if "model" in part)
    prompt = recipe["prompt"] if "prompt" in recipe else sidecar["request"]["prompt"]
    return {"prompt": str(prompt), "model": str(model), "score": None if score is None else float(score)}


def _compare(path: Path, sidecar: dict[str, Any], *, every_byte: bool) -> str:
    size, expected = path.stat().st_size, sidecar.get("bytes")
    if isinstance(expected, int) and size != expected:
        return f"it is damaged: {size} of {expected} bytes"
    if every_byte and hashlib.sha256(path.read_bytes()).hexdigest() != sidecar.get("sha256"):
        return "it is damaged: its bytes are not those that were saved"
    return ""
