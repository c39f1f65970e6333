"""The ways to fill a transition: what each does, where it comes from, and its settings. Facts only; knows no engine."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flux_svd.recipe import Method, TransitionRecipe
from flux_svd.request import Transition


@dataclass(frozen=True)
class TransitionMethod:
    """One value of `VideoRequest.transition`.

    Attributes:
        samples: how the engine steps; two names may step alike and differ in their settings.
        does: in words, for people.
        source: the paper it was written from.
        guidance: None is the video model's own.
        motion_alignment: share of the steps that align the backward motion, where nothing else is asked for; None where this
            way of stepping knows no alignment.
        renoise_share: see `TransitionRecipe`.
        steps_share: of the video model's default steps.
    """

    samples: Method
    does: str
    source: str
    guidance: float | None = None
    motion_alignment: float | None = None
    renoise_share: float = 0.0
    steps_share: float = 1.0


STOCK_GUIDANCE = 3.0  # StableVideoDiffusionPipeline: grows from 1 to 3 along the frames
JOIN_SHARE = 0.7  # σ is below about 100 then, with SVD's schedule: earlier estimates are too rough to be a window's first frame
ALIGNMENT_ROUNDS = 3  # arXiv:2602.12679, sequential variant

METHODS: dict[Transition, TransitionMethod] = {
    "bidirectional": TransitionMethod(
        "bidirectional", "both ways by turns, the backward motion aligned first", "arXiv:2410.05651 and arXiv:2602.12679",
        motion_alignment=0.2,  # arXiv:2602.12679, sequential variant
    ),
    "vibid": TransitionMethod("vibid", "both ways by turns", "arXiv:2410.05651"),
    "fusion": TransitionMethod(
        "fusion", "both ways at once, mixed", "arXiv:2403.14611", guidance=STOCK_GUIDANCE,
        renoise_share=0.2,  # 5 of 25 steps are taken again; the authors' code goes back 5 times in 50
    ),
    "fast": TransitionMethod(
        "bidirectional", "both ways by turns, in fewer steps", "arXiv:2410.05651", motion_alignment=0.0,
        steps_share=0.6,  # 15 of SVD's 25
    ),
    "plain": TransitionMethod(
        "plain", "forward only: the next keyframe is not seen", "arXiv:2311.15127", guidance=STOCK_GUIDANCE
    ),
}  # fmt: skip


def calls_of(name: Transition, part: TransitionRecipe, steps: int) -> int:
    """Return the UNet calls a transition takes when it is filled in this way, by a video model of so many steps by default."""
    method = METHODS[name]
    own = max(1, round(method.steps_share * steps))
    return replace(
        part, method=method.samples, steps=own, motion_alignment=method.motion_alignment or 0.0,
        alignment_rounds=ALIGNMENT_ROUNDS, renoise_share=method.renoise_share,
    ).unet_calls  # fmt: skip
