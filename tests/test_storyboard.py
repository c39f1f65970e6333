"""Motion stages and the frames between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.storyboard import (
    MOTIONS,
    find_motion,
    frames_of_gaps,
    keyframes_for,
    stride_for,
    suggest_kind,
    write_stages,
)


def test_flying_takes_off_flies_and_lands() -> None:
    stages = write_stages("an eagle flying over mountains", 3)
    assert [stage.name for stage in stages] == ["Taking off", "Mid-flight", "Landing"]
    assert stages[1].prompt == "an eagle flying over mountains, mid-flight"


def test_a_way_between_places_becomes_places() -> None:
    stages = write_stages("a yellow star moving from left to right on a black background", 3)
    assert [stage.prompt for stage in stages] == [
        "a yellow star at the left on a black background",
        "a yellow star in the center on a black background",
        "a yellow star at the right on a black background",
    ]


def test_the_middle_of_a_way_without_a_name_lies_between() -> None:
    names = [stage.name for stage in write_stages("a ball rolling from the left to the center", 3)]
    assert names == ["Left", "Between the left and the center", "Center"]


@pytest.mark.parametrize("word", ["running", "walking", "dancing", "swimming", "driving", "falling", "blooming"])
def test_every_promised_motion_is_known(word: str) -> None:
    motion = find_motion(f"a scene of something {word} slowly")
    assert motion is not None
    assert motion.name == word


@pytest.mark.parametrize(
    "prompt",
    ["sea waves against a pier", "a house in the land of the midnight sun", "dew drops on a leaf", "a still life with pears"],
)
def test_a_noun_that_looks_like_a_motion_is_none(prompt: str) -> None:
    assert find_motion(prompt) is None


def test_a_prompt_without_motion_gets_moments_of_the_scene() -> None:
    assert [stage.prompt for stage in write_stages("a cat asleep", 2)] == [
        "a cat asleep, in the first moment",
        "a cat asleep, in the last moment",
    ]


@given(st.sampled_from([motion.words[0] for motion in MOTIONS] + ["nothing at all"]), st.integers(2, 30))
def test_any_number_of_stages_has_different_prompts_first_to_last(word: str, count: int) -> None:
    stages = write_stages(f"something {word}", count)
    assert len(stages) == count
    assert len({stage.prompt for stage in stages}) == count


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("a red circle on a blue background", "image"),
        ("a yellow star moving from left to right", "video"),
        ("a bird flying", "video"),
        ("a short film of a quiet street", "video"),
        ("portrait of a woman, oil on canvas", "image"),
    ],
)
def test_the_intent_is_suggested(prompt: str, kind: str) -> None:
    assert suggest_kind(prompt)[0] == kind


@pytest.mark.parametrize(
    ("total", "keyframes", "gaps"),
    [(45, 3, (23, 23)), (45, 4, (16, 16, 15)), (121, 6, (25,) * 5), (361, 16, (25,) * 15), (3, 2, (3,))],
)
def test_frames_are_shared_between_the_gaps(total: int, keyframes: int, gaps: tuple[int, ...]) -> None:
    assert frames_of_gaps(total, keyframes) == gaps


@given(st.integers(2, 40), st.integers(3, 1000))
def test_joined_gaps_have_the_asked_frames(keyframes: int, total: int) -> None:
    if total < 2 * (keyframes - 1) + 1:
        with pytest.raises(InvalidRequest):
            frames_of_gaps(total, keyframes)
    else:
        gaps = frames_of_gaps(total, keyframes)
        assert sum(gaps) - (keyframes - 2) == total
        assert max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("spec", [spec for spec in MODELS.values() if spec.family == "svd"], ids=lambda spec: spec.name)
def test_short_transitions_are_generated_within_the_trained_lengths(spec: ModelSpec) -> None:
    least, most = spec.trained_frames
    for kept in range(3, most + 1):
        generated = (kept - 1) * stride_for(kept, least) + 1
        assert least <= generated <= most
        assert generated == kept or kept < least


@given(st.integers(3, 1441))
def test_enough_keyframes_keep_every_gap_within_training(total: int) -> None:
    assert max(frames_of_gaps(total, keyframes_for(total))) <= 25
