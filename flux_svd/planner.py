"""Request + budget + inventory → plan: the only place where holes of a wish are filled. Touches no GPU and loads nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from flux_svd import passes, presets, selection, storyboard, timeline
from flux_svd.catalog import (
    AUTO_IMAGE,
    AUTO_VIDEO,
    IMAGE_FAMILIES,
    MODELS,
    VIDEO_FAMILIES,
    ModelSpec,
)
from flux_svd.choosing import check_available, check_pair, check_sides, choose_model, choose_size
from flux_svd.drawing import image_recipes, with_own
from flux_svd.errors import InvalidRequest
from flux_svd.fitting import CHUNKS, Fit, choose_precision, fit_film, fit_picture, fit_scorer
from flux_svd.memory import Budget
from flux_svd.methods import ALIGNMENT_ROUNDS, JOIN_SHARE, METHODS
from flux_svd.plan import Decision, Inventory, Plan
from flux_svd.recipe import (
    GivenPicture,
    ImageRecipe,
    KeyframeRecipe,
    OnePassRecipe,
    TransitionRecipe,
    VideoRecipe,
    candidates_of,
    derive_seed,
    fingerprint,
)
from flux_svd.request import CONDITIONING_FPS_MAX, CONDITIONING_FPS_MIN, ImageRequest, Request, VideoRequest
from flux_svd.versions import installed_versions

# Frames a side over which what the autoencoder loses of a keyframe comes back. Six true films through pocket-svd's bend at their
# joins up to 2.1 times as much as elsewhere at 6, 0.8 at 8.
FADE_FRAMES = 8
PIN_REACH = 8  # frames over which what pinning changes at an end is shared with those beside it; see docs/decisions.md
RANDOM_SEED_MAX = 2**32 - 1  # drawn seeds stay exact in a browser's numbers


def make_plan(
    request: Request, budget: Budget, inventory: Inventory, entropy: random.Random,
    locked: Mapping[str, ImageRecipe] | None = None,
) -> Plan:
    """Return the plan for `request` on this machine. A missing seed is drawn from `entropy`, nothing else is random.

    Args:
        locked: the recipes of the keyframes that stages of the request have locked, by fingerprint.

    Raises:
        InvalidRequest: the wish contradicts the model it names.
        ModelUnavailable: a named model is not on disk, or its licence is not accepted.
        DoesNotFit: no placement fits the budget.
    """
    notes: list[Decision] = []
    budget = replace(budget, lower_precision=request.consent, compiled=request.compiled)
    seed = request.seed if request.seed is not None else entropy.randint(0, RANDOM_SEED_MAX)
    notes.append(Decision("seed", str(seed), "as asked" if request.seed is not None else "drawn at random"))
    if isinstance(request, ImageRequest):
        return _plan_images(request, seed, budget, inventory, notes)
    return _plan_film(request, seed, budget, inventory, notes, locked or {})


def _plan_images(
    request: ImageRequest, seed: int, budget: Budget, inventory: Inventory, notes: list[Decision]
) -> Plan:
    spec = choose_model(request.model, "model", AUTO_IMAGE, IMAGE_FAMILIES, budget, inventory, notes,
                   references=len(request.references))
    width, height = choose_size(request, spec, spec.size, spec.size_multiple, notes)
    prompts = [(request.prompt, derive_seed(seed, "image", index)) for index in range(request.count)]
    if request.variation is not None:
        prompts = [(request.prompt, seed)] * request.count
    drawn, drawing = image_recipes(
        request, spec, prompts, width, height, budget, inventory, notes, len(request.references)
    )
    drawn = tuple(_begun(request, recipe, seed, index) for index, recipe in enumerate(drawn))
    recipes = tuple(selection.best_of(recipe, request.best_of) for recipe in drawn)
    if request.variation is not None:
        notes.append(Decision("variation", f"{request.variation:g}", "of the way from this seed's noise to another's, for each "
                              "picture another"))
    elif request.count > 1:
        notes.append(Decision("count", str(request.count), "each picture has a seed of its own, derived from the first"))
    if request.start is not None:
        taken = drawn[0].steps - drawn[0].first_step
        notes.append(Decision("strength", f"{drawn[0].strength:g}", f"{taken} of {drawn[0].steps} steps are taken, from the "
                              f"picture on{'' if request.strength else '; the default of diffusers'}"))
    if request.best_of > 1:
        notes.append(_best_of_note(request.best_of))
    scorer = fit_scorer(budget, inventory, notes)
    return Plan(request, seed, recipes, (drawing.placement, scorer), tuple(notes), fallbacks=drawing.fallbacks)


def _plan_film(
    request: VideoRequest, seed: int, budget: Budget, inventory: Inventory, notes: list[Decision],
    locked: Mapping[str, ImageRecipe],
) -> Plan:
    animating = replace(budget, compiled=False)  # only what draws is compiled
    spec, video, line, told = _choose_models(request, budget, animating, inventory, notes)
    multiple = max(spec.size_multiple if spec else 1, video.size_multiple)
    width, height = choose_size(request, spec or video, spec.film_size if spec else video.size, multiple, notes)
    check_sides(width, height, video)
    notes += told
    keyframes, fits = _keyframes(request, spec, line, (width, height), seed, budget, inventory, notes, locked)
    transitions: tuple[TransitionRecipe, ...] = ()
    stretches: tuple[OnePassRecipe, ...] = ()
    precision = choose_precision(video, budget)[0]
    if video.keyframes_at_once:
        versions = installed_versions("torch", "diffusers", "transformers")
        stretches = passes.make_passes(request, video, keyframes, line, seed, precision, versions, notes)
    else:
        transitions = _transitions(request, video, keyframes, line, seed, budget, notes)
    longest = max([part.frames for part in transitions] + [part.frames for part in stretches])
    moving = fit_film(video, precision, (width, height), longest, animating, notes)
    chunk = CHUNKS[0][0] if stretches else moving.shape.decode_chunk
    film = VideoRecipe(
        keyframes=keyframes, transitions=transitions, passes=stretches, width=width, height=height, fps=request.fps,
        decode_chunk=chunk,
        decode_overlap=dict(CHUNKS)[chunk],  # 2 leave a third of the worst frame's error of no overlap (tiny random weights)
        join_share=_join_share(request, transitions), colour_match=request.colour_match, fade_frames=FADE_FRAMES,
        crf=18,  # visually lossless by the usual reading of x264
        versions=installed_versions("imageio-ffmpeg"),
    )
    if request.smooth_joins:
        notes.append(Decision("smooth joins", "an experiment" if film.join_share else "nothing to smooth",
                              f"{film.unet_calls} UNet calls in all; a change of one stage makes every transition anew"
                              if film.join_share else "the film has no inner keyframe"))
    if request.colour_match:
        notes.append(Decision("colour match", "on", "each frame's colours follow those of its two keyframes, as asked"))
    notes.append(Decision("film", f"{film.frames} frames · {film.fps} fps · {film.seconds_long:.2f} s",
                          "transitions share their keyframe, so it is counted once"))
    scorer = fit_scorer(budget, inventory, notes)
    fits.append(moving)
    return Plan(
        request, seed, (film,), (*(fit.placement for fit in fits), scorer), tuple(notes),
        tuple(timed.stage for timed in line.stages), fallbacks=tuple(other for fit in fits for other in fit.fallbacks),
        keyframes=keyframes,
    )


def _choose_models(
    request: VideoRequest, drawing: Budget, animating: Budget, inventory: Inventory, notes: list[Decision]
) -> tuple[ModelSpec | None, ModelSpec, timeline.Timeline, list[Decision]]:
    """Return what draws (None where every keyframe is given), what animates, the timeline and what was decided for that.

    Which keyframes are inserted, and so whether anything is drawn, depends on the video model, and that one goes with what draws.
    """
    named = MODELS.get(request.video_model)
    told: list[Decision] = []
    line, spec = timeline.lay_out(request, told, named), None
    if not all(timed.picture for timed in line.stages):
        spec = choose_model(request.model, "model", AUTO_IMAGE, IMAGE_FAMILIES, drawing, inventory, notes, like=named,
                            references=len(request.references))
    video = choose_model(
        request.video_model, "video_model", AUTO_VIDEO, VIDEO_FAMILIES, animating, inventory, notes, like=spec
    )
    if named is None:
        told.clear()
        line = timeline.lay_out(request, told, video)
        if spec is None and not all(timed.picture for timed in line.stages):
            spec = choose_model(request.model, "model", AUTO_IMAGE, IMAGE_FAMILIES, drawing, inventory, notes, like=video,
                                references=len(request.references))
    if spec is not None:
        check_pair(request, spec, video)
    else:
        notes.append(Decision("model", "none", "every keyframe is a given picture, so nothing is drawn"))
    return spec, video, line, told


def _keyframes(
    request: VideoRequest, spec: ModelSpec | None, line: timeline.Timeline, size: tuple[int, int], seed: int, budget: Budget,
    inventory: Inventory, notes: list[Decision], locked: Mapping[str, ImageRecipe],
) -> tuple[tuple[KeyframeRecipe, ...], list[Fit]]:
    """Return the keyframes in order, and where they are drawn: to keep the subject, the others after the first one's picture."""
    follows = bool(spec and "references" in spec.obeys and request.keep_subject and not request.references)
    drawn: tuple[ImageRecipe, ...] = ()
    fits: dict[str, Fit] = {}
    if spec is not None:
        # One seed for all keyframes: FLUX keeps composition and subject more alike from the same noise.
        prompts = [(timed.stage.prompt, seed if timed.seed is None else timed.seed) for timed in line.stages]
        references = follows + len(request.references)
        drawn, fits[spec.name] = image_recipes(request, spec, prompts, *size, budget, inventory, notes, references)
    keyframes: list[KeyframeRecipe] = []
    for index, timed in enumerate(line.stages):
        if timed.picture is not None:
            keyframes.append(GivenPicture(timed.picture, *size))
        elif timed.lock is not None:
            recipe = _locked(timed.lock, index, locked, size)
            keyframes.append(recipe)
            if recipe.model not in fits:
                other = MODELS[recipe.model]
                check_available(other, inventory, notes)
                own = replace(budget, compiled=recipe.compiled)
                fits[other.name] = fit_picture(
                    with_own(other, recipe, inventory), recipe.precision, size, len(recipe.references), own, notes
                )
        elif index and timed == line.stages[0]:  # the end of a loop
            keyframes.append(keyframes[0])
        else:
            subject = keyframes[0] if follows and index else None
            keyframes.append(_drawn(request, timed, index, drawn[index], subject))
    given, kept = (len({getattr(timed, name) for timed in line.stages} - {None}) for name in ("picture", "lock"))
    why = [f"{given} given, cut to {size[0]} × {size[1]}"] if given else []
    why += [f"{kept} locked"] if kept else []
    if given + kept < len(set(line.stages)):
        why.append("the others from one seed" if why else "all from one seed, so that the subject stays alike")
    notes.append(Decision("keyframes", str(len(keyframes)), "; ".join(why)))
    if follows:
        notes.append(Decision("subject", "the first keyframe", "the others are drawn after its picture"))
    if request.best_of > 1 and spec:
        notes.append(_best_of_note(request.best_of))
    return tuple(keyframes), list(fits.values())


