"""A film's report: how its ends land, its joins, cross-fades, flicker, motion and subject, as numbers and in plain words.

Works on frames alone; what an engine or a scorer must say (ends before the fade, likeness) is given to it or left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd.metrics import numbers
from flux_svd.metrics.numbers import Frames, Picture
from flux_svd.pictures import psnr

# Seen over the made-up films of tests/films_with_faults.py, after H.264 at crf 18; "even" is even motion, light and pan.
JOIN_LIMIT = 2.5  # even ≤ 1.5; speed tripled 2.8, doubled frame 3.1, reversal 5.9, place jump 14, flash 130
HOLD_LOW, HOLD_HIGH = 0.3, 3.0  # even 0.8 to 1.1; doubled frame 0.0; flash 21
BLEND_LIMIT = 0.85  # a moved disc 0.23 to 0.41, a growing one 0.70, half a ghost 0.55; a cross-fade 0.99
STEP_LIMIT = 4.0  # even ≤ 1.8; place jump 5.4, flash 22, cut 118
FLICKER_LIMIT = 0.5  # grey levels; even ≤ 0.24; every other frame 6 levels brighter 11.9
FLASH_LIMIT = 2.0  # grey levels; even ≤ 0.71; one frame 12 levels brighter 24
STILL_LIMIT = 0.02  # grey levels a frame; a disc that moves 0.04 pixels a frame 0.03; nothing moves 0.001
LIKENESS_LIMIT = 0.6  # pocket-clip: moved 0.77 to 0.90; another colour 0.45; another thing elsewhere 0.06. A weak judge.
END_LOSS = 1.0  # dB under the VAE's own round trip: what decoding a film in chunks costs
END_MISS = 6.0  # dB under it: twice the error of the round trip, and visible
COMPARED_FRAMES = 9  # enough to see a subject change; a CLIP takes about 50 ms for each on a processor

SMOOTH, LANDS = "no jump", "lands as exactly as the VAE can"  # the verdicts with nothing to mend

Likeness = Callable[[Sequence[Image.Image]], Sequence[Sequence[float]]]
"""Returns the cosine of every picture with every picture, as a CLIP scorer does."""


@dataclass(frozen=True)
class KeyframeMatch:
    """How one keyframe came out in the film.

    Attributes:
        frame: its index.
        psnr, ssim: of the frame against the keyframe; None where the keyframe is not at hand.
        raw_psnr: in dB, as the video model made it, before its difference to the keyframe was faded out.
        round_trip_psnr: in dB, decode(encode(keyframe)) alone: what the VAE can do at best.
    """

    frame: int
    psnr: float | None = None
    ssim: float | None = None
    raw_psnr: float | None = None
    round_trip_psnr: float | None = None


@dataclass(frozen=True)
class Join:
    """One inner keyframe: `join_ratio` is the bend of the motion there over the usual one, `hold` the smaller step beside it
    over the usual step."""

    frame: int
    join_ratio: float
    hold: float


@dataclass(frozen=True)
class Way:
    """From one keyframe to the next.

    Attributes:
        blend_share: how much of the change is a cross-fade, 0 … 1; None where nothing is in another place at the end.
        largest_step: the largest change between neighbours over the usual one, and at which frame.
    """

    first: int
    last: int
    blend_share: float | None
    largest_step: float
    largest_step_frame: int


@dataclass(frozen=True)
class FilmReport:
    """Numbers about one film; `words` says them.

    Attributes:
        motion: mean change from frame to frame, in grey levels.
        flicker, flash: mean and largest second difference of the mean brightness, in grey levels.
        likeness: cosine of the first keyframe with the frames looked at: (mean, least, frame of the least).
        left_out: what was not measured, and why.
    """

    frames: int
    motion: float
    flicker: float
    flash: float
    flash_frame: int
    keyframes: tuple[KeyframeMatch, ...]
    joins: tuple[Join, ...]
    ways: tuple[Way, ...]
    likeness: tuple[float, float, int] | None
    left_out: tuple[str, ...]

    def words(self) -> tuple[str, ...]:
        """Return one plain sentence for each number."""
        told = [f"motion {self.motion:.2f} grey levels a frame: {'hardly anything moves' if self.is_still else 'it moves'}"]
        told += [_say_keyframe(match) for match in self.keyframes if match.raw_psnr is not None or match.psnr is not None]
        told += [f"join at frame {join.frame}: bend {join.join_ratio:.2f}, hold {join.hold:.2f}: {self.judge(join)}"
                 for join in self.joins]
        told += [_say_way(way) for way in self.ways]
        flickers = "flickers" if self.flicker > FLICKER_LIMIT else "steady brightness"
        flash = f"a flash at frame {self.flash_frame}" if self.has_flash else "no flash"
        told.append(f"brightness: flicker {self.flicker:.2f}, largest {self.flash:.2f} grey levels: {flickers}, {flash}")
        if self.likeness is not None:
            mean, least, frame = self.likeness
            verdict = f"the subject looks different at frame {frame}" if least < LIKENESS_LIMIT else "the subject stays alike"
            told.append(f"likeness to the first keyframe {mean:.2f}, at least {least:.2f}: {verdict}")
        return (*told, *(f"not measured: {what}" for what in self.left_out))

    def findings(self, fps: int) -> tuple[str, ...]:
        """Return what the numbers say, a plain verdict each, with times in a film of `fps` frames a second."""
        if self.is_still:
            return ("Hardly anything moves.",)
        jumps = [way.largest_step_frame for way in self.ways if way.largest_step > STEP_LIMIT]
        told = ["No jump."] if not jumps else [f"One jump, at {_time(jumps[0], fps)}."] if len(jumps) == 1 else [
            f"{len(jumps)} jumps, the first at {_time(jumps[0], fps)}."]
        told += [f"From {_time(way.first, fps)} to {_time(way.last, fps)} it looks like a cross-fade."
                 for way in self.ways if way.blend_share is not None and way.blend_share > BLEND_LIMIT]
        told += [f"At the keyframe at {_time(join.frame, fps)}: {self.judge(join)}."
                 for join in self.joins if self.judge(join) != SMOOTH]
        met = [_landing(match) for match in self.keyframes if match.raw_psnr is not None and match.round_trip_psnr is not None]
        off = len(met) - met.count(LANDS)
        if met:
            told.append("All keyframes are met exactly." if not off else f"{off} of {len(met)} keyframes are not met exactly.")
        told.append(f"A flash at {_time(self.flash_frame, fps)}." if self.has_flash else "The brightness flickers."
                    if self.flicker > FLICKER_LIMIT else "The brightness is steady.")
        if self.likeness is not None:
            _, least, frame = self.likeness
            told.append(f"The subject changes at {_time(frame, fps)}." if least < LIKENESS_LIMIT else "The subject stays alike.")
        return tuple(told)

    def as_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values, and the words."""
        values: dict[str, Any] = json.loads(json.dumps({**asdict(self), "words": self.words()}))  # tuples become lists
        return values

    @property
    def is_still(self) -> bool:
        return self.motion < STILL_LIMIT

    @property
    def has_flash(self) -> bool:
        return self.flash > FLASH_LIMIT and self.flicker < self.flash / 4  # one frame, not a flicker all through

    def judge(self, join: Join) -> str:
        """Return in words how the film joins at an inner keyframe."""
        if self.is_still:
            return "nothing moves, so there is nothing to see"
        if self.has_flash and abs(self.flash_frame - join.frame) <= 1:
            return "a flash"
        if join.hold < HOLD_LOW:
            return "the motion stalls, or a frame is shown twice"
        if join.join_ratio > JOIN_LIMIT or join.hold > HOLD_HIGH:
            return "a jump or a kink"
        return SMOOTH


