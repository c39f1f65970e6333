"""From latents to frames: chunks that overlap, corrections that fade, and joins without a doubled frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from flux_svd.engines.decode import (
    decode_overlapping,
    decode_windows,
    fade_to_keyframes,
    frames_of,
    match_colours,
    stitch,
)
from flux_svd.engines.inbetween import InbetweenPipeline
from flux_svd.engines.placement import load_pipeline
from flux_svd.pictures import IDENTICAL_DB, psnr
from tests.tiny.builders import picture, placement


@pytest.fixture(scope="module")
def vae(folder_of: Callable[[str], Path]) -> Any:
    return load_pipeline(InbetweenPipeline, folder_of("svd-xt"), placement("svd-xt"), "fp32").vae


@pytest.fixture(scope="module")
def latents() -> np.ndarray:
    """Return (20, 4, 4, 4) latents whose neighbours are alike, as in a film."""
    drawn = torch.randn((20, 4, 4, 4), generator=torch.Generator().manual_seed(2)).numpy()
    return np.cumsum(drawn, axis=0, dtype=np.float32) * 0.1


def decode(vae: Any, latents: np.ndarray, chunk: int, overlap: int) -> np.ndarray:
    return np.concatenate(list(decode_overlapping(vae, [latents], len(latents), chunk, overlap)))


def test_stitching_keeps_the_shared_frame_once() -> None:
    parts = [np.arange(begin, begin + 23, dtype=np.float32).reshape(23, 1, 1, 1) for begin in (0, 22, 44)]
    joined = np.concatenate(list(stitch(parts)))
    assert joined.ravel().tolist() == list(range(67))
    assert np.concatenate(list(stitch(parts[:1]))).ravel().tolist() == list(range(23))


def test_stitching_takes_transitions_one_by_one() -> None:
    taken: list[int] = []

    def transitions() -> Iterator[np.ndarray]:
        for number in range(15):
            taken.append(number)
            yield np.zeros((25, 1, 1, 1), np.float32)

    pieces = stitch(transitions())
    next(pieces)
    assert taken == [0, 1]  # the second one is needed to know that the first is not the last


@given(some.integers(1, 400), some.integers(1, 25), some.data())
def test_windows_cover_every_frame_and_share_enough(frames: int, chunk: int, data: some.DataObject) -> None:
    overlap = data.draw(some.integers(0, chunk - 1))
    windows = decode_windows(frames, chunk, overlap)
    assert windows[0][0] == 0
    assert windows[-1][1] == frames
    assert all(0 < end - begin <= chunk for begin, end in windows)
    for (_, end), (begin, _) in pairwise(windows):
        assert end - begin >= overlap
    assert [begin for begin, _ in windows] == sorted({begin for begin, _ in windows})


def test_an_overlap_as_long_as_the_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap 8"):
        decode_windows(20, 8, 8)


@pytest.mark.parametrize(("chunk", "overlap"), [(8, 2), (8, 0), (5, 3), (7, 1)])
def test_every_frame_comes_once_and_in_order(chunk: int, overlap: int, vae: Any, latents: np.ndarray) -> None:
    """A frame's brightness follows its latents, so a lost, doubled or exchanged frame shows."""
    whole, pieces = decode(vae, latents, 20, 0), decode(vae, latents, chunk, overlap)
    assert pieces.shape == whole.shape == (20, 32, 32, 3)
    for frame in range(20):
        errors = np.abs(whole.astype(int) - pieces[frame]).mean(axis=(1, 2, 3))
        assert abs(int(errors.argmin()) - frame) <= 1


def test_overlap_brings_chunks_nearer_to_the_whole(vae: Any, latents: np.ndarray) -> None:
    film = latents[:16]
    assert decode_windows(16, 8, 0) == [(0, 8), (8, 16)]
    whole = decode(vae, film, 16, 0).astype(float)
    apart, shared = (np.abs(decode(vae, film, 8, overlap) - whole).mean(axis=(1, 2, 3)) for overlap in (0, 3))
    assert shared.mean() < 0.8 * apart.mean()  # 4.2 against 6.2 of 255 was seen
    assert shared.max() < 0.6 * apart.max()  # the worst frame: 6.0 against 15.1


