"""The fields that say how the frames between keyframes are filled, each way with what it costs beside the usual one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from flux_svd.catalog import MODELS
from flux_svd.errors import FluxSvdError
from flux_svd.methods import METHODS, calls_of
from flux_svd.plan import Plan
from flux_svd.request import Transition, VideoRequest
from flux_svd.web.desk import Desk
from flux_svd.web.parts import Update
from flux_svd.web.player import film_of

USUAL: Transition = VideoRequest.model_fields["transition"].default
NAMES: dict[Transition, str] = {
    "bidirectional": "Both ways, motion aligned",
    "vibid": "Both ways by turns",
    "fusion": "Both ways at once, mixed",
    "fast": "Both ways in fewer steps",
    "plain": "Forward only, next keyframe unseen",
}


class Filling:
    """Build the fields into the current Blocks context; `fields` in the order of `FilmWish`."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        with gr.Accordion("How frames are filled", open=False, elem_id="v_how"):
            self.method = gr.Radio(
                choices(self._example()), value=USUAL, label="Way from keyframe to keyframe, with its work",
                elem_id="f_transition", elem_classes=["seg", "list"], interactive=True,
            )  # fmt: skip
            with gr.Column(elem_classes="ticks"):
                self.loop = _tick("Loop: end at the first keyframe again", "f_loop")
                self.colours = _tick("Match colours to the keyframes", "f_colour_match")
                self.smooth = _tick("Smooth joins (experiment): all transitions together", "f_smooth_joins")
                self.four = _tick("Four options for every keyframe, the best is taken", "f_best_of")

    @property
    def fields(self) -> list[Any]:
        return [self.method, self.loop, self.colours, self.smooth, self.four]

    def refreshed(self) -> Any:
        """Return the ways anew, as another model may be ready by now."""
        return gr.Radio(choices=choices(self._example()))

    def filled(self, request: VideoRequest) -> Update:
        """Return the fields as a request fills them."""
        stages = request.stages or ()
        one_by_one = any(stage.pick == 1 for stage in stages)
        return {
            self.method: request.transition, self.loop: request.loop, self.colours: request.colour_match,
            self.smooth: request.smooth_joins, self.four: request.best_of > 1 and not one_by_one,
        }  # fmt: skip

    def _example(self) -> Plan | None:
        try:
            return self.desk.plan({"kind": "video", "prompt": "a film", "keyframes": 2})
        except FluxSvdError:
            return None  # the page says why where it is asked for a film


def choices(plan: Plan | None) -> list[tuple[str, str]]:
    """Return the ways with the UNet calls of one transition, and their share of those of the usual way."""
    parts = film_of(plan).transitions if plan else ()
    if not parts:
        return [(words, name) for name, words in NAMES.items()]
    steps = MODELS[parts[0].model].steps
    calls = {name: calls_of(name, parts[0], steps) for name in METHODS}
    return [(f"{NAMES[name]}\n{count} UNet calls · {_share(count, calls[USUAL])}", name) for name, count in calls.items()]


def _share(calls: int, usual: int) -> str:
    return "the usual time" if calls == usual else f"{calls / usual:.1f} × the usual time"


def _tick(words: str, elem_id: str) -> gr.Checkbox:
    return gr.Checkbox(False, label=words, elem_id=elem_id, elem_classes="check", container=False, interactive=True, min_width=0)
