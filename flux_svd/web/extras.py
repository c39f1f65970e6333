"""What came back with a result's settings and has no field on the page: shown, obeyed, and taken away one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from flux_svd.web.parts import QUIET, Update, esc, show

# What means nothing without the other.
_DEPENDS = {"strength": "start", "cfg_scale": "negative_prompt", "width": "height", "height": "width"}
NAMES = {
    "variation": "Near the picture of this seed", "start": "Begins at a picture", "strength": "How much of it may change",
    "best_of": "Best of so many", "guidance_curve": "Guidance from first step to last", "cfg_scale": "Real guidance",
    "negative_prompt": "Negative prompt", "step_cache": "Skip blocks that change little", "attention": "Attention",
    "compiled": "Compiled", "consent": "May use tiles or fewer bits when memory runs out", "model_file": "Own transformer",
    "text_encoder": "Own text encoder",
    "width": "Width", "height": "Height", "shape": "Shape", "preset": "Quality", "steps": "Steps of a keyframe",
    "guidance": "Guidance", "references": "References", "keep_subject": "Keyframes not drawn after the first",
    "video_model": "Video model", "transition_steps": "Steps of a transition",
    "motion_alignment": "Share of steps that align motion", "motion_bucket_id": "Amount of motion",
    "conditioning_fps": "Speed of motion asked for",
}  # fmt: skip


class Extras:
    """The area of one page; `fields` holds what is in it, as fields of a request."""

    def __init__(self, elem_id: str = "c_extra") -> None:
        self.fields = gr.State({})
        self.area = show(elem_id=elem_id, elem_classes="hint", clickable=True)

    def wire(self) -> Any:
        """Connect the area and return the event after which the plan is to be told again."""
        return self.area.click(self.forget, self.fields, [self.fields, self.area], trigger_mode="multiple", **QUIET)

    def forget(self, event: gr.EventData, fields: Mapping[str, Any]) -> Update:
        gone = list(fields)[int(event._data["i"])]
        left = {name: value for name, value in fields.items() if gone not in (name, _DEPENDS.get(name))}
        return self.filled(left)

    def filled(self, fields: Mapping[str, Any], lost: Sequence[str] = ()) -> Update:
        """Return the area with these fields, and with sentences about what could not come back."""
        return {self.fields: dict(fields), self.area: drawn(fields, lost)}


def drawn(fields: Mapping[str, Any], lost: Sequence[str] = ()) -> str:
    rows = "".join(
        f'<li><span>{esc(NAMES[name])}</span><bdi>{esc(_told(name, value))}</bdi><button type="button" class="do icb i-bin" '
        f'data-do="forget" data-i="{index}" aria-label="Remove: {esc(NAMES[name])}"></button></li>'
        for index, (name, value) in enumerate(fields.items())
    )
    notes = "".join(f'<p class="quiet">{esc(one)}</p>' for one in lost)
    return notes + (f'<ul class="also">{rows}</ul>' if rows else "")


def _told(name: str, value: Any) -> str:
    if isinstance(value, bool) or name in ("start", "model_file", "text_encoder"):
        return ""  # the name says it
    if name == "references":
        return str(len(value))
    if isinstance(value, list):
        return " → ".join(f"{knot:g}" for knot in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
