"""What a model does on this machine, measured through a session like any other work: timings, and a first contact."""

from __future__ import annotations

import datetime
import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from flux_svd import __version__, files
from flux_svd.artifact import Artifact
from flux_svd.catalog import IMAGE_FAMILIES, ModelSpec, find_model
from flux_svd.device import read_budget
from flux_svd.errors import BadOutput, FluxSvdError
from flux_svd.fitting import describe_placement
from flux_svd.pictures import encode_png
from flux_svd.plan import Plan
from flux_svd.redact import redact
from flux_svd.request import Request, make_request
from flux_svd.run import OnProgress
from flux_svd.session import Session
from flux_svd.versions import installed_versions

VERIFY_SEED = 7
ALWAYS_HERE = ("pocket-flux", "pocket-klein", "pocket-svd")
POCKET_PROMPTS = ("a red circle on a blue background", "a yellow star on a green background")
PROMPTS = ("a red fox in fresh snow, photograph", "a bowl of green apples on a wooden table, photograph")
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "open_clip_torch", "imageio-ffmpeg")


def describe_machine(home: Path) -> dict[str, Any]:
    """Return where and with what a measurement was taken."""
    budget = read_budget(home)
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": budget.device,
        "device_name": budget.device_name,
        "device_bytes": budget.device_bytes,
        "host_bytes": budget.host_bytes,
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": {"flux_svd": __version__, **dict(installed_versions(*LIBRARIES))},
    }


def bench(session: Session, models: Sequence[str], runs: int, on_progress: OnProgress, stop: threading.Event) -> dict[str, Any]:
    """Return timings of each model: a cold run, which loads it, and warm ones, each of a seed of its own.

    Seconds are of a whole run, scoring and saving included. The session's stages are to be empty, so that nothing is reused.

    Raises:
        FluxSvdError: as `Session.plan` and `Session.run`.
    """
    specs = [find_model(name, field="models", families=(*IMAGE_FAMILIES, "svd")) for name in models]
    return {**describe_machine(session.home), "rows": [_timed(session, spec, runs, on_progress, stop) for spec in specs]}


def _timed(session: Session, spec: ModelSpec, runs: int, on_progress: OnProgress, stop: threading.Event) -> dict[str, Any]:
    session.unload()
    facts = []
    for seed in range(runs + 1):
        plan = session.plan(wish_of(session, spec, seed))
        facts.append(session.run(plan, on_progress, stop)[-1].run)
    warm, placed, recipe = [fact.seconds for fact in facts[1:]], plan.placement_of(spec.name), plan.recipes[0]
    return {
        "model": spec.name, "what": "film" if spec.family == "svd" else "picture", "width": recipe.width, "height": recipe.height,
        "placement": f"{placed.rung}: {describe_placement(placed)}", "runs": runs, "cold_seconds": facts[0].seconds,
        "seconds": warm, "median_seconds": round(statistics.median(warm), 3), "reused_stages": sum(fact.reused for fact in facts),
        "peak_bytes": max(fact.peak_bytes for fact in facts), "predicted_peak_bytes": placed.peak_bytes,
        "host_peak_bytes": host_peak_bytes(), "predicted_host_peak_bytes": plan.host_peak_bytes,
    }  # fmt: skip


def verify(
    session: Session, model: str, on_progress: OnProgress, stop: threading.Event
) -> tuple[dict[str, Any], FluxSvdError | None]:
    """Return a report of a model's first work here: does it load, is what it makes finite, does it show what was asked?

    A failure is part of the report, and returned, not raised: `passed` is False and `error` says why. No path and no token is in
    the report, so that it can be passed on. `clip_cosine` is of the picture and its prompt, `other_cosine` of the picture and
    another prompt.
    """
    spec = find_model(model, field="model", families=(*IMAGE_FAMILIES, "svd"))
    report: dict[str, Any] = {**describe_machine(session.home), "model": model, "revision": spec.revision, "passed": False}
    begun, failure = time.monotonic(), None
    try:
        plan = session.plan(wish_of(session, spec, seed=VERIFY_SEED))
        report |= _describe_plan(plan, spec)
        made = session.run(plan, on_progress, stop)[-1]
        report |= _describe_result(session, made, spec)
        if report["clip_cosine"] <= report["other_cosine"]:
            raise BadOutput("what was made matches another prompt better than its own")
        report["passed"] = True
    except FluxSvdError as error:
        failure = error
        report["error"] = redact(f"{type(error).__name__}: {error}").replace(str(session.home), "HOME")
    report["seconds"] = round(time.monotonic() - begun, 3)
    report["host_peak_bytes"] = host_peak_bytes()
    return report, failure


def write_report(report: dict[str, Any], folder: Path, name: str) -> Path:
    """Write a report as JSON under a name of its own and return the file."""
    files.make_folder(folder)
    return files.write_new(folder, name, ".json", (json.dumps(report, indent=1) + "\n").encode())


def host_peak_bytes() -> int:
    """Return the most memory this process has held, 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes on macOS, kilobytes on Linux
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _describe_plan(plan: Plan, spec: ModelSpec) -> dict[str, Any]:
    placed = plan.placement_of(spec.name)
    return {
        "placement": f"{placed.rung}: {describe_placement(placed)}",
        "predicted_peak_bytes": placed.peak_bytes,
        "predicted_host_peak_bytes": plan.host_peak_bytes,
        "predicted_seconds": plan.seconds,
        "decisions": [f"{note.what}: {note.value} ({note.why})" for note in plan.decisions],
    }


def _describe_result(session: Session, made: Artifact, spec: ModelSpec) -> dict[str, Any]:
    own, other = _prompts(spec)
    against = session.score(made.path, other)
    return {
        "finite": True,  # engines refuse what is not, and what is constant
        "clip_cosine": session.score(made.path, own)["clip_cosine"],
        "other_cosine": against["clip_cosine"],
        "scorer": against["scorer"],
        "run_seconds": made.run.seconds,
        "peak_bytes": made.run.peak_bytes,  # 0 where the device does not tell
        "notes": list(made.run.notes),
        "result": made.path.name,
    }


def wish_of(session: Session, spec: ModelSpec, seed: int) -> Request:
    """Return the fixed wish for a model: a picture, or for a video model a film between two given ones, so that it is alone."""
    prompt = _prompts(spec)[0]
    if spec.family == "svd":
        pictures = [session.store.keep_picture(encode_png(_red_circle(*spec.size, at))) for at in (0.35, 0.65)]
        stages = [{"prompt": prompt, "picture": picture} for picture in pictures]
        return make_request({"kind": "video", "prompt": prompt, "seed": seed, "stages": stages, "video_model": spec.name})
    return make_request({"kind": "image", "prompt": prompt, "seed": seed, "model": spec.name})


def _red_circle(width: int, height: int, at: float) -> Image.Image:
    """Return what the first of `POCKET_PROMPTS` says; `at` is the circle's place from the left, 0 … 1."""
    picture = Image.new("RGB", (width, height), (40, 70, 200))
    x, y, radius = width * at, height / 2, height / 4
    ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), fill=(210, 40, 40))
    return picture


def _prompts(spec: ModelSpec) -> tuple[str, str]:
    """Return what is asked for, and another prompt; a video model goes between pictures of the first."""
    return POCKET_PROMPTS if spec.pocket or spec.family == "svd" else PROMPTS
