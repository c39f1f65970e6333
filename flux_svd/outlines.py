"""How a prompt unfolds in time: a camera that moves, a way between places, a change, motions, or moments of one scene.

Pure text. In doubt it is moments of the scene: a stage that contradicts its prompt is worse than one that says little.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flux_svd.grammar import find_motions
from flux_svd.motions import CAMERA_MOVES, COLOURS, CYCLES, DEFAULT_PHASES, MOTIONS, SAME_STATE, SHOT_SIZES, STATES, words_of

# The patterns below take time as the square of the text: 10,000 spaces took 26 s, 1,000 characters at most 0.05 s.
READ_CHARACTERS = 1000


@dataclass(frozen=True)
class MotionStage:
    """One moment of a film: a short name for the page and the prompt its keyframe is drawn from."""

    name: str
    prompt: str


@dataclass(frozen=True)
class Outline:
    """How a prompt unfolds in time.

    Attributes:
        kind: the name of a motion, "then" (one motion after another), "places", "camera", "change" or "default".
        why: the same for people: "phases of running".
        word: what in the prompt says so; "" for the default.
        stage_at: the stage at a share of the way, 0 … 1.
    """

    kind: str
    why: str
    word: str
    stage_at: Callable[[float], MotionStage]


def outline(prompt: str) -> Outline:
    """Return how `prompt` unfolds: a move of the camera, a way between places, a change of state, motions, or moments.

    A prompt of more than `READ_CHARACTERS` is read for motions only.
    """
    motions = find_motions(prompt)
    text = " ".join(prompt.split())
    for read in (_read_camera, _read_places, _read_change) if len(text) <= READ_CHARACTERS else ():
        found = read(text)
        if found is not None:
            return found
    if len(motions) > 1 and motions[0].name != motions[1].name and _SEQUENCE.search(prompt):
        first, second = motions[:2]
        phases = (*first.phases[1:3], *second.phases[1:4])
        return Outline("then", f"{first.name}, then {second.name}", first.name, _phase_after(prompt, phases))
    if motions:
        motion = motions[0] if len(motions) == 1 else min(motions, key=MOTIONS.index)
        return Outline(motion.name, f"phases of {motion.name}", motion.name, _phase_after(prompt, motion.phases))
    return Outline("default", "moments of the scene", "", _phase_after(prompt, DEFAULT_PHASES))


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
_SEQUENCE = re.compile(r"\b(?:then|before|until|and (?:\w+ )?\w+s)\b", re.IGNORECASE)
_CHANGE = re.compile(
    r"^(?P<before>.*?)\s+(?:(?:that|which|who|is|are|slowly|gradually|suddenly)\s+)*"
    r"(?:(?:turn(?:s|ing)?|chang(?:es|ing)|morph(?:s|ing)?|transform(?:s|ing)?|evolv(?:es|ing)|dissolv(?:es|ing)|fad(?:es|ing)|"
    r"melt(?:s|ing)?|grow(?:s|ing)?|age(?:s|ing)?|aging|blend(?:s|ing)?)(?:\s+(?:slowly|gradually|back|himself|herself|itself|themselves))*\s+into|"
    r"turn(?:s|ing)?\s+to|becom(?:es|ing))\s+(?P<after>.+)$",
    re.IGNORECASE,
)
_NOT_A_STATE = re.compile(
    r"^(?:the |a |an |her |his |its )?(?:face|look|left|right|camera|viewer|street|road|driveway|lane|alley|corner|lot|us|me|him|"
    r"her|them|you|view|side|distance)\b", re.IGNORECASE,
)
_RECOLOUR = re.compile(r"^(?P<what>.*?)\s+(?:is |are )?(?:turn(?:s|ing)?|becom(?:es|ing))\s+"
                       rf"(?P<colour>{'|'.join(sorted(COLOURS))})\b(?P<rest>.*)$", re.IGNORECASE)
_STATE = r"(?:(?:an?|the)\s+)?[\w-]+(?:\s+age)?"
_FROM_STATE = re.compile(
    rf"^(?P<what>.*?)\s*(?:\b(?P<verb>chang\w+|go(?:es|ing)|shift\w*|turn\w*|transform\w*|pass\w*|mov\w+)\s+)?\bfrom\s+(?P<a>{_STATE})"
    rf"(?:\s+through\s+(?P<via>{_STATE}))?\s+(?:in)?to\s+(?P<b>{_STATE})(?P<rest>.*)$", re.IGNORECASE,
)
_TAIL = re.compile(r"\s*,|\s+(?:on|in|at|under|over|above|against|behind|beside|near|with|while|during)\s", re.IGNORECASE)
_OF_TIME = frozenset(state for cycle in CYCLES for state in cycle) | frozenset(SAME_STATE) | {"day"}


def _phase_after(prompt: str, phases: Sequence[str]) -> Callable[[float], MotionStage]:
    base = prompt.rstrip(" .")
    return lambda share: MotionStage(_capital(_nearest(phases, share)), f"{base}, {_nearest(phases, share)}")


def _nearest(phases: Sequence[str], share: float) -> str:
    return phases[round(share * (len(phases) - 1))]


def _read_camera(prompt: str) -> Outline | None:
    for name, said, phases in CAMERA_MOVES:
        found = re.search(said, prompt, re.IGNORECASE)
        if found is None:
            continue
        base = prompt[: found.start()] + " " + prompt[found.end() :]
        if name.startswith("zoom"):
            base = re.sub(SHOT_SIZES, " ", base, flags=re.IGNORECASE)
        base = re.sub(r"\bto reveal\b", "in", re.sub(r"\s+", " ", base)).strip(" ,.;") or prompt.strip(" .")
        ends = re.match(r"^(?:from )?(?P<a>[^,]+?) to (?P<b>an? [^,]+)$", base)
        if ends and name.startswith("pan"):
            return Outline("camera", f"the camera: {name}", found.group(0).strip(), _from_to(ends["a"], ends["b"]))
        return Outline("camera", f"the camera: {name}", found.group(0).strip(), _phase_after(base, phases))
    return None


def _from_to(a: str, b: str) -> Callable[[float], MotionStage]:
    moments = (a, f"{a} at the edge of the view", f"the view between {a} and {b}", f"{b} at the edge of the view", b)
    return lambda share: MotionStage(_capital(_nearest(moments, share)), _nearest(moments, share))


def _read_places(prompt: str) -> Outline | None:
    between = _FROM_TO.search(prompt)
    if between is None:
        return None
    verb, start, end = between.group(1) or "", _place(between.group(2)), _place(between.group(3))
    doing = "" if verb.lower() in _BARE_VERBS else f"{verb} "
    before, after = prompt[: between.start()], prompt[between.end() :]

    def stage_at(share: float) -> MotionStage:
        where = _where(start, end, share)
        preposition = "in" if where == "center" else "" if where.startswith("between") else "at"
        place = f"{preposition} {'the ' if preposition else ''}{where}".strip()
        return MotionStage(_capital(where), f"{before}{doing}{place}{after}")

    return Outline("places", f"places from {start} to {end}", between.group(0).strip(), stage_at)


def _read_change(prompt: str) -> Outline | None:
    """Return the outline of "X turning into Y", "leaves turning red" or "a field from winter to summer"; None for others."""
    found = _FROM_STATE.match(prompt)
    if found is not None:
        return _from_state(found)
    recoloured = _RECOLOUR.match(prompt)
    if recoloured is not None:
        what, colour, rest = recoloured["what"], recoloured["colour"], recoloured["rest"]
        had = re.search(rf"\b(?:{'|'.join(sorted(COLOURS))})\b", what, re.IGNORECASE)
        plain = re.sub(r"\s+", " ", what.replace(had.group(0), "", 1)).strip() if had else what
        old = had.group(0) if had else "not yet " + colour
        stage_at = _between_states(plain, old, colour, rest.rstrip(" ."))
        return Outline("change", f"{what}, then {colour}", colour, stage_at)
    found = _CHANGE.match(prompt)
    if found is None or _NOT_A_STATE.match(found["after"]):
        return None
    cut = _TAIL.search(found["after"])
    after, rest = (found["after"][: cut.start()], found["after"][cut.start() :]) if cut else (found["after"], "")
    before = found["before"].strip(" ,")
    return Outline("change", f"{before}, then {after}", before, _between(before, after.rstrip(" ."), rest.rstrip(" .")))


def _from_state(found: re.Match[str]) -> Outline | None:
    a, b = found["a"], found["b"]
    lower_a, lower_b = a.lower(), b.lower()
    bare = found["verb"] is not None and found["verb"].lower().startswith(("chang", "shift", "transform", "turn"))
    if not (bare or (lower_a in _OF_TIME and lower_b in _OF_TIME) or (lower_a in STATES and lower_b in STATES)):
        return None
    what, rest = found["what"].strip(" ,") or "the scene", found["rest"].rstrip(" .")
    states = _way_through(lower_a, lower_b, found["via"].lower() if found["via"] else "")
    if lower_a in _OF_TIME:
        told = [("at " if state in _AT_TIMES else "in " if state in _IN_TIMES else "in the ") + state for state in states]
        return Outline("change", f"{a} to {b}", a, _phase_before_rest(what, told, rest))
    if len(states) > 2:
        return Outline("change", f"{a} to {b}", a, _phase_before_rest(what, states, rest))
    return Outline("change", f"{a} to {b}", a, _between_states(what, a, b, rest))


_AT_TIMES = words_of("night dawn noon dusk midnight sunrise midday sunset")
_IN_TIMES = words_of("winter spring summer autumn childhood youth") | {"middle age", "old age"}


def _way_through(a: str, b: str, via: str) -> list[str]:
    """Return the states from a to b in the order of nature: winter, spring, summer."""
    first, last, middle = (SAME_STATE.get(state, state) for state in (a, b, via))
    if "day" in (first, last):
        first, last = ("noon" if state == "day" else state for state in (first, last))
    for cycle in CYCLES:
        if first in cycle and last in cycle and first != last:
            begin, end = cycle.index(first), cycle.index(last)
            return [cycle[(begin + step) % len(cycle)] for step in range((end - begin) % len(cycle) + 1)]
    return [first, middle, last] if middle else [first, last]


def _phase_before_rest(what: str, phases: Sequence[str], rest: str) -> Callable[[float], MotionStage]:
    return lambda share: MotionStage(_capital(_nearest(phases, share)), f"{what} {_nearest(phases, share)}{rest}".strip())


def _between_states(what: str, a: str, b: str, rest: str) -> Callable[[float], MotionStage]:
    moments = (a, f"more {a} than {b}", f"half {a}, half {b}", f"more {b} than {a}", b)
    return _phase_before_rest(f"{what},", moments, rest)


def _between(a: str, b: str, rest: str) -> Callable[[float], MotionStage]:
    moments = (a, f"{a}, the first signs of {b}", f"half {a}, half {b}", f"{b}, the last traces of {a}", b)
    return lambda share: MotionStage(_capital(_nearest(moments, share)), f"{_nearest(moments, share)}{rest}")


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