def _drawn(
    request: VideoRequest, timed: timeline.TimedStage, index: int, recipe: ImageRecipe, subject: KeyframeRecipe | None
) -> KeyframeRecipe:
    """Return one keyframe to draw: after its subject, and as the wished candidate where one is picked."""
    if timed.pick is not None and timed.pick > request.best_of:
        raise InvalidRequest(f"stages.{index}.pick", timed.pick, f"1 to {request.best_of}, one of the candidates (best_of)")
    found = selection.best_of(selection.after_subject(recipe, subject) if subject else recipe, request.best_of)
    return found if timed.pick is None else candidates_of(found)[timed.pick - 1]


def _locked(name: str, index: int, locked: Mapping[str, ImageRecipe], size: tuple[int, int]) -> ImageRecipe:
    recipe = locked.get(name)
    if recipe is None:
        raise InvalidRequest(f"stages.{index}.lock", name, "the fingerprint of a keyframe that was drawn on this machine before")
    if (recipe.width, recipe.height) != size:
        raise InvalidRequest(f"stages.{index}.lock", name, f"a keyframe of {size[0]} × {size[1]} pixels, like the film; this one "
                             f"has {recipe.width} × {recipe.height}")
    return recipe


def _best_of_note(candidates: int) -> Decision:
    return Decision("best of", f"{candidates} candidates", "all are kept; the scores choose, unless you pick one")


