"""A prompt → motion stages → keyframe prompts, and the frames between them. Pure text and arithmetic; knows no model.

The user's own stages always win; what stands here is only the first draft of a storyboard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from flux_svd.errors import InvalidRequest
from flux_svd.grammar import find_motions
from flux_svd.motions import MOTIONS, Motion, words_of
from flux_svd.outlines import MotionStage, Outline, outline
from flux_svd.request import MAX_PROMPT_CHARACTERS

__all__ = [
    "MOTIONS", "Motion", "MotionStage", "Outline", "find_motion", "frames_of_gaps", "halfway_prompt", "keyframes_for", "outline",
    "stages_at", "stride_for", "suggest_kind", "write_stages",
]  # fmt: skip

MAX_TRAINED_FRAMES = 25  # of SVD-XT, the video model that is usual: see `ModelSpec.trained_frames`
_PLACING = words_of("on in at under over above below beside behind near before against inside outside with across along by")
_BETWEEN = "halfway between , nearer to "  # more characters than are ever put around and between two prompts
_FILM_WORDS = ("video", "film", "clip", "animation", "animated", "timelapse", "time-lapse", "movie", "loop", "footage")


def write_stages(prompt: str, count: int) -> tuple[MotionStage, ...]:
    """Return `count` (≥ 2) motion stages for `prompt`, first to last, no two with the same prompt."""
    return stages_at(prompt, [index / (count - 1) for index in range(count)])


def stages_at(prompt: str, shares: Sequence[float]) -> tuple[MotionStage, ...]:
    """Return the stages at these shares of the film, each 0 … 1, ascending; a repeated one counts its moments."""
    stage_at = outline(prompt).stage_at
    stages: list[MotionStage] = []
    for stage in (stage_at(share) for share in shares):
        times = sum(other.prompt.partition(", moment ")[0] == stage.prompt for other in stages) + 1
        more = f", moment {times}" if times > 1 else ""
        stages.append(MotionStage(stage.name + more, stage.prompt + more))
    return tuple(stages)


def find_motion(prompt: str) -> Motion | None:
    """Return the motion that the prompt says of its subject, the first of `MOTIONS` where there are several, or None."""
    motions = find_motions(prompt)
    return min(motions, key=MOTIONS.index) if motions else None


def suggest_kind(prompt: str) -> tuple[Literal["image", "video"], str]:
    """Return what the prompt seems to ask for, and the word that says so ("" for a picture)."""
    words = prompt.lower()
    for word in _FILM_WORDS:
        if re.search(rf"\b{word}\b", words):
            return "video", word
    found = outline(prompt)
    return ("video", found.word) if found.word else ("image", "")


def halfway_prompt(start: str, end: str, share: float) -> str:
    """Return the prompt of a keyframe `share` (0 … 1) of the way between two stages whose prompts are `start` and `end`.

    What both say up to a comma, and the place both end with, is said once: "a cat, sitting" and "a cat, standing" → "a cat,
    halfway between sitting and standing"; "a dog on a beach" and "a cat on a beach" → "halfway between a dog and a cat on a
    beach". Of long prompts the ends are left out, so that a request takes the answer.
    """
    if start == end:
        return start
    told = _between(start, end, share)
    if len(told) <= MAX_PROMPT_CHARACTERS:
        return told
    third = MAX_PROMPT_CHARACTERS // 3 - len(_BETWEEN)  # one of the two is named twice
    return _between(_begun(start, third), _begun(end, third), share)


def _begun(text: str, characters: int) -> str:
    """Return what a text begins with, up to so many characters, in whole words where there are any."""
    return text[:characters].rpartition(" ")[0] or text[:characters]


def _between(start: str, end: str, share: float) -> str:
    ours, theirs = ([part.strip() for part in text.rstrip(" .").split(",")] for text in (start, end))
    same = 0
    while same < min(len(ours), len(theirs)) - 1 and ours[same] == theirs[same]:
        same += 1
    a, b, place = _without_shared_place(", ".join(ours[same:]), ", ".join(theirs[same:]))
    nearer = "" if share == 0.5 else f", nearer to {a if share < 0.5 else b}"
    return ", ".join([*ours[:same], f"{'between' if nearer else 'halfway between'} {a} and {b}{place}{nearer}"])


def _without_shared_place(a: str, b: str) -> tuple[str, str, str]:
    """Return both texts without the words from a preposition on that both end with, and those words after a space."""
    ours, theirs = a.split(), b.split()
    shared = 0
    while shared < min(len(ours), len(theirs)) - 1 and ours[-1 - shared] == theirs[-1 - shared]:
        shared += 1
    while shared and ours[-shared] not in _PLACING:
        shared -= 1
    return (" ".join(ours[:-shared]), " ".join(theirs[:-shared]), " " + " ".join(ours[-shared:])) if shared else (a, b, "")


def frames_of_gaps(total_frames: int, keyframes: int) -> tuple[int, ...]:
    """Return the frames of each transition, both ends counted, so that the joined film has `total_frames`.

    The way is shared evenly; what is left over goes to the first transitions: 45 over 3 keyframes → (23, 23).

    Raises:
        InvalidRequest: some transition would have fewer than 3 frames.
    """
    share, rest = divmod(total_frames - 1, keyframes - 1)
    if share < 2:
        least = 2 * (keyframes - 1) + 1
        raise InvalidRequest("total_frames", total_frames, f"at least {least} for {keyframes} keyframes")
    return tuple(share + (gap < rest) + 1 for gap in range(keyframes - 1))


def keyframes_for(total_frames: int, most: int = MAX_TRAINED_FRAMES) -> int:
    """Return the fewest keyframes (at least 2) that keep every transition within the `most` frames a model was trained on."""
    return max(2, -(-(total_frames - 1) // (most - 1)) + 1)


def stride_for(kept_frames: int, least: int) -> int:
    """Return the smallest k with which (kept − 1)·k + 1 generated frames are at least `least`; every k-th is kept.

    A video model is out of its training below some length: a shorter transition is generated longer and thinned; both ends stay.
    """
    return -(-(least - 1) // (kept_frames - 1)) if kept_frames < least else 1
