"""A prompt → motion stages → keyframe prompts, and the frames between them. Pure text and arithmetic; knows no model.

The user's own stages always win; what stands here is only the first draft of a storyboard.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from flux_svd.errors import InvalidRequest

MIN_TRAINED_FRAMES, MAX_TRAINED_FRAMES = 14, 25  # SVD was trained on 14 frames, SVD-XT on 25 (arXiv:2311.15127)


@dataclass(frozen=True)
class MotionStage:
    """One moment of a film: a short name for the page and the prompt its keyframe is drawn from."""

    name: str
    prompt: str


@dataclass(frozen=True)
class Motion:
    """A motion the storyboard knows: the words that show it, and its phases from first to last."""

    name: str
    words: tuple[str, ...]
    phases: tuple[str, str, str, str, str]


# Order is priority: a narrow word ("landing") stands before the wide one that may share its sentence ("flying").
MOTIONS: tuple[Motion, ...] = (
    Motion("landing", ("lands", "landing"),
           ("high above the ground", "coming down", "low above the ground", "touching down", "standing on the ground")),
    Motion("taking off", ("taking off", "takes off", "take off", "launches", "launching", "lifting off", "lifts off", "liftoff"),
           ("standing on the ground", "starting", "leaving the ground", "climbing", "high in the sky")),
    Motion("flying", ("fly", "flies", "flying", "soar", "soars", "soaring", "gliding", "glides"),
           ("taking off", "climbing", "mid-flight", "descending", "landing")),
    Motion("jumping", ("jump", "jumps", "jumping", "leap", "leaps", "leaping", "hopping"),
           ("crouching to jump", "pushing off", "high in mid-air", "coming down", "landing on its feet")),
    Motion("falling", ("falls", "falling", "dropping", "tumbling", "snowing", "raining"),
           ("at the top, starting to fall", "falling", "in mid-fall", "almost down", "come to rest on the ground")),
    Motion("running", ("run", "runs", "running", "sprint", "sprints", "sprinting", "gallop", "gallops", "galloping", "jogging"),
           ("starting to run", "picking up speed", "at full stride", "at full speed", "slowing down")),
    Motion("walking", ("walk", "walks", "walking", "stroll", "strolls", "strolling", "hiking", "marching", "wandering"),
           ("taking the first step", "walking", "in mid-stride", "walking on", "coming to a stop")),
    Motion("dancing", ("dance", "dances", "dancing", "pirouette", "waltzing"),
           ("in the opening pose", "stepping into the dance", "in a full turn", "arms raised high", "in the closing pose")),
    Motion("swimming", ("swim", "swims", "swimming", "diving", "dives", "surfing"),
           ("entering the water", "swimming out", "in mid-stroke", "turning in the water", "reaching the shore")),
    Motion("driving", ("drive", "drives", "driving", "racing", "races", "riding", "rides", "cycling", "sailing", "sails"),
           ("setting off", "gaining speed", "at full speed", "slowing down", "arriving")),
    Motion("blooming", ("bloom", "blooms", "blooming", "blossoming", "opening petals", "flowering"),
           ("as a closed bud", "starting to open", "half open", "almost fully open", "in full bloom")),
    Motion("growing", ("grow", "grows", "growing", "sprouting", "sprouts"),
           ("as a small sprout", "still small", "half grown", "almost full grown", "full grown")),
    Motion("melting", ("melt", "melts", "melting", "thawing"),
           ("still frozen", "starting to melt", "half melted", "almost melted", "melted away")),
    Motion("burning", ("burn", "burns", "burning", "igniting"),
           ("the first spark", "small flames", "in full flame", "the fire dying down", "glowing embers")),
    Motion("sunrise", ("sunrise", "sun rises", "sun rising", "dawn breaks", "dawn breaking"),
           ("before dawn, dark blue sky", "first light on the horizon", "the sun on the horizon", "the sun above the horizon",
            "in bright morning light")),
    Motion("sunset", ("sunset", "sun sets", "sun setting", "dusk falls", "nightfall"),
           ("in late afternoon light", "in golden light", "the sun on the horizon", "after sunset, red sky",
            "at night under stars")),
    Motion("day to night", ("from day to night", "day to night", "day turning into night", "dawn to night", "dawn to dusk"),
           ("at dawn", "in the morning", "at noon", "at dusk", "at night")),
    Motion("exploding", ("explode", "explodes", "exploding", "erupts", "erupting", "fireworks", "bursting"),
           ("just before it bursts", "the first flash", "bursting wide", "sparks spreading", "smoke fading away")),
    Motion("eating", ("eat", "eats", "eating", "drinks", "drinking"),
           ("looking at the food", "reaching for it", "taking a bite", "chewing", "finished, content")),
    Motion("waving", ("waving", "greets", "greeting"),
           ("arm at the side", "raising an arm", "arm raised, waving", "waving", "lowering the arm")),
    Motion("turning", ("turn", "turns", "turning", "rotate", "rotates", "rotating", "spins", "spinning", "twirling"),
           ("seen from the front", "turned a little", "seen from the side", "turned far", "seen from behind")),
    Motion("opening", ("opens", "opening", "unfolds", "unfolding"),
           ("closed", "slightly open", "half open", "almost open", "wide open")),
    Motion("closing", ("closes", "closing", "folds", "folding"),
           ("wide open", "almost open", "half open", "slightly open", "closed")),
    Motion("moving", ("move", "moves", "moving", "travels", "traveling", "travelling", "drifting", "floating", "rolling",
                      "crossing"),
           ("at the start of its way", "on its way", "halfway", "further on its way", "at the end of its way")),
)
DEFAULT_PHASES = ("in the first moment", "a little later", "halfway through the scene", "near the end", "in the last moment")

_PLACES: dict[str, tuple[float, float]] = {  # (x, y), 0 to 1 from the top left corner
    "top left": (0, 0), "top right": (1, 0), "bottom left": (0, 1), "bottom right": (1, 1), "left": (0, 0.5),
    "right": (1, 0.5), "top": (0.5, 0), "bottom": (0.5, 1), "center": (0.5, 0.5),
}
_SAME_PLACE = {"upper": "top", "lower": "bottom", "centre": "center", "middle": "center"}
_PLACE = (
    r"(?:the\s+)?((?:(?:top|bottom|upper|lower)\s+)?(?:left|right)|top|bottom|center|centre|middle)"
    r"(?:\s+(?:side|corner|edge))?"
)
_FROM_TO = re.compile(rf"(?:\b(\w+(?:ing|es|s))\s+(?:\w+ly\s+)?)?\b(?:from\s+)?{_PLACE}\s+to\s+{_PLACE}\b", re.IGNORECASE)
_BARE_VERBS = {"moving", "moves", "goes", "going", "travels", "traveling", "travelling", "sliding", "slides"}

_FILM_WORDS = ("video", "film", "clip", "animation", "animated", "timelapse", "time-lapse", "movie", "loop", "footage")


def write_stages(prompt: str, count: int) -> tuple[MotionStage, ...]:
    """Return `count` (≥ 2) motion stages for `prompt`, first to last.

    A way between two places becomes places along it; a known motion becomes its phases; anything else, moments of the scene.
    """
    between = _FROM_TO.search(prompt)
    if between is not None:
        return _along(prompt, between, count)
    motion = find_motion(prompt)
    phases = motion.phases if motion else DEFAULT_PHASES
    return tuple(MotionStage(_capital(phase), f"{prompt.rstrip(' .')}, {phase}") for phase in _spread(phases, count))


def find_motion(prompt: str) -> Motion | None:
    """Return the first motion of `MOTIONS` that the prompt names, or None."""
    words = prompt.lower()
    for motion in MOTIONS:
        if any(re.search(rf"\b{re.escape(word)}\b", words) for word in motion.words):
            return motion
    return None


def suggest_kind(prompt: str) -> tuple[Literal["image", "video"], str]:
    """Return what the prompt seems to ask for, and the word that says so ("" for a picture)."""
    words = prompt.lower()
    for word in _FILM_WORDS:
        if re.search(rf"\b{word}\b", words):
            return "video", word
    between = _FROM_TO.search(prompt)
    if between is not None:
        return "video", between.group(0).strip()
    motion = find_motion(prompt)
    return ("video", motion.name) if motion else ("image", "")


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


def keyframes_for(total_frames: int) -> int:
    """Return the fewest keyframes (at least 2) that keep every transition within the frames SVD was trained on."""
    return max(2, -(-(total_frames - 1) // (MAX_TRAINED_FRAMES - 1)) + 1)


def stride_for(kept_frames: int) -> int:
    """Return k so that (kept − 1)·k + 1 generated frames lie within 14 to 25 and every k-th is kept.

    SVD is out of its training below 14 frames: a shorter transition is generated longer and thinned; both ends stay.
    """
    return 1 if kept_frames >= MIN_TRAINED_FRAMES else -(-(MIN_TRAINED_FRAMES - 1) // (kept_frames - 1))


def _spread(phases: Sequence[str], count: int) -> list[str]:
    """Return `count` phases evenly spread over all of them; a repeated one counts its moments."""
    spread = [phases[round(index * (len(phases) - 1) / (count - 1))] for index in range(count)]
    times = [spread[:index].count(phase) + 1 for index, phase in enumerate(spread)]
    return [phase if time == 1 else f"{phase}, moment {time}" for phase, time in zip(spread, times, strict=True)]


def _along(prompt: str, between: re.Match[str], count: int) -> tuple[MotionStage, ...]:
    verb, start, end = between.group(1) or "", _place(between.group(2)), _place(between.group(3))
    doing = "" if verb.lower() in _BARE_VERBS else f"{verb} "
    before, after = prompt[: between.start()], prompt[between.end() :]
    stages = []
    for index in range(count):
        where = _where(start, end, index / (count - 1))
        preposition = "in" if where == "center" else "" if where.startswith("between") else "at"
        place = f"{preposition} {'the ' if preposition else ''}{where}".strip()
        stages.append(MotionStage(_capital(where), f"{before}{doing}{place}{after}"))
    return tuple(stages)


def _place(words: str) -> str:
    return " ".join(_SAME_PLACE.get(word, word) for word in words.lower().split())


def _where(start: str, end: str, share: float) -> str:
    """Return the name of the place `share` of the way from start to end; "between … and …" where none has a name."""
    if share in (0.0, 1.0):
        return end if share else start
    (ax, ay), (bx, by) = _PLACES[start], _PLACES[end]
    point = (ax + (bx - ax) * share, ay + (by - ay) * share)
    for name, place in _PLACES.items():
        if abs(point[0] - place[0]) < 0.01 and abs(point[1] - place[1]) < 0.01 and name not in (start, end):
            return name
    near, far = (start, end) if share <= 0.5 else (end, start)
    return f"between the {near} and the {far}, nearer to the {near}" if share != 0.5 else f"between the {near} and the {far}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