def _join_share(request: VideoRequest, transitions: tuple[TransitionRecipe, ...]) -> float:
    """Return the share of the steps that all transitions take together.

    Raises:
        InvalidRequest: they cannot be made together.
    """
    if not request.smooth_joins or len(transitions) < 2:
        return 0.0
    able = ", ".join(name for name, other in METHODS.items() if other.samples in ("bidirectional", "vibid"))
    if METHODS[request.transition].samples not in ("bidirectional", "vibid"):
        raise InvalidRequest("smooth_joins", True, f"not with {request.transition}; with {able}")
    least = MODELS[transitions[0].model].trained_frames[0]
    if any(part.stride > 1 for part in transitions):
        raise InvalidRequest("smooth_joins", True, f"only with transitions of at least {least} frames")
    return JOIN_SHARE


def _begun(request: ImageRequest, recipe: ImageRecipe, seed: int, index: int) -> ImageRecipe:
    """Return the recipe with what it begins at: a stored picture, or noise near that of the seed."""
    if request.start is not None:
        strength = request.strength if request.strength is not None else presets.STRENGTH
        return replace(recipe, start=request.start, strength=strength)
    if request.variation is not None:
        other = derive_seed(seed, "variation", index + 1)
        return replace(recipe, variation_seed=other, variation=request.variation)
    return recipe


