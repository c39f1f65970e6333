"""Public endpoints for programs: picture, film, plan, score, with the same bounds and messages as everywhere.

Endpoints that work for long yield where they stand; their last value is the result.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import gradio as gr
from starlette.concurrency import run_in_threadpool

from flux_svd.artifact import Artifact, ImageArtifact, VideoArtifact
from flux_svd.errors import FluxSvdError, InvalidRequest
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.web import parts
from flux_svd.web.actions import Actions
from flux_svd.web.desk import Desk, Visitor, visitor_of
from flux_svd.web.exports import ExportRoutes
from flux_svd.web.job_api import job_endpoints
from flux_svd.web.queued import Queued

P = ParamSpec("P")


def add_endpoints(desk: Desk, exports: ExportRoutes) -> None:
    """Add the endpoints to the current Blocks context."""

    async def generate_image(
        request: gr.Request,
        prompt: str,
        negative_prompt: str | None = None,
        model: str = "auto",
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        count: int = 1,
        references: list[str] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Draw pictures. `references` are ids from keep_picture. The last value holds `pictures`, each with its `url`."""
        visitor = visitor_of(request)
        plan = await run_in_threadpool(
            desk.plan,
            {
                "kind": "image",
                "prompt": prompt,
                "negative_prompt": negative_prompt,
                "model": model,
                "width": width,
                "height": height,
                "steps": steps,
                "guidance": guidance,
                "seed": seed,
                "count": count,
                "references": tuple(references or ()),
            },
        )
        made = []
        async for item in _followed(desk, plan, visitor):
            if isinstance(item, ImageArtifact):
                made.append(_image(desk, item, visitor))
            elif isinstance(item, dict):
                yield item
        yield {"done": True, "model": plan.model, "pictures": made, "plan": _plan(plan)}

    async def generate_video(
        request: gr.Request,
        prompt: str,
        stages: list[str] | None = None,
        keyframes: int | None = None,
        frames_per_transition: int | None = None,
        total_frames: int | None = None,
        fps: int = 12,
        model: str = "auto",
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        transition_steps: int | None = None,
        motion_bucket_id: int = 180,
        seed: int | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Make a film. `stages` are prompts, one for each keyframe. The last value holds `url` and the `keyframes`."""
        visitor = visitor_of(request)
        fields = _film_fields(
            prompt=prompt,
            stages=stages,
            keyframes=keyframes,
            frames_per_transition=frames_per_transition,
            total_frames=total_frames,
            fps=fps,
            model=model,
            width=width,
            height=height,
            steps=steps,
            transition_steps=transition_steps,
            motion_bucket_id=motion_bucket_id,
            seed=seed,
        )
        plan = await run_in_threadpool(desk.plan, fields)
        async for item in _followed(desk, plan, visitor):
            if isinstance(item, VideoArtifact):
                yield {"done": True, "model": plan.model, **_film(desk, item, visitor), "plan": _plan(plan)}
            elif isinstance(item, dict):
                yield item

    def plan(
        prompt: str,
        kind: str = "image",
        model: str = "auto",
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        count: int | None = None,
        stages: list[str] | None = None,
        keyframes: int | None = None,
        fps: int | None = None,
    ) -> dict[str, Any]:
        """Say what would happen, without doing it."""
        given = {
            "prompt": prompt,
            "model": model,
            "width": width,
            "height": height,
            "steps": steps,
            "guidance": guidance,
            "seed": seed,
            "count": count,
            "stages": stages,
            "keyframes": keyframes,
            "fps": fps,
        }
        present = {name: value for name, value in given.items() if value is not None}
        if kind not in ("image", "video"):
            raise InvalidRequest("kind", kind, "image, video")
        wish = _film_fields(**present) if kind == "video" else {"kind": kind, **present}
        return _plan(desk.plan(wish, considering=True))

    def score(path: str | None, text: str) -> dict[str, Any]:
        """Say how well a picture or film matches a text."""
        return desk.score(_given(path), text)

    def keep_picture(path: str | None) -> str:
        """Keep a picture, made safe, and return its id for `references`."""
        return desk.keep_picture(Path(_given(path)))

    many = {"concurrency_limit": None}  # the device itself is one at a time; waiting there is told
    gr.api(_told(generate_image), api_name="generate_image", **many)
    gr.api(_told(generate_video), api_name="generate_video", **many)
    gr.api(_told(plan), api_name="plan", **many)
    if isinstance(desk.work, Queued):
        for name, endpoint in job_endpoints(Actions(desk, desk.work, exports)).items():
            gr.api(_told(endpoint), api_name=name, **many)
    with gr.Row(visible=False):
        given, text, answer, kept = gr.File(type="filepath"), gr.Textbox(), gr.JSON(), gr.Textbox()
        ask, keep = gr.Button(), gr.Button()
    ask.click(_told(score), [given, text], answer, api_name="score", show_progress="hidden")
    keep.click(_told(keep_picture), given, kept, api_name="keep_picture", show_progress="hidden")


def _told(function: Callable[P, Any]) -> Callable[P, Any]:
    """Return `function` with our errors as Gradio's, which reach the caller with their message and without a traceback."""
    if inspect.isasyncgenfunction(function):

        @wraps(function)
        async def told_steps(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Any]:
            try:
                async with aclosing(function(*args, **kwargs)) as steps:
                    async for step in steps:
                        yield step
            except FluxSvdError as error:
                raise gr.Error(str(error), print_exception=False) from None

        return told_steps

    @wraps(function)
    def told(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return function(*args, **kwargs)
        except FluxSvdError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return told


async def _followed(desk: Desk, plan: Plan, visitor: Visitor) -> AsyncIterator[dict[str, Any] | Artifact]:
    """Start the work and yield where it stands and what it made; whoever no longer listens has ended it."""
    job = await run_in_threadpool(desk.start, plan, visitor)
    named = {"job": job} if desk.work.lasting else {}
    has_ended = False
    try:
        async with aclosing(desk.watch(job, visitor)) as items:
            async for item in items:
                yield {**_progress(item), **named} if isinstance(item, Progress) else item
        has_ended = True
    finally:
        if not has_ended:
            desk.stop(job, visitor)


def _given(path: str | None) -> str:
    if path is None:
        raise InvalidRequest("file", None, "a picture or film")
    return path


def _film_fields(**given: Any) -> dict[str, Any]:
    stages = given.pop("stages", None)
    found = {"kind": "video", **given}
    if stages is not None:
        found["stages"] = tuple({"prompt": stage} if isinstance(stage, str) else stage for stage in stages)
    return found


def _progress(progress: Progress) -> dict[str, Any]:
    return {
        "done": False,
        "phase": progress.phase,
        "item": progress.item,
        "items": progress.items,
        "step": progress.step,
        "steps": progress.steps,
        "seconds_left": progress.seconds_left,
    }


def _image(desk: Desk, made: ImageArtifact, visitor: Visitor) -> dict[str, Any]:
    recipe = made.recipe
    return {
        "url": desk.address(made.path, visitor),
        "seed": recipe.seed,
        "width": recipe.width,
        "height": recipe.height,
        "scores": dict(made.run.scores),
        "seconds": made.run.seconds,
        "notes": list(made.run.notes),
        "pocket": parts.is_pocket(recipe.model),
    }


def _film(desk: Desk, made: VideoArtifact, visitor: Visitor) -> dict[str, Any]:
    recipe = made.recipe
    return {
        "url": desk.address(made.path, visitor),
        "keyframes": desk.addresses(made, visitor),
        "frames": recipe.frames,
        "fps": recipe.fps,
        "width": recipe.width,
        "height": recipe.height,
        "scores": dict(made.run.scores),
        "seconds": made.run.seconds,
        "notes": list(made.run.notes),
        "pocket": parts.is_pocket(recipe.model),
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "model": plan.model,
        "peak_bytes": plan.peak_bytes,
        "host_peak_bytes": plan.host_peak_bytes,
        "seconds": plan.seconds,
        "seed": plan.seed,
        "stages": [{"name": stage.name, "prompt": stage.prompt} for stage in plan.stages],
        "decisions": [{"what": note.what, "value": note.value, "why": note.why} for note in plan.decisions],
    }