def report_from_json(values: Mapping[str, Any]) -> FilmReport | None:
    """Return the report whose `as_json` these values are; None where they are none, or another version's."""
    try:
        return _report_of(values)
    except (KeyError, TypeError):
        return None


def _report_of(values: Mapping[str, Any]) -> FilmReport:
    rows = {name: tuple(kind(**row) for row in values[name])
            for name, kind in (("keyframes", KeyframeMatch), ("joins", Join), ("ways", Way))}  # fmt: skip
    known = {name: values[name] for name in FilmReport.__dataclass_fields__}
    left_out, likeness = tuple(values["left_out"]), values["likeness"] and tuple(values["likeness"])
    return FilmReport(**{**known, **rows, "left_out": left_out, "likeness": likeness})


def film_report(
    frames: Iterable[Picture],
    key_positions: Sequence[int],
    keyframes: Sequence[Picture] | None = None,
    ends: Mapping[str, Sequence[float]] | None = None,
    likeness: Likeness | None = None,
) -> FilmReport:
    """Return the report of a film. Frames are taken one by one and kept small, so a long film needs little memory.

    Args:
        frames: each (height, width, 3); as many as the last key position says.
        key_positions: frame index of each keyframe, ascending, the first 0 and the last F − 1.
        keyframes: the pictures themselves, each (height, width, 3), where they are at hand.
        ends: "raw_psnr" and "round_trip_psnr", one value in dB for each keyframe, as the engine measured them.
        likeness: compares pictures; may be slow, so it is asked once, for `COMPARED_FRAMES` frames.
    """
    last = key_positions[-1]
    looked_at = sorted({round(index * last / (COMPARED_FRAMES - 1)) for index in range(COMPARED_FRAMES)})
    small, whole = [], {}
    for at, frame in enumerate(frames):
        small.append(numbers.shrink(frame))
        if at in key_positions or at in looked_at:
            whole[at] = frame
    if len(small) != last + 1:
        raise ValueError(f"{len(small)} frames, but the last keyframe is frame {last}")
    film = np.stack(small)
    seen = numbers.coarse(film)
    stepped = numbers.steps(seen)
    inner = list(key_positions[1:-1])
    mean, largest, worst = numbers.flicker(film)
    left_out = ["LPIPS: it needs the weights of a network this program does not bring"]
    if ends is None:
        left_out.append("ends before the fade: only the run that made a film can tell; its sidecar file is not here")
    if likeness is None:
        left_out.append("likeness of the subject: no scorer was given")
    return FilmReport(
        frames=len(film), motion=_short(numbers.motion(film)), flicker=_short(mean), flash=_short(largest),
        flash_frame=worst, keyframes=_matches(whole, key_positions, keyframes, ends), joins=_joins(seen, stepped, inner),
        ways=tuple(_way(film, stepped, a, b) for a, b in itertools.pairwise(key_positions)),
        likeness=None if likeness is None else _likeness(whole, looked_at, likeness), left_out=tuple(left_out),
    )