def _transitions(
    request: VideoRequest, video: ModelSpec, keyframes: tuple[KeyframeRecipe, ...], line: timeline.Timeline,
    seed: int, budget: Budget, notes: list[Decision],
) -> tuple[TransitionRecipe, ...]:
    method = METHODS[request.transition]
    steps = request.transition_steps or max(1, round(method.steps_share * video.steps))
    if request.motion_alignment is not None and method.motion_alignment is None:
        able = ", ".join(name for name, other in METHODS.items() if other.motion_alignment is not None)
        raise InvalidRequest("motion_alignment", request.motion_alignment, f"not with {request.transition}; with {able}")
    alignment = request.motion_alignment if request.motion_alignment is not None else method.motion_alignment or 0.0
    prints = [fingerprint(keyframe) for keyframe in keyframes]
    versions = installed_versions("torch", "diffusers", "transformers")
    parts = []
    for index, way in enumerate(line.ways):
        stride = storyboard.stride_for(way.frames, video.trained_frames[0])
        role = f"transition {line.stages[index].stage.prompt} → {line.stages[index + 1].stage.prompt}"
        own = derive_seed(seed if way.seed is None else way.seed, role, 0)
        parts.append(
            TransitionRecipe(
                model=video.name, revision=video.revision, method=method.samples, start=prints[index],
                end=prints[index + 1], seed=own, width=keyframes[0].width,
                height=keyframes[0].height, frames=(way.frames - 1) * stride + 1, stride=stride, steps=steps,
                guidance=video.guidance if method.guidance is None else method.guidance,
                motion_bucket_id=request.motion_bucket_id,
                conditioning_fps=request.conditioning_fps or _speed(request.fps, stride),
                noise_aug_strength=0.02,  # SVD model card; arXiv:2410.05651 uses the same
                motion_alignment=alignment, alignment_rounds=ALIGNMENT_ROUNDS, renoise_share=method.renoise_share,
                precision=choose_precision(video, budget)[0], versions=versions, pin_reach=PIN_REACH,
            )
        )
    if request.conditioning_fps is None:
        notes += [_speed_note(video.name, request.fps, stride) for stride in sorted({part.stride for part in parts})
                  if stride > 1 or _speed(request.fps, 1) != request.fps]
    calls = sum(part.unet_calls for part in parts)
    notes.append(Decision("transitions", f"{len(parts)} × {request.transition}, {steps} steps",
                          f"{calls} UNet calls in all; {method.does}; {method.source}"))
    return tuple(parts)


def _speed(fps: int, stride: int) -> int:
    """Return the frames a second a video model is asked for: of those it makes, `stride` lie between two that are played."""
    return min(max(fps * stride, CONDITIONING_FPS_MIN), CONDITIONING_FPS_MAX)


def _speed_note(model: str, fps: int, stride: int) -> Decision:
    speed, why = _speed(fps, stride), [f"of thinned transitions every frame of {stride} is played"] if stride > 1 else []
    if speed != fps * stride:
        why.append(f"the {'most' if speed < fps * stride else 'least'} {model} is asked for")
    return Decision("conditioning fps", str(speed), "; ".join([*why, f"playback stays at {fps}"]))
