"""Films of models that take several keyframes at once: a wish laid out in time → stretches, each made in one pass. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flux_svd.catalog import ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Decision
from flux_svd.recipe import KeyframeRecipe, OnePassRecipe, Precision, Versions, derive_seed, fingerprint
from flux_svd.request import VideoRequest
from flux_svd.timeline import Timeline


def make_passes(
    request: VideoRequest, video: ModelSpec, keyframes: Sequence[KeyframeRecipe], line: Timeline, seed: int,
    precision: Precision, versions: Versions, notes: list[Decision],
) -> tuple[OnePassRecipe, ...]:
    """Return the stretches of the film, each with as many keyframes as `video` takes at once; neighbours share one.

    Raises:
        InvalidRequest: the wish asks for what only two-ended transitions have.
    """
    _check(request, video)
    steps = request.transition_steps or video.steps
    reach = video.keyframes_at_once - 1
    made = []
    for first in range(0, len(line.ways), reach):
        ways = line.ways[first : first + reach]
        positions = [0]
        for way in ways:
            positions.append(positions[-1] + way.frames - 1)
        names = tuple(fingerprint(key) for key in keyframes[first : first + len(ways) + 1])
        prompts = [timed.stage.prompt for timed in line.stages[first : first + len(ways) + 1]]
        own = ways[0].seed if len(ways) == 1 else None
        made.append(
            OnePassRecipe(
                model=video.name, revision=video.revision, prompt=request.prompt, keyframes=names,
                positions=tuple(positions),
                seed=derive_seed(seed if own is None else own, f"transition {' → '.join(prompts)}", 0),
                width=keyframes[0].width, height=keyframes[0].height, frames=positions[-1] + 1,
                frame_rate=request.conditioning_fps or request.fps, steps=steps, guidance=video.guidance,
                prompt_tokens=video.prompt_tokens, precision=precision, versions=versions,
            )
        )  # fmt: skip
    why = f"{video.title} takes its keyframes at once; it was never run here with its published weights"
    notes.append(Decision("passes", f"{len(made)}, {steps} steps each", why))
    return tuple(made)


def _check(request: VideoRequest, video: ModelSpec) -> None:
    refused = [name for name in ("motion_alignment", "smooth_joins") if getattr(request, name)]
    if request.transition != "bidirectional":
        refused.append("transition")
    if refused:
        said = f"not with {video.name}, which has no two-ended transitions"
        raise InvalidRequest(refused[0], getattr(request, refused[0]), said)
    rolled = [n for n, wish in enumerate(request.stages or ()) if wish.transition_seed is not None]
    if rolled and video.keyframes_at_once > 2:
        field = f"stages.{rolled[0]}.transition_seed"
        value = (request.stages or ())[rolled[0]].transition_seed
        allowed = f"none with {video.name}, which makes all transitions at once; take another seed of the film"
        raise InvalidRequest(field, value, allowed)
