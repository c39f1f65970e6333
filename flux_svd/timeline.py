"""From a film's wish to its keyframes in time: which stages, how far apart, what stands between. Pure.

Of a video model it knows the frames it was made for, nothing else.

Frames of a transition count both of its keyframes, so n frames are n − 1 steps, and neighbours share one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flux_svd import storyboard
from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Decision
from flux_svd.request import MAX_FRAMES, VideoRequest, make_request
from flux_svd.storyboard import MotionStage

USUAL_FRAMES = 23  # 3 keyframes → 45 frames, 3.75 s at 12 fps
USUAL_STEPPED = 25  # 8 · 3 + 1 and 4 · 6 + 1: the usual length of models that make films in steps of frames
USUAL_KEYFRAMES = 3
USUAL_MODEL = MODELS["svd-xt"]  # whose frames count as long as no other is named


@dataclass(frozen=True)
class TimedStage:
    """One keyframe to be: its stage, and what the user wants of it (see `flux_svd.request.StageWish`)."""

    stage: MotionStage
    seed: int | None = None
    picture: str | None = None
    lock: str | None = None
    pick: int | None = None


@dataclass(frozen=True)
class Way:
    """One transition to be: its frames, which part it is of which of the wished transitions (both from 0), its own seed.

    A transition's noise comes from the prompts at its ends, so that a stage put in or taken out, or one gap made longer,
    leaves the noise of the others alone.
    """

    frames: int
    gap: int
    part: int
    seed: int | None = None


@dataclass(frozen=True)
class Timeline:
    """Keyframes in order (in a loop the first one again at the end) and the ways between them, one fewer."""

    stages: tuple[TimedStage, ...]
    ways: tuple[Way, ...]


def lay_out(request: VideoRequest, notes: list[Decision], video: ModelSpec | None = None) -> Timeline:
    """Return the timeline of the wish, and add to `notes` what was decided.

    Args:
        video: the model that makes the transitions: as long as it was trained on, longer ones bridged, shorter ones thinned; one
            that makes a stretch in one pass needs keyframes a multiple of its frame step apart, and no bridges.

    Raises:
        InvalidRequest: the wished lengths do not go together, or make a film of more than `MAX_FRAMES` frames.
    """
    video = video or USUAL_MODEL
    frame_step, (least, most) = video.frame_step, video.trained_frames
    total = _total_frames(request, notes)
    keyframes = _count_keyframes(request, total, most)
    usual = USUAL_STEPPED if frame_step else min(USUAL_FRAMES, most)
    lengths = _lengths(request, total, keyframes - 1 + request.loop, usual)
    frames = sum(lengths) - len(lengths) + 1
    if frames > MAX_FRAMES:
        field = next(name for name in ("lengths", "frames_per_transition", "stages", "keyframes") if getattr(request, name))
        raise InvalidRequest(field, getattr(request, field), f"lengths that make at most {MAX_FRAMES} frames, not {frames}")
    if frame_step:
        _check_steps(request, lengths, video)
    parts = [(length,) if frame_step else _parts(length, most) for length in lengths]
    stages = _stages(request, keyframes, parts, notes)
    seeds = _transition_seeds(request, len(lengths))
    ways = tuple(Way(n, gap, part, seeds[gap]) for gap, within in enumerate(parts) for part, n in enumerate(within))
    if request.loop:
        notes.append(Decision("loop", "the last keyframe is the first", "drawn once"))
    longest = max(lengths)
    if frame_step:
        return Timeline(stages, ways)
    if usual < USUAL_FRAMES and not (total or request.lengths or request.frames_per_transition):
        notes.append(Decision("frames per transition", str(usual), f"as many as {video.name} was trained on"))
    if longest > most:
        inserted = len(ways) - len(lengths)
        notes.append(Decision("bridges", f"{inserted} {'keyframe' if inserted == 1 else 'keyframes'} between",
                              f"a transition of {longest} frames is longer than the {most} {video.name} was trained on"))
    thinned = sum(storyboard.stride_for(way.frames, least) > 1 for way in ways)
    if thinned:
        notes.append(Decision("thinning", f"{thinned} {'transition' if thinned == 1 else 'transitions'}",
                              f"fewer than {least} frames: made longer, then every k-th is kept"))
    return Timeline(stages, ways)


def with_midpoint(request: VideoRequest, gap: int) -> VideoRequest:
    """Return the wish with one more keyframe halfway between the keyframes `gap` and `gap` + 1 (from 0); its film is as long.

    Raises:
        InvalidRequest: there is no such gap, it is too short for two transitions, or there are as many keyframes as may be.
    """
    total = _total_frames(request, [])
    keyframes = keyframes_of(request)
    lengths = list(_lengths(request, total, keyframes - 1 + request.loop))
    if not 0 <= gap < len(lengths):
        raise InvalidRequest("midpoint", gap + 1, f"1 to {len(lengths)}, a transition of this film")
    first = lengths[gap] // 2 + 1
    second = lengths[gap] + 1 - first
    if second < 3:
        raise InvalidRequest("midpoint", gap + 1, f"a transition of at least 5 frames; this one has {lengths[gap]}")
    if request.stages is not None:
        wishes = [wish.model_dump(exclude={"length"}) for wish in request.stages]
    else:
        wishes = [{"prompt": stage.prompt} for stage in storyboard.write_stages(request.prompt, keyframes)]
    prompt = storyboard.halfway_prompt(wishes[gap]["prompt"], wishes[(gap + 1) % keyframes]["prompt"], 0.5)
    made = make_request(
        {
            **request.model_dump(),
            "stages": [*wishes[: gap + 1], {"prompt": prompt}, *wishes[gap + 1 :]],
            "lengths": [*lengths[:gap], first, second, *lengths[gap + 1 :]],
            **dict.fromkeys(("keyframes", "frames_per_transition", "total_frames", "seconds")),
        }
    )
    assert isinstance(made, VideoRequest)
    return made


def keyframes_of(request: VideoRequest) -> int:
    """Return how many different keyframes the wish has, before any is inserted.

    Raises:
        InvalidRequest: its seconds are out of bounds.
    """
    named = MODELS.get(request.video_model, USUAL_MODEL)
    return _count_keyframes(request, _total_frames(request, []), named.trained_frames[1])


def _total_frames(request: VideoRequest, notes: list[Decision]) -> int | None:
    if request.seconds is None:
        return request.total_frames
    frames = round(request.seconds * request.fps)
    if not 3 <= frames <= MAX_FRAMES:
        allowed = f"{3 / request.fps:.2f} to {MAX_FRAMES / request.fps:.2f} at {request.fps} frames a second"
        raise InvalidRequest("seconds", request.seconds, allowed)
    notes.append(Decision("length", f"{frames} frames", f"{request.seconds:g} s at {request.fps} frames a second, as asked"))
    return frames


def _count_keyframes(request: VideoRequest, total: int | None, most: int) -> int:
    """Return how many different keyframes there are: in a loop the return to the first is not counted."""
    if request.stages is not None:
        return len(request.stages)
    if request.keyframes is not None:
        return request.keyframes
    if request.lengths is not None:
        return max(2, len(request.lengths) + (not request.loop))
    if total is not None:
        return max(2, storyboard.keyframes_for(total, most) - request.loop)
    return USUAL_KEYFRAMES


def _check_steps(request: VideoRequest, lengths: Sequence[int], video: ModelSpec) -> None:
    """Check that the keyframes lie where the model can have them; a refusal names the nearest lengths that do."""
    step, total = video.frame_step, _total_frames(request, [])
    wrong = next((length for length in lengths if (length - 1) % step), None)
    if wrong is None:
        return
    ways = ("lengths", "total_frames", "seconds", "frames_per_transition", "stages")
    field = next((name for name in ways if getattr(request, name)), "lengths")
    if total is None:
        near = [wrong - (wrong - 1) % step, wrong - (wrong - 1) % step + step]
        nearest = f"{' or '.join(str(frames) for frames in near if frames > 1)} frames instead of {wrong}"
    else:
        near = _nearest_totals(request, total, video)
        nearest = " or ".join(f"{n / request.fps:.2f} s ({n} frames)" if request.seconds else f"{n} frames" for n in near)
    raise InvalidRequest(
        field, getattr(request, field),
        f"{nearest}: {video.name} makes transitions of a multiple of {step} frames, plus one",
    )


def _nearest_totals(request: VideoRequest, total: int, video: ModelSpec) -> list[int]:
    """Return the nearest lengths of the whole film below and above `total` whose transitions the model can make."""

    def works(frames: int) -> bool:
        gaps = _count_keyframes(request, frames, video.trained_frames[1]) - 1 + request.loop
        share, rest = divmod(frames - 1, gaps)
        return rest == 0 and share >= 2 and share % video.frame_step == 0

    ranges = range(total - 1, 2, -1), range(total + 1, MAX_FRAMES + 1)
    return [found for found in (next(filter(works, frames), 0) for frames in ranges) if found]


def _lengths(request: VideoRequest, total: int | None, gaps: int, usual: int = USUAL_FRAMES) -> tuple[int, ...]:
    if request.lengths is not None:
        if len(request.lengths) != gaps:
            raise InvalidRequest("lengths", request.lengths, f"{gaps} of them, one for each transition")
        return request.lengths
    if total is not None:
        return storyboard.frames_of_gaps(total, gaps + 1)
    usual = request.frames_per_transition or usual
    own = [wish.length for wish in request.stages or ()]
    if len(own) > gaps and own[gaps] is not None:
        raise InvalidRequest(f"stages.{gaps}.length", own[gaps], "no length: no transition follows the last stage of a film "
                             "that is no loop")
    return tuple(own[gap] or usual if gap < len(own) else usual for gap in range(gaps))


def _transition_seeds(request: VideoRequest, gaps: int) -> list[int | None]:
    """Return the wished seed of each transition."""
    wished = [wish.transition_seed for wish in request.stages or ()]
    if len(wished) > gaps and wished[gaps] is not None:
        raise InvalidRequest(f"stages.{gaps}.transition_seed", wished[gaps], "no seed: no transition follows the last stage of "
                             "a film that is no loop")
    return (wished + [None] * gaps)[:gaps]


def _parts(length: int, most: int) -> tuple[int, ...]:
    """Return the frames of the transitions that bridge a gap of `length` frames, as few and as even as training allows."""
    return storyboard.frames_of_gaps(length, storyboard.keyframes_for(length, most))


def _stages(
    request: VideoRequest, keyframes: int, parts: Sequence[tuple[int, ...]], notes: list[Decision]
) -> tuple[TimedStage, ...]:
    if request.stages is not None:
        notes.append(Decision("stages", str(keyframes), "your own"))
        wished = [
            TimedStage(MotionStage(f"Stage {n}", wish.prompt), wish.seed, wish.picture, wish.lock, wish.pick)
            for n, wish in enumerate(request.stages, 1)
        ]
        return _bridged(wished, parts, request.loop)
    notes.append(Decision("stages", str(keyframes), storyboard.outline(request.prompt).why))
    # The storyboard writes what is inserted too: at its share of the film.
    shares, open_end = [0.0], keyframes - 1
    for gap, within in enumerate(parts[:open_end]):
        shares += [(gap + (part + 1) / len(within)) / open_end for part in range(len(within))]
    written = [TimedStage(stage) for stage in storyboard.stages_at(request.prompt, shares)]
    return (*written, *_bridged([written[-1], written[0]], parts[-1:], False)[1:]) if request.loop else tuple(written)


def _bridged(wished: Sequence[TimedStage], parts: Sequence[tuple[int, ...]], loop: bool) -> tuple[TimedStage, ...]:
    """Return the wished stages with keyframes inserted where a gap has several parts, and the first again after a loop."""
    ends = [*wished[1:], wished[0]] if loop else wished[1:]
    stages = [wished[0]]
    for start, end, within in zip(wished, ends, parts, strict=False):
        for part in range(1, len(within)):
            prompt = storyboard.halfway_prompt(start.stage.prompt, end.stage.prompt, part / len(within))
            stages.append(TimedStage(MotionStage(f"Between {start.stage.name} and {end.stage.name}", prompt)))
        stages.append(end)
    return tuple(stages)
