"""Pieces of markup both pages share, and how figures read. Every word of a user or a file is escaped here, once."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Mapping
from typing import Any

import gradio as gr
from PIL import Image

from flux_svd.artifact import RunFacts
from flux_svd.catalog import MODELS
from flux_svd.errors import FluxSvdError, InvalidRequest
from flux_svd.memory import GIB, format_gib
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.web.desk import Desk

PICK = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (button) trigger('click', { do: button.dataset.do, i: +(button.dataset.i || 0) });
});
"""
Update = dict[Any, Any]
"""What a handler changes: component to new value; components that are not named stay as they are."""

QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

_FIELD_NAMES = {"negative_prompt": "Negative prompt", "video_model": "Video model", "fps": "Frames a second"}
_BANDS = ((0.40, "excellent"), (0.30, "good"), (0.20, "acceptable"))  # of clip-vit-b-32 alone
_PLACED = re.compile(r"P\d+: (.+) on (\w+), (.+)")  # the rung's number is for the command line
_DOING = {
    "wait": "Waiting",
    "load": "Loading the model",
    "draw": "Drawing",
    "animate": "Animating",
    "decode": "Decoding",
    "encode": "Writing the film",
    "score": "Scoring",
    "save": "Saving",
}


def show(value: str = "", *, clickable: bool = False, **kwargs: Any) -> gr.HTML:
    """Return our own markup, free of Gradio's prose rules; with `clickable` its [data-do] buttons fire a click event."""
    return gr.HTML(value, apply_default_css=False, js_on_load=PICK if clickable else None, **kwargs)


def esc(text: object) -> str:
    return html.escape(str(text), quote=True)


def status(words: str, quiet: str = "", part: float | None = None, *, passing: int = 0) -> str:
    """Return the status line; `page.js` reads it out where it matters, not at each step.

    Args:
        part: 0 to 1, shows the meter.
        passing: it is forgotten when the form could be planned so many times; 0 is never.
    """
    meter = ""
    if part is not None:
        percent = round(100 * min(max(part, 0.0), 1.0))
        meter = (
            f'<div class="meter" role="progressbar" aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent}" '
            f'aria-label="Progress"><i style="width:{percent}%"></i></div>'
        )
    return _status_line(words, f'<span class="quiet">{esc(quiet)}</span>', meter, passing=passing)


def progress_status(progress: Progress, what: str) -> str:
    """Return the status line of running work; `what` names one item: "picture", "keyframe", "transition"."""
    if progress.phase == "wait":
        ahead = f"{progress.item} ahead of you" if progress.item else "next in line"
        soon = f"about {seconds_words(progress.seconds_left)}" if progress.item and progress.seconds_left else ""
        return status("Waiting", " · ".join(filter(None, [progress.note or ahead, soon])))
    words = _DOING[progress.phase]
    if progress.steps:
        counted = "Decoding frame" if progress.phase == "decode" else "Step"
        words = f"{counted} {progress.step} of {progress.steps}"
    name = progress.of or ("transition" if progress.phase == "animate" else what)
    quiet = [f"{name} {progress.item} of {progress.items}"] if progress.items > 1 else []
    if progress.seconds_left is not None and progress.seconds_left >= 0.5:  # what is left then is not counted in steps
        quiet.append(f"{seconds_words(progress.seconds_left)} left")
    return status(words, " · ".join(quiet), part_of(progress))


NO_JOB = '<i data-job="" hidden></i>'
"""What tells the page's script that the address names no job of this visitor."""


def job_mark(job: str, desk: Desk) -> str:
    """Return what names the page's job to its script; where work ends with its page, that is said instead."""
    if desk.work.lasting:
        return f'<i data-job="{esc(job)}" hidden></i>' if job else ""
    return '<div class="quiet" data-keep>Keep this page open while it works: here the work ends with the page.</div>'


def part_of(progress: Progress) -> float:
    """Return the share of the current phase that is done."""
    items = max(progress.items, 1)
    within = progress.step / progress.steps if progress.steps else float(progress.phase in ("score", "save"))
    return (max(progress.item - 1, 0) + within) / items


def problem(error: FluxSvdError, ids: Mapping[str, str] | None = None) -> str:
    """Return the message of a refused wish; the page marks the field it names (`ids`: field to id where they differ)."""
    if isinstance(error, InvalidRequest) and error.field.rpartition(".")[2] == "prompt" and not error.value.strip("'\" "):
        where = (ids or {}).get(error.field, error.field).replace(".", "-")
        stage = f"{esc(_field_name(error.field))}: " if "." in error.field else ""
        said = "<span>Write what you want to see.</span>"
        return f'<div role="alert" class="small bad" data-bad="{esc(where)}">{stage}{said}</div>'
    if isinstance(error, InvalidRequest):
        where = (ids or {}).get(error.field, error.field).replace(".", "-")
        return (
            f'<div role="alert" class="small bad" data-bad="{esc(where)}">{esc(_field_name(error.field))}: '
            f"<bdi>{esc(error.value)}</bdi> "
            f"is not accepted. Allowed: {esc(error.allowed)}.</div>"
        )
    return f'<div role="alert" class="small bad">{esc(error)}</div>'


