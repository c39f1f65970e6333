"""Wishes: bounds, strictness and the words of a refusal."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_svd.errors import InvalidRequest
from flux_svd.request import MAX_PROMPT_CHARACTERS, ImageRequest, VideoRequest, describe_bounds, make_request

BAD = [
    ("width", 17, "64 to 2048 in steps of 16"),
    ("width", 0, "64 to 2048"),
    ("width", -16, "64 to 2048"),
    ("width", 100_000, "64 to 2048"),
    ("width", True, "64 to 2048"),
    ("width", 512.0, "64 to 2048"),
    ("guidance", float("nan"), "0 to 30"),
    ("guidance", float("inf"), "0 to 30"),
    ("guidance", -1.0, "0 to 30"),
    ("steps", 0, "1 to 150"),
    ("steps", 10**9, "1 to 150"),
    ("seed", 2**64, "0 to 18446744073709551615"),
    ("seed", -1, "0 to"),
    ("count", 0, "1 to 16"),
    ("prompt", "", "1 to 10000 characters"),
    ("prompt", "   ", "not only spaces"),
    ("prompt", "x" * 2**20, "1 to 10000 characters"),
    ("prompt", "a\x00b", "control characters"),
    ("prompt", "a\x1b[31m", "control characters"),
    ("prompt", "a\ud83d", "surrogates"),
    ("prompt", 3, "characters"),
    ("model", "../../etc/passwd", "characters"),
    ("model", "Flux!", "a name like flux1-dev, 1 to 80 characters"),
    ("references", ["nonsense"], "an id of 64 characters, 0 to 9 and a to f"),
    ("references", "x" * 64, "0 to 8 entries"),
    ("start", "x" * 64, "an id of 64 characters"),
    ("compiled", "yes", "true or false"),
    ("cfg_scale", 1.0, "a number above 1, up to 30"),
    ("variation", "far", "a number above 0, up to 1"),
    ("guidance_curve", [1.0, 99.0], "a number from 0 to 30"),
    ("stpes", 3, "a field there is; the nearest is steps"),
    ("colour", "red", "a field there is; "),
    ("kind", "picture", "image or video"),
    ("kind", 3, "image or video"),
]


@pytest.mark.parametrize(("field", "value", "allowed"), BAD, ids=lambda value: repr(value)[:30])
def test_a_bad_value_is_refused_with_field_value_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    fields = {"kind": "image", "prompt": "a cat", "height": 64, "width": 64, field: value}
    with pytest.raises(InvalidRequest) as caught:
        make_request(fields)
    assert caught.value.field.partition(".")[0] == field
    assert allowed in caught.value.allowed
    assert len(str(caught.value)) < 400  # a megabyte of prompt is not echoed
    str(caught.value).encode()  # and neither is what no terminal or log could take


def test_width_without_height_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="together"):
        make_request({"kind": "image", "prompt": "a cat", "width": 64})


def test_tabs_newlines_and_right_to_left_text_are_kept() -> None:
    text = "a cat\n\tقطة 猫 🐈"
    assert make_request({"kind": "image", "prompt": text}).prompt == text


def test_a_bad_stage_is_named_with_its_place() -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_request({"kind": "video", "prompt": "x", "stages": [{"prompt": "a"}, {"prompt": "b", "seed": -3}]})
    assert caught.value.field == "stages.1.seed"


BAD_FILMS = [
    ({"stages": ["a", "b"]}, "stages.0", "an object with prompt, seed, picture, lock, pick, length, transition_seed"),
    ({"stages": [{"prompt": "a", "seeds": 3}]}, "stages.0.seeds", "a field there is; the nearest is seed"),
    ({"stages": [{"prompt": "a", "lock": "b"}]}, "stages.0.lock", "an id of 64 characters, 0 to 9 and a to f"),
    ({"stages": [{"seed": 3}]}, "stages.0.prompt", "this field is required"),
    ({"lengths": ["many"]}, "lengths.0", "a whole number from 3 to 121"),
    ({"transition": "wipe"}, "transition", "bidirectional, vibid, fusion, fast, plain"),
    ({"seconds": 0.0}, "seconds", "a number above 0, up to 1441"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "field", "allowed"), BAD_FILMS, ids=lambda value: str(value)[:40])
def test_what_is_wrong_deep_in_a_request_is_told_in_words_of_ours(wish: dict[str, Any], field: str, allowed: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_request({"kind": "video", "prompt": "x", **wish})
    assert (caught.value.field, caught.value.allowed) == (field, allowed)


def test_a_request_without_a_kind_is_told_which_there_are() -> None:
    with pytest.raises(InvalidRequest, match="kind: None is not accepted; allowed: image or video"):
        make_request({"prompt": "x"})


@pytest.mark.parametrize("kind", [ImageRequest, VideoRequest])
def test_every_field_says_in_words_what_it_accepts(kind: type[ImageRequest | VideoRequest]) -> None:
    for name in set(kind.model_fields) - {"kind"}:
        assert describe_bounds(kind, name)


def test_keyframes_must_agree_with_stages() -> None:
    with pytest.raises(InvalidRequest, match="keyframes is 3 but there are 2 stages"):
        make_request({"kind": "video", "prompt": "x", "stages": [{"prompt": "a"}, {"prompt": "b"}], "keyframes": 3})


def test_two_wishes_for_the_length_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="exclude each other"):
        make_request({"kind": "video", "prompt": "x", "total_frames": 45, "frames_per_transition": 23})


def test_a_refusal_survives_pickle() -> None:
    error = InvalidRequest("width", 17, "64 to 2048")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(("kind", "field"), [(ImageRequest, "steps"), (ImageRequest, "guidance"), (VideoRequest, "transition")])
def test_bounds_are_told_in_words(kind: type[ImageRequest], field: str) -> None:
    assert describe_bounds(kind, field) in (
        "a whole number from 1 to 150",
        "a number from 0 to 30",
        "bidirectional, vibid, fusion, fast, plain",
    )


@given(st.dictionaries(st.sampled_from(sorted(ImageRequest.model_fields)), st.from_type(object) | st.text() | st.integers()))
def test_any_fields_give_a_request_or_a_refusal(fields: dict[str, Any]) -> None:
    try:
        request = make_request({"kind": "image", **fields})
    except InvalidRequest as refusal:
        assert refusal.field
    else:
        assert 1 <= len(request.prompt) <= MAX_PROMPT_CHARACTERS
