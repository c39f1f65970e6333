"""The storyboard as data: a subject that stays, the best of several candidates, locks, and only what changed is made again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flux_svd import files, timeline
from flux_svd.artifact import ImageArtifact, VideoArtifact, load_recipe
from flux_svd.errors import InvalidRequest
from flux_svd.pictures import encode_png
from flux_svd.plan import Plan, film_stage_names, keyframes_only, plan_from_json, plan_to_json, stage_names
from flux_svd.progress import Progress
from flux_svd.recipe import (
    GivenPicture,
    ImageRecipe,
    Selection,
    VideoRecipe,
    candidates_of,
    drawn_after,
    fingerprint,
    with_keyframes,
)
from flux_svd.request import MAX_PROMPT_CHARACTERS, VideoRequest, make_request
from flux_svd.selection import LIMITS, choose
from flux_svd.session import Session
from tests.fakes import FakeEngines, fake_session
from tests.test_planner import EVERYTHING, film_of, gpu, plan_of

Faked = tuple[Session, FakeEngines]
LETTERS = ("a", "b", "c", "d", "e")
LIMIT = LIMITS["pocket-clip"]


@pytest.fixture
def faked(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Faked:
    return fake_session(home, outputs, monkeypatch)


def stages(*prompts: str, **own: dict[str, Any]) -> list[dict[str, Any]]:
    """Return stages with these prompts; `b={...}` adds fields to the stage with prompt "b"."""
    return [{"prompt": prompt, **own.get(prompt, {})} for prompt in prompts]


def film(session: Session, wishes: list[dict[str, Any]], **fields: Any) -> Plan:
    return session.plan(make_request({"kind": "video", "prompt": "all", "seed": 7, "stages": wishes, **fields}))


def large_film(**fields: Any) -> tuple[Plan, VideoRecipe]:
    """Return the plan of a film with a model that takes references."""
    return film_of(gpu(80), EVERYTHING, model="flux2-klein-4b", **{"stages": stages(*LETTERS), **fields})


def counts(engines: FakeEngines) -> tuple[int, int]:
    """Return how often the image engine and the transition engine worked, and forget it."""
    told = sum(call.startswith("draw") for call in engines.calls), engines.calls.count("sample")
    engines.calls.clear()
    return told


# --- a subject that stays ---------------------------------------------------------------------------------------------------


def test_the_first_keyframe_is_what_the_others_are_drawn_after() -> None:
    plan, made = large_film()
    first, *others = made.keyframes
    assert isinstance(first, ImageRecipe)
    assert first.references == ()
    assert [key.references for key in others if isinstance(key, ImageRecipe)] == [(drawn_after(fingerprint(first)),)] * 4
    assert any(note.what == "subject" for note in plan.decisions)


def test_another_first_keyframe_is_another_recipe_for_all_others_and_a_later_one_for_itself_alone() -> None:
    before, first, second, third = (
        [fingerprint(key) for key in large_film(stages=stages(*prompts))[1].keyframes] for prompts in ("abc", "xbc", "axc", "abx")
    )
    assert all(a != b for a, b in zip(before, first, strict=True))
    assert [a == b for a, b in zip(before, second, strict=True)] == [True, False, True]
    assert [a == b for a, b in zip(before, third, strict=True)] == [True, True, False]


@pytest.mark.parametrize(
    ("fields", "references"),
    [
        ({"keep_subject": False}, ()),
        ({"references": ["ab" * 32]}, ("ab" * 32,)),
        ({"stages": stages("a", "b", a={"picture": "cd" * 32})}, ("cd" * 32,)),
    ],
)
def test_the_subject_may_be_a_given_picture_or_nothing(fields: dict[str, Any], references: tuple[str, ...]) -> None:
    last = large_film(**fields)[1].keyframes[-1]
    assert isinstance(last, ImageRecipe)
    assert last.references == references


def test_a_model_without_references_keeps_the_shared_seed_alone() -> None:
    _, made = film_of(stages=stages("a", "b"))
    assert [key.references for key in made.keyframes if isinstance(key, ImageRecipe)] == [(), ()]


def test_a_loop_of_references_ends_at_the_very_first_keyframe() -> None:
    _, made = large_film(loop=True)
    assert made.keyframes[0] == made.keyframes[-1]


def test_a_keyframe_gets_the_picture_of_the_first_also_when_it_is_drawn_alone(faked: Faked) -> None:
    session, engines = faked
    plan = keyframes_only(film(session, stages("a", "b", "c")))
    chained = with_references(plan)
    session.run(dataclasses.replace(chained, recipes=chained.recipes[2:]))
    assert engines.calls == ["draw a", "draw c"]
    assert engines.references == [0, 1]


def with_references(plan: Plan) -> Plan:
    """Return a pocket plan as if its model took references: the engines are fakes and take them."""
    first, *others = plan.keyframes
    after = (drawn_after(fingerprint(first)),)
    keys = (first, *(dataclasses.replace(key, references=after) for key in others if isinstance(key, ImageRecipe)))
    return dataclasses.replace(plan, keyframes=keys, recipes=tuple(key for key in keys if not isinstance(key, GivenPicture)))


# --- likeness and pairs -----------------------------------------------------------------------------------------------------


def darkness(image: Image.Image) -> float:
    return 1 - sum(image.resize((1, 1)).getpixel((0, 0))) / 765  # type: ignore[arg-type]


def test_each_keyframe_says_how_much_it_is_like_the_subject(faked: Faked) -> None:
    session, engines = faked
    engines.likeness_of = lambda image, other: 1 - abs(darkness(image) - darkness(other))
    plan = film(session, stages("a", "b", "c"))
    made = session.run(plan)[0]
    assert isinstance(made, VideoArtifact)
    shown = [Image.open(path).convert("RGB") for path in made.keyframes]
    expected = [None, *(round(engines.likeness_of(shown[0], one), 4) for one in shown[1:])]
    assert made.run.scores["likeness"] == expected
    assert files.read_json(made.path.with_name(made.path.name + ".json"))["run"]["scores"]["likeness"] == expected
    drawn = session.run(keyframes_only(plan))
    assert [one.run.scores.get("likeness") for one in drawn] == expected


def test_a_given_reference_is_the_subject(faked: Faked) -> None:
    session, engines = faked
    given = session.store.keep_picture(encode_png(Image.linear_gradient("L").convert("RGB")))
    engines.likeness_of = lambda image, other: 0.5 if image.tobytes() != other.tobytes() else 1.0
    plan = film(session, stages("a", "b"))
    request = plan.request.model_copy(update={"references": (given,)})
    made = session.run(dataclasses.replace(plan, request=request))[0]
    assert made.run.scores["likeness"] == [0.5, 0.5]


def test_a_pair_too_far_apart_is_told_before_a_transition_is_paid_for(faked: Faked) -> None:
    session, engines = faked
    engines.likeness_of = lambda image, other: LIMIT.too_far - 0.1 if image.tobytes() != other.tobytes() else 1.0
    heard: list[tuple[str, tuple[int, int]]] = []

    def hear(progress: Progress) -> None:
        if progress.note:
            heard.append((progress.note, (engines.calls.count("draw a"), engines.calls.count("sample"))))

    plan = film(session, stages("a", "b", "c"))
    drawn = session.run(keyframes_only(plan), hear)
    told = [[note for note in one.run.notes if "look too different" in note] for one in drawn]
    assert [len(notes) for notes in told] == [0, 1, 1]
    assert "keyframes 1 and 2" in told[1][0]
    assert "--midpoint 1" in told[1][0]
    heard.clear()
    made = session.run(plan, hear)[0]
    assert len(heard) == 2
    assert all(when == (1, 0) for _, when in heard)
    assert [row["too_far"] for row in made.run.scores["pairs"]] == [True, True]
    engines.likeness_of = lambda image, other: LIMIT.too_far + 0.05
    near = session.run(film(session, stages("x", "y")))[0]
    assert not any("look too different" in note for note in near.run.notes)
    assert [row["too_far"] for row in near.run.scores["pairs"]] == [False]


@pytest.mark.parametrize(
    ("fields", "gap", "lengths"),
    [
        ({}, 0, (12, 12, 23)),
        ({"lengths": [14, 25]}, 1, (14, 13, 13)),
        ({"seconds": 2.0}, 0, (7, 7, 12)),
        ({"loop": True}, 2, (23, 23, 12, 12)),
    ],
)
def test_a_midpoint_leaves_the_film_as_long(fields: dict[str, Any], gap: int, lengths: tuple[int, ...]) -> None:
    request = make_request({"kind": "video", "prompt": "p", "seed": 7, "stages": stages("a cat", "a dog", "a fox"), **fields})
    assert isinstance(request, VideoRequest)
    bridged = timeline.with_midpoint(request, gap)
    assert bridged.lengths == lengths
    assert bridged.stages is not None
    ends = [("a cat", "a dog"), ("a dog", "a fox"), ("a fox", "a cat")][gap]
    assert bridged.stages[gap + 1].prompt == f"halfway between {ends[0]} and {ends[1]}"
    ours, theirs = (film_of(**one.model_dump(mode="json", exclude={"kind"}))[1] for one in (request, bridged))
    assert ours.frames == theirs.frames
    kept = {fingerprint(part) for part in ours.transitions} & {fingerprint(part) for part in theirs.transitions}
    assert len(kept) == len(ours.transitions) - 1, "the other transitions are found again"


def test_a_midpoint_nowhere_is_refused() -> None:
    request = make_request({"kind": "video", "prompt": "p", "lengths": [4, 9]})
    assert isinstance(request, VideoRequest)
    for gap, allowed in ((2, "1 to 2"), (-1, "1 to 2"), (0, "at least 5 frames")):
        with pytest.raises(InvalidRequest, match=allowed):
            timeline.with_midpoint(request, gap)


@pytest.mark.parametrize("words", ["a", "the red fox jumps over "])
def test_a_midpoint_between_the_longest_prompts_is_one_a_request_takes(words: str) -> None:
    longest = [(words * MAX_PROMPT_CHARACTERS)[: MAX_PROMPT_CHARACTERS - 1] + end for end in "xy"]
    request = make_request({"kind": "video", "prompt": "p", "stages": stages(*longest), "frames_per_transition": 121})
    assert isinstance(request, VideoRequest)
    middle = (timeline.with_midpoint(request, 0).stages or ())[1].prompt
    assert "between" in middle
    bridged = timeline.lay_out(request, []).stages
    assert len(bridged) > 3
    assert all(len(timed.stage.prompt) <= MAX_PROMPT_CHARACTERS for timed in bridged)
    many = make_request({"kind": "video", "prompt": "p", "stages": stages(*map(str, range(61)))})
    assert isinstance(many, VideoRequest)
    with pytest.raises(InvalidRequest, match=r"stages: .* allowed: 2 to 61 entries"):
        timeline.with_midpoint(many, 0)


# --- the best of several ----------------------------------------------------------------------------------------------------


def test_the_best_candidate_has_the_best_match() -> None:
    choice = choose([0.2, 0.3, 0.1], [], [], LIMIT)
    assert (choice.pick, choice.margin, choice.tie) == (1, 0.1, False)


def test_likeness_counts_and_a_copy_of_the_neighbour_is_paid_for() -> None:
    assert choose([0.2, 0.2], [0.5, 0.9], [], LIMIT).pick == 1
    assert choose([0.2, 0.2], [], [1.0, 0.9], LIMIT).pick == 1
    assert choose([0.2, 0.2], [], [LIMIT.near_copy, 0.5], LIMIT).tie, "what is no copy costs nothing"


def test_a_tie_is_called_one_and_the_first_is_taken() -> None:
    choice = choose([0.3, 0.3 + LIMIT.tie / 2, 0.1], [], [], LIMIT)
    assert (choice.pick, choice.tie) == (0, True)
    assert choose([0.3, 0.3 + 2 * LIMIT.tie, 0.1], [], [], LIMIT).pick == 1


def test_no_candidate_of_one_keyframe_has_the_noise_of_another() -> None:
    _, made = film_of(stages=stages(*LETTERS), best_of=4)
    seeds = [recipe.seed for key in made.keyframes for recipe in candidates_of(key)[1:]]
    assert len(set(seeds)) == len(seeds) == 15
    assert {candidates_of(key)[0].seed for key in made.keyframes} == {7}


def favour(engines: FakeEngines, number: int, plan: Plan) -> None:
    """Let the scorer prefer the candidate at `number` (from 0) of every keyframe."""
    seeds = {recipe.seed for key in plan.keyframes for recipe in candidates_of(key)[number : number + 1]}
    liked = set()
    draw = engines.draw

    def drawn(recipe: ImageRecipe, *rest: Any, **more: Any) -> Image.Image:
        picture = draw(recipe, *rest, **more)
        if recipe.seed in seeds:
            liked.add(picture.tobytes())
        return picture

    engines.draw = drawn  # type: ignore[method-assign]
    engines.match_of = lambda image, text: 0.5 if image.tobytes() in liked else 0.2


def test_all_candidates_are_drawn_kept_and_told_and_the_best_is_in_the_film(faked: Faked) -> None:
    session, engines = faked
    plan = film(session, stages("a", "b"), best_of=3)
    favour(engines, 2, plan)
    made = session.run(plan)[0]
    assert isinstance(made, VideoArtifact)
    assert counts(engines) == (6, 1)
    best = [candidates_of(key)[2] for key in plan.keyframes]
    assert list(made.recipe.keyframes) == best
    assert [load_recipe(path) for path in made.keyframes] == best
    assert {load_recipe(path) for path in made.candidates} == {one for key in plan.keyframes for one in candidates_of(key)[:2]}
    rows = made.run.scores["choices"][0]
    assert [row["taken"] for row in rows] == [False, False, True]
    assert [row["match"] for row in rows] == [0.2, 0.2, 0.5]
    first = files.read_json(made.keyframes[0].with_name(made.keyframes[0].name + ".json"))["run"]["scores"]
    assert first["tie"] is False
    assert first["margin"] == pytest.approx(0.3)
    assert all(session.store.find_stage(row["stage"], "png") for row in rows)


def test_a_film_of_chosen_candidates_has_the_stages_of_those_pictures(faked: Faked) -> None:
    """Whoever takes a picture, the transitions beside it are the same."""
    session, engines = faked
    plan = film(session, stages("a", "b", "c"), best_of=3)
    favour(engines, 1, plan)
    first = session.run(plan)[0]
    counts(engines)
    session.run(film(session, stages("a", "b", "c", a={"pick": 2}, b={"pick": 2}, c={"pick": 2}), best_of=3))
    assert counts(engines) == (0, 0)
    picked = session.run(film(session, stages("a", "b", "c", b={"pick": 3}), best_of=3))[0]
    assert counts(engines) == (0, 2)
    assert isinstance(picked, VideoArtifact)
    assert isinstance(first, VideoArtifact)
    assert picked.recipe.keyframes[1] == candidates_of(plan.keyframes[1])[2]
    assert picked.recipe.keyframes[0] == first.recipe.keyframes[0]


def test_a_pick_beyond_the_candidates_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"stages\.1\.pick.*1 to 2"):
        film_of(stages=stages("a", "b", b={"pick": 3}), best_of=2)


def test_what_is_drawn_after_a_chosen_first_keyframe_names_the_one_that_was_taken(faked: Faked) -> None:
    session, engines = faked
    plan = film(session, stages("a", "b"), best_of=2)
    first, second = plan.keyframes
    after = (drawn_after(fingerprint(first)),)
    chained = Selection(tuple(dataclasses.replace(one, references=after) for one in candidates_of(second)))
    whole = plan.recipes[0]
    assert isinstance(whole, VideoRecipe)
    plan = dataclasses.replace(plan, keyframes=(first, chained), recipes=(with_keyframes(whole, (first, chained)),))
    favour(engines, 1, plan)
    made = session.run(plan)[0]
    assert isinstance(made, VideoArtifact)
    assert engines.references == [0, 0, 1, 1]
    taken = candidates_of(first)[1]
    assert [key.references for key in made.recipe.keyframes if isinstance(key, ImageRecipe)] == [
        (), (drawn_after(fingerprint(taken)),),
    ]  # fmt: skip
    engines.calls.clear()
    assert [one.recipe for one in session.run(keyframes_only(plan))] == list(made.recipe.keyframes)
    assert engines.calls == []


def test_the_copy_of_the_keyframe_before_is_not_taken(faked: Faked) -> None:
    session, engines = faked
    plan = film(session, stages("a", "b"), best_of=2)
    pictures: list[bytes] = []
    draw = engines.draw

    def drawn(recipe: ImageRecipe, *rest: Any, **more: Any) -> Image.Image:
        picture = draw(recipe, *rest, **more)
        pictures.append(picture.tobytes())
        return picture

    engines.draw = drawn  # type: ignore[method-assign]
    # the second candidate of "b" is no copy of "a"; everything else is alike
    engines.likeness_of = lambda image, other: (
        0.9 if len(pictures) > 3 and pictures[3] in (image.tobytes(), other.tobytes()) else 1.0
    )
    made = session.run(plan)[0]
    assert isinstance(made, VideoArtifact)
    assert made.recipe.keyframes == (candidates_of(plan.keyframes[0])[0], candidates_of(plan.keyframes[1])[1])


def test_pictures_too_are_the_best_of_several(faked: Faked) -> None:
    session, engines = faked
    plan = session.plan(make_request({"kind": "image", "prompt": "a", "seed": 7, "count": 2, "best_of": 3}))
    assert len({one.seed for recipe in plan.recipes if isinstance(recipe, Selection) for one in recipe.candidates}) == 6
    seed = candidates_of(plan.recipes[0])[1].seed  # type: ignore[arg-type]
    draw = engines.draw
    liked: list[bytes] = []

    def drawn(recipe: ImageRecipe, *rest: Any, **more: Any) -> Image.Image:
        picture = draw(recipe, *rest, **more)
        if recipe.seed == seed:
            liked.append(picture.tobytes())
        return picture

    engines.draw = drawn  # type: ignore[method-assign]
    engines.match_of = lambda image, text: 0.9 if image.tobytes() in liked else 0.1
    heard: list[Progress] = []
    made = session.run(plan, heard.append)
    assert len(made) == 2
    assert isinstance(made[0], ImageArtifact)
    assert made[0].recipe.seed == seed
    assert made[1].run.scores["tie"] is True
    assert [len(one.candidates) for one in made] == [2, 2]
    assert {progress.items for progress in heard if progress.phase == "draw"} == {6}


def test_plans_with_choices_survive_json_and_name_all_their_stages() -> None:
    for plan in (film_of(stages=stages("a", "b"), best_of=3)[0], plan_of(best_of=2, count=2), large_film(best_of=2)[0]):
        assert plan_from_json(plan_to_json(plan)) == plan
        for recipe in plan.recipes:
            keys = recipe.keyframes if isinstance(recipe, VideoRecipe) else (recipe,)
            assert {fingerprint(one) for key in keys for one in candidates_of(key)} <= stage_names(plan)


# --- only what changed ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("best_of", [1, 2])
def test_changing_stage_two_of_five_draws_it_and_fills_two_ways(faked: Faked, best_of: int) -> None:
    session, engines = faked
    session.run(film(session, stages(*LETTERS), best_of=best_of))
    assert counts(engines) == (5 * best_of, 4)
    session.run(film(session, stages("a", "other", "c", "d", "e"), best_of=best_of))
    assert counts(engines) == (best_of, 2)


def test_rolling_one_transition_again_fills_that_way_alone(faked: Faked) -> None:
    session, engines = faked
    before = session.run(film(session, stages(*LETTERS)))[0]
    counts(engines)
    after = session.run(film(session, stages(*LETTERS, b={"transition_seed": 99})))[0]
    assert counts(engines) == (0, 1)
    assert isinstance(before, VideoArtifact)
    assert isinstance(after, VideoArtifact)
    same = [ours == theirs for ours, theirs in zip(before.recipe.transitions, after.recipe.transitions, strict=True)]
    assert same == [True, False, True, True]


def test_a_stage_put_between_two_fills_the_ways_beside_it_alone(faked: Faked) -> None:
    session, engines = faked
    session.run(film(session, stages(*LETTERS)))
    counts(engines)
    session.run(film(session, stages("a", "b", "new", "c", "d", "e")))
    assert counts(engines) == (1, 2)
    session.run(film(session, stages("b", "c", "d", "e")))
    assert counts(engines) == (0, 0)


def test_a_locked_stage_keeps_its_picture_when_the_rest_is_rolled_again(faked: Faked) -> None:
    session, engines = faked
    before = session.run(film(session, stages("a", "b", "c")))[0]
    assert isinstance(before, VideoArtifact)
    counts(engines)
    name = fingerprint(before.recipe.keyframes[1])
    after = session.run(film(session, stages("a", "changed", "c", changed={"lock": name}), seed=8))[0]
    assert counts(engines) == (2, 2)
    assert isinstance(after, VideoArtifact)
    assert after.recipe.keyframes[1] == before.recipe.keyframes[1]
    pixels = [Image.open(one.keyframes[1]).tobytes() for one in (before, after)]
    assert pixels[0] == pixels[1]
    assert Image.open(before.keyframes[0]).tobytes() != Image.open(after.keyframes[0]).tobytes()


def test_locking_alone_costs_nothing(faked: Faked) -> None:
    session, engines = faked
    made = session.run(film(session, stages("a", "b", "c")))[0]
    assert isinstance(made, VideoArtifact)
    counts(engines)
    session.run(film(session, stages("a", "b", "c", b={"lock": fingerprint(made.recipe.keyframes[1])})))
    assert engines.calls == []


@pytest.mark.parametrize(
    ("own", "fields", "allowed"),
    [
        ({"lock": "ab" * 32}, {}, "was drawn on this machine before"),
        ({"lock": "made"}, {"width": 128, "height": 128}, "a keyframe of 128 × 128 pixels"),
        ({"lock": "made", "seed": 5}, {}, "lock and seed exclude each other"),
        ({"lock": "made", "picture": "ab" * 32}, {}, "picture and lock exclude each other"),
        ({"transition_seed": 5}, {}, "no transition follows"),
    ],
)
def test_a_lock_or_seed_that_cannot_be_kept_is_refused(
    faked: Faked, own: dict[str, Any], fields: dict[str, Any], allowed: str
) -> None:
    session, _ = faked
    made = session.run(film(session, stages("a", "b")))[0]
    assert isinstance(made, VideoArtifact)
    own = {**own, **({"lock": fingerprint(made.recipe.keyframes[1])} if own.get("lock") == "made" else {})}
    with pytest.raises(InvalidRequest, match=allowed):
        film(session, stages("a", "b", b=own), **fields)


def test_a_plan_of_given_pictures_alone_needs_no_image_model(faked: Faked) -> None:
    session, engines = faked
    pictures = [session.store.keep_picture(encode_png(Image.new("RGB", (200, 100), colour))) for colour in ("red", "blue")]
    plan = film(session, [{"prompt": "a", "picture": pictures[0]}, {"prompt": "b", "picture": pictures[1]}], model="flux1-dev")
    assert [placement.model for placement in plan.placements] == ["pocket-svd", "pocket-clip"]
    assert any((note.what, note.value) == ("model", "none") for note in plan.decisions)
    assert film_stage_names(plan.recipes[0]) <= stage_names(plan)  # type: ignore[arg-type]
    session.run(plan)
    assert engines.calls == ["sample", "decode"]
    assert session.run(keyframes_only(plan)) == ()