def _matches(
    frames: Mapping[int, Picture], positions: Sequence[int], keyframes: Sequence[Picture] | None,
    ends: Mapping[str, Sequence[float]] | None,
) -> tuple[KeyframeMatch, ...]:
    matches = []
    for index, at in enumerate(positions):
        key = None if keyframes is None else keyframes[index]
        matches.append(
            KeyframeMatch(
                frame=at,
                psnr=None if key is None else _short(psnr(frames[at], key)),
                ssim=None if key is None else _short(numbers.ssim(frames[at], key)),
                raw_psnr=None if ends is None else float(ends["raw_psnr"][index]),
                round_trip_psnr=None if ends is None else float(ends["round_trip_psnr"][index]),
            )
        )
    return tuple(matches)


def _joins(seen: NDArray[np.float32], stepped: NDArray[np.float32], inner: Sequence[int]) -> tuple[Join, ...]:
    ratios, held = numbers.join_ratios(numbers.bends(seen), inner) if inner else [], numbers.holds(stepped, inner)
    return tuple(Join(at, _short(ratio), _short(hold)) for at, ratio, hold in zip(inner, ratios, held, strict=True))


def _way(frames: Frames, stepped: NDArray[np.float32], first: int, last: int) -> Way:
    own = stepped[first:last]
    share = numbers.blend_share(frames[first : last + 1])
    largest = int(own.argmax())
    usual = max(numbers.STILL, float(np.median(own)))
    return Way(first, last, None if share is None else _short(share), _short(float(own[largest]) / usual), first + largest + 1)


def _likeness(frames: Mapping[int, Picture], looked_at: Sequence[int], likeness: Likeness) -> tuple[float, float, int]:
    values = list(likeness([Image.fromarray(frames[at]) for at in looked_at])[0])[1:]  # against frame 0, the first keyframe
    least = int(np.argmin(values))
    return _short(float(np.mean(values))), _short(float(values[least])), looked_at[least + 1]


def _say_keyframe(match: KeyframeMatch) -> str:
    parts, verdict = [], ""
    if match.raw_psnr is not None and match.round_trip_psnr is not None:
        verdict = f": {_landing(match)}"
        parts.append(f"before the fade {match.raw_psnr:.1f} dB, the VAE alone {match.round_trip_psnr:.1f} dB")
    if match.psnr is not None:
        parts.append(f"in the film {match.psnr:.1f} dB, SSIM {match.ssim:.3f}")
    return f"keyframe at frame {match.frame}: {'; '.join(parts)}{verdict}"


def _landing(match: KeyframeMatch) -> str:
    assert match.raw_psnr is not None
    assert match.round_trip_psnr is not None
    loss = match.round_trip_psnr - match.raw_psnr
    return LANDS if loss <= END_LOSS else "lands a little off" if loss <= END_MISS else "does not land on its keyframe by itself"


def _time(frame: int, fps: int) -> str:
    return f"{frame / fps:.1f} s"


def _say_way(way: Way) -> str:
    name = f"frames {way.first} to {way.last}"
    blend = ("nothing changes its place, so a cross-fade cannot be told" if way.blend_share is None
             else f"cross-fade {way.blend_share:.2f}: " + (
                 "looks like a cross-fade" if way.blend_share > BLEND_LIMIT else "not a cross-fade"))
    step = f"largest step {way.largest_step:.1f} times the usual"
    jump = f": a jump at frame {way.largest_step_frame}" if way.largest_step > STEP_LIMIT else ""
    return f"{name}: {blend}; {step}{jump}"


def _short(value: float) -> float:
    return round(value, 4)