def test_a_film_no_longer_than_a_chunk_is_decoded_whole(vae: Any, latents: np.ndarray) -> None:
    assert np.array_equal(decode(vae, latents, 20, 4), decode(vae, latents, 25, 8))


def test_working_memory_does_not_grow_with_the_film(vae: Any, latents: np.ndarray) -> None:
    """No piece holds more frames than a chunk, and pieces come before the whole is decoded."""
    decoded: list[int] = []
    hook = vae.decoder.register_forward_pre_hook(lambda module, given: decoded.append(len(given[0])))
    pieces = decode_overlapping(vae, [latents] * 3, 60, 8, 2)
    first = next(pieces)
    assert sum(decoded) == 8
    assert max(len(first), *(len(piece) for piece in pieces)) <= 8
    hook.remove()


def test_pieces_of_latents_decode_as_the_whole(vae: Any, latents: np.ndarray) -> None:
    pieces = [latents[:3], latents[3:4], latents[4:15], latents[15:]]
    joined = np.concatenate(list(decode_overlapping(vae, pieces, 20, 8, 2)))
    assert np.array_equal(joined, decode(vae, latents, 8, 2))


def test_too_few_latents_are_a_bug(vae: Any, latents: np.ndarray) -> None:
    with pytest.raises(ValueError, match="latents end at frame 20 of 25"):
        list(decode_overlapping(vae, [latents], 25, 8, 2))


def film_and_keys(*seeds: int) -> tuple[np.ndarray, list[np.ndarray]]:
    film = np.random.default_rng(0).integers(0, 256, (45, 32, 32, 3), dtype=np.uint8)
    return film, [frames_of(picture(seed)) for seed in seeds]


def test_the_fade_makes_keyframes_exact_and_leaves_the_rest() -> None:
    film, keys = film_and_keys(1, 2, 3)
    faded = list(fade_to_keyframes(film, keys, [0, 22, 44], 3))
    assert len(faded) == 45
    for at, key in zip([0, 22, 44], keys, strict=True):
        assert np.array_equal(faded[at], key)
    near = {frame for at in (0, 22, 44) for frame in range(at - 3, at + 4)}
    for frame in range(45):
        assert np.array_equal(faded[frame], film[frame]) == (frame not in near)


def test_the_fade_falls_off_without_a_bend_at_the_keyframe() -> None:
    film = np.full((9, 2, 2, 3), 100, np.uint8)
    faded = fade_to_keyframes(film, [np.full((2, 2, 3), 140, np.uint8)], [4], 3)
    assert [int(frame[0, 0, 0]) for frame in faded] == [100, 106, 120, 134, 140, 134, 120, 106, 100]  # a raised cosine


@pytest.mark.parametrize("gap", [1, 2, 3, 5])
def test_keyframes_close_together_stay_exact(gap: int) -> None:
    film, keys = film_and_keys(1, 2, 3)
    faded = list(fade_to_keyframes(film, keys, [10, 10 + gap, 10 + 2 * gap], 3))
    assert len(faded) == 45
    for number, key in enumerate(keys):
        assert np.array_equal(faded[10 + number * gap], key)


@given(some.lists(some.integers(1, 7), min_size=1, max_size=6), some.integers(0, 4))
def test_the_fade_by_pieces_is_the_fade_of_the_whole_film(gaps: list[int], reach: int) -> None:
    """Written out on the whole film: corrections in order, each over the frames up to the next keyframe."""
    positions = [0, *np.cumsum(gaps).tolist()]
    film, _ = film_and_keys()
    film = film[: positions[-1] + 1, :2, :2]
    keys = [255 - film[at] for at in positions]
    whole = film.copy()
    for index, at in enumerate(positions):
        correction = keys[index].astype(np.float32) - film[at]
        before = min(reach, at - positions[index - 1] - 1) if index else 0
        after = min(reach, positions[index + 1] - at - 1) if at < positions[-1] else 0
        for offset in range(-before, after + 1):
            share = 0.5 + 0.5 * math.cos(math.pi * abs(offset) / ((before if offset < 0 else after) + 1))
            whole[at + offset] = (whole[at + offset] + correction * share).round().clip(0, 255)
    assert np.array_equal(np.stack(list(fade_to_keyframes(film, keys, positions, reach))), whole)


