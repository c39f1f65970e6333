"""Film reports: each fault is found by its number and said in words, and films without it pass, also after H.264."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flux_svd.metrics import numbers
from flux_svd.metrics.film import FilmReport, film_report
from tests.films_with_faults import JOIN, POSITIONS, disc, film, through_h264

EVEN = ["smooth", "light", "colour", "pan", "grow"]


def report(fault: str, folder: Path | None = None) -> FilmReport:
    frames = film(fault)
    return film_report(frames if folder is None else through_h264(frames, folder), POSITIONS)


def words(made: FilmReport) -> str:
    return "\n".join(made.words())


@pytest.fixture(params=["raw", "h264"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "h264" else None


@pytest.mark.parametrize("fault", EVEN)
def test_even_films_are_told_free_of_faults(fault: str, folder: Path | None) -> None:
    told = words(report(fault, folder))
    assert ": no jump" in told
    assert "steady brightness, no flash" in told
    assert "looks like a cross-fade" not in told
    assert "a jump" not in told.replace("no jump", "")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("kink", "a jump or a kink"),
        ("speed", "a jump or a kink"),
        ("dup", "stalls, or a frame is shown twice"),
        ("jump", "a jump or a kink"),
        ("flash", f"frame {JOIN}: bend"),
    ],
)
def test_a_fault_at_the_join_is_found_and_named(fault: str, said: str, folder: Path | None) -> None:
    told = words(report(fault, folder))
    assert said in told
    assert "no jump" not in told


def test_a_plain_colour_that_drifts_unseen_is_no_jump_where_its_rounding_falls_on_the_join() -> None:
    y, x = np.mgrid[:96, :160]
    frames = []
    for at in range(45):
        inside = 1 / (1 + np.exp((np.hypot(x - 20 - 2.5 * at, y - 48) - 9) / 1.5))[..., None]
        plain = np.array([101.0, 61.0, 141.0]) - (at <= JOIN)  # one grey level after the join
        frames.append((plain * (1 - inside) + np.array((250, 210, 40)) * inside).round().clip(0, 255))
    drifting = film_report(np.stack(frames).astype(np.uint8), POSITIONS)
    assert drifting.joins[0].join_ratio < 2.5  # 1.0; 8.0 where rounding counts as motion


def test_a_flash_and_a_flicker_are_told_apart(folder: Path | None) -> None:
    assert f"a flash at frame {JOIN}" in words(report("flash", folder))
    assert "flickers, no flash" in words(report("flicker", folder))


def test_a_cross_fade_of_a_moved_disc_is_found_in_both_ways(folder: Path | None) -> None:
    assert words(report("cross-fade", folder)).count("looks like a cross-fade") == 2


def test_a_light_that_changes_where_nothing_moves_is_no_cross_fade() -> None:
    assert [way.blend_share for way in report("light").ways] == [None, None]


def test_more_ghost_is_more_cross_fade() -> None:
    shares = [report(fault).ways[0].blend_share or 0.0 for fault in ("smooth", "ghost", "cross-fade")]
    assert shares == sorted(shares)
    assert shares[1] - shares[0] > 0.2 < shares[2] - shares[1]


def test_a_cut_inside_a_way_is_found_with_its_frame(folder: Path | None) -> None:
    ways = report("cut", folder).ways
    assert [way.largest_step_frame for way in ways] == [11, 33]
    assert min(way.largest_step for way in ways) > 20
    assert [way.blend_share for way in ways] == [0.0, 0.0]


def test_a_still_film_is_not_blamed_for_its_joins() -> None:
    told = words(report("still"))
    assert "hardly anything moves" in told
    assert "nothing to see" in told
    assert "stalls" not in told


def test_ends_are_judged_against_what_the_vae_can_do() -> None:
    ends = {"raw_psnr": [32.0, 28.0, 15.0], "round_trip_psnr": [32.4, 32.0, 32.0]}
    told = film_report(film("smooth"), POSITIONS, ends=ends).words()
    verdicts = [line.rpartition(": ")[2] for line in told if line.startswith("keyframe")]
    assert verdicts == ["lands as exactly as the VAE can", "lands a little off", "does not land on its keyframe by itself"]


def test_given_keyframes_are_compared_with_their_frames(tmp_path: Path) -> None:
    frames = film("smooth")
    keys = [frames[at] for at in POSITIONS]
    exact = film_report(frames, POSITIONS, keyframes=keys).keyframes
    assert [(match.psnr, match.ssim) for match in exact] == [(99.0, 1.0)] * 3
    swapped = film_report(frames, POSITIONS, keyframes=keys[::-1]).keyframes
    assert swapped[0].psnr is not None
    assert swapped[0].psnr < 25
    encoded = film_report(through_h264(frames, tmp_path), POSITIONS, keyframes=keys).keyframes
    assert all(match.psnr is not None and 30 < match.psnr < 60 for match in encoded)


def test_likeness_tells_the_frame_least_like_the_first_keyframe() -> None:
    def brightness(pictures: Sequence[Image.Image]) -> list[list[float]]:
        values = [float(np.asarray(picture).mean()) / 255 for picture in pictures]
        return [[1 - abs(a - b) for b in values] for a in values]

    frames = film("smooth")
    frames[POSITIONS[1]] = 255
    found = film_report(frames, POSITIONS, likeness=brightness)
    assert found.likeness is not None
    assert found.likeness[2] == JOIN
    assert f"the subject looks different at frame {JOIN}" in words(found)


def test_what_is_not_measured_is_said() -> None:
    told = words(report("smooth"))
    for what in ("LPIPS", "ends before the fade", "likeness"):
        assert f"not measured: {what}" in told
    assert "ends before" not in words(film_report(film("smooth"), POSITIONS, ends={"raw_psnr": [1.0] * 3,
                                                                                  "round_trip_psnr": [1.0] * 3}))


def test_a_report_is_json_and_takes_less_than_a_second() -> None:
    frames = film("smooth")
    began = time.process_time()
    made = film_report(frames, POSITIONS, keyframes=[frames[at] for at in POSITIONS])
    assert time.process_time() - began < 1.0  # 0.15 s seen
    assert json.loads(json.dumps(made.as_json())) == made.as_json()


def test_a_large_film_has_the_verdicts_of_a_small_one_and_costs_little() -> None:
    small = film("kink")
    large = small.repeat(6, axis=1).repeat(6, axis=2)  # 960 × 576
    began = time.process_time()
    made = film_report(iter(large), POSITIONS)
    assert time.process_time() - began < 5.0  # 0.9 s seen
    same = film_report(small, POSITIONS)
    assert made.joins[0].join_ratio == pytest.approx(same.joins[0].join_ratio, abs=0.05)
    assert made.joins[0].hold == pytest.approx(same.joins[0].hold, abs=0.05)


def test_frames_that_do_not_reach_the_last_keyframe_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="44 frames"):
        film_report(film("smooth")[:-1], POSITIONS)


@pytest.mark.parametrize("positions", [(0, 2), (0, 1, 2), (0, 2, 4, 6, 8)])
def test_short_films_have_a_report(positions: tuple[int, ...]) -> None:
    frames = film("smooth")[: positions[-1] + 1]
    assert len(film_report(frames, positions).joins) == len(positions) - 2


def test_ssim_of_known_pictures() -> None:
    plain = np.full((32, 32, 3), 100, np.uint8)
    assert numbers.ssim(plain, plain) == pytest.approx(1)
    picture = disc(60).astype(np.uint8)
    assert numbers.ssim(picture, np.clip(picture.astype(int) + 5, 0, 255).astype(np.uint8)) > 0.95
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert numbers.ssim(noise, 255 - noise) < -0.9
