"""The choice of effort on the page Create: draft, balanced, best, each with what it would cost on this machine now."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from flux_svd.errors import FluxSvdError
from flux_svd.memory import format_gib
from flux_svd.plan import Plan
from flux_svd.presets import Preset
from flux_svd.web import fields, parts
from flux_svd.web.desk import Desk
from flux_svd.web.fields import PictureForm

USUAL: Preset = "balanced"


def effort_choices(desk: Desk, form: PictureForm, plan: Plan | None) -> list[tuple[str, str]]:
    """Return the choices, each with the time of the plan that choosing it would give, and its memory where they differ in it.

    Args:
        plan: of the form as it stands, for the effort that is chosen; None where it has none.
    """
    plans = {name: plan if name == form.preset else _plan_of(desk, form, name) for name in get_args(Preset)}
    alike = len({format_gib(one.peak_bytes) for one in plans.values() if one}) == 1  # then it is said once, with the plan
    return [(_label(name, one, alike), name) for name, one in plans.items()]


def _plan_of(desk: Desk, form: PictureForm, name: Preset) -> Plan | None:
    blank = replace(form, preset=name, steps="", prompt=form.prompt.strip() or "a picture")  # choosing it empties the steps
    try:
        return desk.plan(fields.image_fields(desk, blank))
    except FluxSvdError:
        return None


def _label(name: Preset, plan: Plan | None, alike: bool) -> str:
    if plan is None:
        return f"{name.capitalize()}\n–" + ("" if alike else "\n–")
    seconds = "not timed yet" if plan.seconds is None else "at once" if not plan.seconds else parts.seconds_words(plan.seconds)
    return f"{name.capitalize()}\n{seconds}" + ("" if alike else f"\n{format_gib(plan.peak_bytes)}")