def test_the_fade_holds_back_only_what_a_keyframe_still_changes() -> None:
    film, keys = film_and_keys(1, 2)
    taken = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal taken
        for frame in film:
            taken += 1
            yield frame

    for passed, _ in enumerate(fade_to_keyframes(frames(), keys, [0, 44], 3), 1):
        assert taken - passed <= 3


def moving_disc(frames: int) -> np.ndarray:
    """Return (frames, 48, 80, 3): an orange disc on blue that moves right and never touches an edge."""
    y, x = np.mgrid[:48, :80]
    inside = [(np.hypot(x - 15 - 50 * n / (frames - 1), y - 24) < 9)[..., None] for n in range(frames)]
    return np.stack([np.where(one, (230, 140, 40), (40, 60, 120)) for one in inside]).astype(np.uint8)


def tinted(film: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the film with a red tint and less contrast that grow to the middle of frames first … last and shrink again."""
    whole = film.astype(float)
    for at in range(first, last + 1):
        strength = 1 - abs(2 * (at - first) / (last - first) - 1)
        whole[at] = (whole[at] - 90) * (1 - 0.3 * strength) + 90 + strength * np.array([30, 0, -15])
    return whole.round().clip(0, 255).astype(np.uint8)


def test_a_tinted_transition_gets_its_colours_back_and_its_ends_stay_exact() -> None:
    truth = moving_disc(45)
    positions = [0, 22, 44]
    keys = [truth[at] for at in positions]
    film = tinted(truth, 22, 44)
    mended = np.stack(list(match_colours(film, keys, positions)))
    before, after = (np.abs(one.astype(float) - truth).mean(axis=(1, 2, 3)) for one in (film, mended))
    assert before.max() > 15
    assert after.max() < 1.5  # 0.9 was seen
    faded = list(fade_to_keyframes(mended, keys, positions, 3))
    assert all(np.array_equal(faded[at], key) for at, key in zip(positions, keys, strict=True))


def test_colours_go_evenly_from_one_keyframe_to_the_next() -> None:
    """A film that keeps the first keyframe's light until it must jump follows the light of both instead."""
    day = moving_disc(23)
    night = (day[-1] * 0.5).astype(np.uint8)
    matched = np.stack(list(match_colours(day, [day[0], night], [0, 22])))
    brightness = matched.mean(axis=(1, 2, 3))
    assert brightness[0] == pytest.approx(day[0].mean(), abs=0.5)
    assert brightness[-1] == pytest.approx(night.mean(), abs=0.5)
    assert np.diff(brightness).std() < 0.2
    assert brightness[11] == pytest.approx((brightness[0] + brightness[-1]) / 2, abs=1)


def test_a_film_without_a_tint_is_left_nearly_alone() -> None:
    film = moving_disc(23)
    matched = np.stack(list(match_colours(film, [film[0], film[-1]], [0, 22])))
    assert np.abs(matched.astype(int) - film).max() <= 2


def test_a_plain_colour_is_not_torn_apart() -> None:
    grey = np.full((3, 8, 8, 3), 100, np.uint8)
    keys = [frames_of(picture(seed, 8, 8)) for seed in (1, 2)]
    matched = list(match_colours(grey, keys, [0, 2]))
    assert all(np.ptp(frame, axis=(0, 1)).max() == 0 for frame in matched)


def test_psnr_of_known_errors() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert psnr(grey, grey) == IDENTICAL_DB
    assert psnr(grey, grey + 10) == pytest.approx(28.13, abs=0.01)  # 20 · log10(255 / 10)
    assert psnr(grey + 200, grey) == pytest.approx(psnr(grey, grey + 200))