def not_started() -> str:
    return status("Not started", "the reason stands under the prompt", passing=1)


def not_found(*, passing: int = 1) -> str:
    return status("Not found", passing=passing)


def refused(error: FluxSvdError, *, passing: int = 0) -> str:
    """Return the status line of what could not be done; see `status`."""
    return _status_line("Failed", f'<span class="small bad">{esc(error)}</span>', passing=passing)


def after_plan(line: str) -> str:
    """Return what becomes of a status line when the form could be planned."""
    if 'data-passing="2"' in line:
        return line.replace('data-passing="2"', 'data-passing="1"', 1)
    return status("Ready") if 'data-passing="1"' in line else line


def failed() -> list[Any]:
    """Return status and Stop button after a mistake of ours: it is in the log, and nothing of it is shown."""
    return [status("Failed", "by a mistake in the program; its log says which"), gr.Button(visible=False)]


def picture(address: str, alt: str, width: int, height: int, cls: str = "") -> str:
    return f'<img class="{cls}" src="{esc(address)}" width="{width}" height="{height}" alt="{esc(alt)}">'


def preview(data: bytes, alt: str, cls: str = "") -> str:
    return f'<img class="{cls}" src="{webp_address(data)}" alt="{esc(alt)}">'


def thumb_address(address: str) -> str:
    """Return the address of a small picture of a result; a data address is small already."""
    return f"library/thumb/{address.split('/')[1]}" if address.startswith("files/") else address


def small_picture(picture: Image.Image, height: int, *, widest: int = 4) -> str:
    """Return the picture, at most `height` pixels high and `widest` times as wide, as a data address."""
    small = picture.copy()
    small.thumbnail((widest * height, height))
    stored = io.BytesIO()
    small.save(stored, "WEBP", quality=70)
    return webp_address(stored.getvalue())


def webp_address(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"


def match_words(scores: Mapping[str, Any], value: object) -> str:
    """Return "Match 0.31, good"; the bands belong to clip-vit-b-32 and are not said for another scorer."""
    if not isinstance(value, int | float):
        return ""
    band = next((name for least, name in _BANDS if value >= least), "") if scores.get("scorer") == "clip-vit-b-32" else ""
    return f"Match {value:.2f}" + (f", {band}" if band else "")


def done_words(seconds: float) -> str:
    """Return "Done in 3.2 s"; what was found finished takes no time worth a figure."""
    return f"Done in {seconds:.1f} s" if seconds >= 0.05 else "Done at once: it was made before"


def notes_of(run: RunFacts) -> list[str]:
    """Return what of the wish had no effect; unknown words stand at the prompt already."""
    return [note for note in run.notes if "does not know" not in note]


def plan_facts(plan: Plan) -> str:
    """Return the plan's decisions as a list: what, value, why."""
    rows = "".join(
        f"<li><span>{esc(note.what.capitalize())}</span><bdi data-said>{esc(placed_words(note.value))}</bdi>"
        f"<i>{esc(note.why)}</i></li>"
        for note in plan.decisions
        if note.what != "attention slicing"  # it never has an effect: for the command line, where it is an option
    )
    return f'<ul class="facts">{rows}</ul>'


def placed_words(value: str) -> str:
    """Return "pocket-flux · CPU · resident" for a placement as plans name it; other values stay."""
    hit = _PLACED.fullmatch(value)
    return f"{hit[1]} · {hit[2].upper()} · {hit[3]}" if hit else value


def plan_line(plan: Plan, desk: Desk) -> str:
    """Return "About 4 s, 6.2 of 11.3 GiB", of a small model "About 4 s, 54 MiB of memory"."""
    about = f"About {seconds_words(plan.seconds)}" if plan.seconds else "At once"  # what was made before takes no time
    time = "Time known after the first run" if plan.seconds is None else about
    there = desk.budget().device_bytes
    is_small = plan.peak_bytes < GIB / 2  # then how much there is does not matter
    memory = f"{format_gib(plan.peak_bytes)} of memory" if is_small else f"{plan.peak_bytes / GIB:.1f} of {format_gib(there)}"
    return f'<div class="quiet">{time}, {memory}. <span class="keys">Ctrl+Enter starts, Esc stops.</span></div>'


def seconds_words(seconds: float) -> str:
    whole = max(1, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes, rest = divmod(round(whole, -1), 60)
    return f"{minutes} min {rest} s" if minutes < 10 and rest else f"{minutes} min"


def _status_line(words: str, rest: str, meter: str = "", *, passing: int = 0) -> str:
    mark = f' data-passing="{passing}"' if passing else ""
    return f'<div role="status" aria-live="off"{mark}><div class="line"><b>{esc(words)}</b>{rest}</div>{meter}</div>'


def _field_name(field: str) -> str:
    if field.startswith("stages."):
        _, index, name = field.split(".", 2)
        return f"Stage {int(index) + 1}, {name}"
    return _FIELD_NAMES.get(field, field.replace("_", " ").capitalize())


def is_pocket(model: str) -> bool:
    return model in MODELS and MODELS[model].pocket
