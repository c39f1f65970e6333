"""Films of the carried pocket-svd keep what was measured: four pairs of held-out keyframes, two-ended against plain.

Gates leave room for what four films scatter; docs/benchmarks/transitions.md has the figures of more. The judge itself is tested
on true films, which are perfect, and on cross-fades and films with a fault, which are not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from benchmarks import transitions
from flux_svd.metrics.film import HOLD_HIGH, HOLD_LOW, JOIN_LIMIT
from flux_svd.pocket import judge_transitions as judge
from flux_svd.pocket.judge_films import to_picture, transition_recipe
from flux_svd.pocket.judge_transitions import CROSS_FADE, SMOOTHED, TRUTH, WISHES, Row, Wish
from flux_svd.pocket.train import WEIGHTS
from flux_svd.progress import ignore_steps

SEED = 11  # other films than the benchmark's


@pytest.fixture(scope="module")
def rows() -> dict[str, list[Row]]:
    """Return the rows of four pairs for two ways."""
    torch.set_num_threads(1)
    engine = judge.load_engine(WEIGHTS / "pocket-svd")
    cases = judge.pair_cases(4, SEED)
    return {
        name: [
            judge.measure_pair(engine, case, judge.planned_film(Wish(name), 2, judge.seed_of(SEED, number)))
            for number, case in enumerate(cases)
        ]
        for name in ("bidirectional", "plain")
    }


def values(rows: list[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def losses(rows: list[Row], end: str) -> list[float]:
    """Return how far the raw end lies under the autoencoder's own round trip, in dB."""
    return [row[f"{end}_round_trip"] - row[f"{end}_end"] for row in rows]


def test_two_ended_films_land_on_both_keyframes_and_plain_ones_do_not(rows: dict[str, list[Row]]) -> None:
    for end in ("first", "last"):
        assert max(losses(rows["bidirectional"], end)) < 0.5  # dB; 0.00 to 0.01 was seen: the ends are pinned
        assert all(ours < theirs for ours, theirs in zip(*(losses(rows[way], end) for way in rows), strict=True))
    assert np.mean(losses(rows["plain"], "last")) > 5


def test_two_ended_films_do_not_jump_onto_their_last_keyframe(rows: dict[str, list[Row]]) -> None:
    ours, theirs = (float(np.median(values(rows[way], "landing"))) for way in ("bidirectional", "plain"))
    assert ours < theirs


def test_two_ended_films_keep_an_object_on_its_way(rows: dict[str, list[Row]]) -> None:
    ours = rows["bidirectional"]
    assert np.mean(values(ours, "found")) > 0.8
    assert np.mean(values(ours, "distance")) < 0.1  # .031 of 100 pairs


def test_exact_keyframes_do_not_flash_where_the_film_itself_is_even() -> None:
    """Of true films nothing but the autoencoder's losses is put right at a keyframe: what that does to the join is the fade's."""
    engine = judge.load_engine(WEIGHTS / "pocket-svd")
    vae = AutoencoderKL.from_pretrained(WEIGHTS / "pocket-svd" / "vae")
    for number, case in enumerate(judge.join_cases(3, SEED)):
        film = judge.planned_film(WISHES[0], 3, judge.seed_of(SEED, number))
        keys = [to_picture(case.frames[at]) for at in film.key_positions]
        with torch.no_grad():
            latents = vae.encode(case.frames).latent_dist.mode() * vae.config.scaling_factor
        frames = np.stack(list(engine.decode([latents.numpy()], keys, film.key_positions, film, ignore_steps).frames))
        joins = judge.judge_joins(frames, film.key_positions)
        assert joins["join_ratio"] < JOIN_LIMIT  # 0.4 to 0.8 was seen; 4 to 23 of a straight fade over three frames
        assert HOLD_LOW < joins["hold"] < HOLD_HIGH


def test_every_way_is_planned_as_the_program_plans_it() -> None:
    films = {wish.name: judge.planned_film(wish, 3, 7) for wish in (*WISHES, *SMOOTHED)}
    assert len(films) == 7
    assert {film.frames for film in films.values()} == {45}
    assert {film.transitions[0].seed for film in films.values()} == {films["plain"].transitions[0].seed}  # the same noise
    assert {film.transitions[0].pin_reach for film in films.values()} == {transition_recipe(7, 3).pin_reach} == {8}
    assert films["fast"].unet_calls < films["vibid"].unet_calls < films["vibid, smooth joins"].unet_calls
    assert judge.planned_film(WISHES[0], 2, 7, steps=3).transitions[0].steps == 3


def test_the_judge_of_ways_tells_true_films_from_faulty_ones() -> None:
    for case in judge.pair_cases(6, SEED):
        truth = judge.true_frames(case)
        found = judge.judge_way(case, truth)
        assert found["landing"] < 1.5  # 1.2 was seen
        assert found["distance"] < 0.02
        assert found["single"]
        faded = judge.judge_way(case, judge.cross_fade(case, (0, len(truth) - 1)))
        assert faded["distance"] > 2 * found["distance"]
        if faded["blend"] is not None:  # where the object moves by less than its own size nothing can be told
            assert faded["blend"] > 0.9
            assert found["blend"] < faded["blend"]
        held = truth.copy()
        held[11:-1] = truth[10]  # it stands still, and jumps onto its last keyframe
        assert judge.judge_way(case, held)["landing"] > judge.LANDING_LIMIT


def test_the_judge_of_joins_tells_even_films_from_stalled_ones() -> None:
    for case in judge.join_cases(6, SEED):
        truth = judge.true_frames(case)
        assert judge.judge_joins(truth, (0, 22, 44))["join_ratio"] < 2.5
        assert 0.3 < judge.judge_joins(truth, (0, 22, 44))["hold"] < 3
        stalled = truth.copy()
        stalled[23] = truth[22]
        assert judge.judge_joins(stalled, (0, 22, 44))["hold"] < 0.3


def test_a_cross_fade_passes_every_keyframe_and_is_half_way_between_them() -> None:
    case = judge.join_cases(1, SEED)[0]
    truth, faded = judge.true_frames(case), judge.cross_fade(case, (0, 22, 44))
    assert len(faded) == 45
    assert all(np.array_equal(truth[at], faded[at]) for at in (0, 22, 44))
    middle = (truth[0].astype(float) + truth[22]) / 2
    assert np.abs(faded[11] - middle).max() <= 1


def pair_row(**changes: Any) -> Row:
    ends = {"first_end": 30.0, "first_round_trip": 30.0, "last_end": 29.0, "last_round_trip": 30.0}
    way = {"landing": 1.0, "blend": None, "distance": 0.1, "found": 1.0, "single": True, "kept": 0.5}
    return {"calls": 26, "seconds": 1.0, **ends, **way, **changes}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the benchmark measures, with instant stand-ins for the measuring."""
    done: list[str] = []

    def pair(engine: Any, case: Any, film: Any, *, pin_ends: bool) -> Row:
        done.append("pair")
        return pair_row(last_end=29.0 if pin_ends else 20.0)

    def joins(engine: Any, case: Any, film: Any) -> Row:
        done.append("film")
        return {"calls": 52, "seconds": 2.0, "join_ratio": 1.0, "hold": 1.0}

    monkeypatch.setattr(judge, "load_engine", lambda folder: None)
    monkeypatch.setattr(judge, "measure_pair", pair)
    monkeypatch.setattr(judge, "measure_film", joins)
    return done


def bench(folder: Path, weights: Path, steps: int | None = None, ways: Sequence[str] | None = None) -> None:
    ran = transitions.Bench(weights, SEED, steps, folder / "t.json", folder / "t.md", ways)
    ran.judge_pair(0, judge.pair_cases(1, SEED)[0], unpinned=True)
    ran.judge_film(0, judge.join_cases(1, SEED)[0])
    ran.save()


def test_a_benchmark_that_was_stopped_goes_on_and_new_weights_or_steps_begin_anew(measured: list[str], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "a.safetensors").write_bytes(b"old")
    once = 2 * len(WISHES) + len(WISHES) + len(SMOOTHED)
    bench(tmp_path, weights)
    assert len(measured) == once
    bench(tmp_path, weights)
    assert len(measured) == once
    bench(tmp_path, weights, steps=3)
    assert len(measured) == 2 * once
    (weights / "a.safetensors").write_bytes(b"new")
    bench(tmp_path, weights)
    assert len(measured) == 3 * once


def test_the_benchmark_can_be_of_some_ways_alone(measured: list[str], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    bench(tmp_path, weights, ways=["vibid"])
    told = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert list(told["figures"]["pair"]) == list(told["figures"]["film"]) == [TRUTH, CROSS_FADE, "vibid"]
    assert len(measured) == 3  # a pair with and without pins, and a film


def test_the_benchmark_writes_a_table_with_a_line_for_each_way(measured: list[str], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    bench(tmp_path, weights)
    page = (tmp_path / "t.md").read_text("utf-8")
    (tmp_path / "t.md").unlink()
    bench(tmp_path, weights)
    assert (tmp_path / "t.md").read_text("utf-8") == page  # also where nothing is left to be measured
    told = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert list(told["figures"]["pair"]) == [TRUTH, CROSS_FADE, *(wish.name for wish in WISHES)]
    assert list(told["figures"]["film"]) == [TRUTH, CROSS_FADE, *(wish.name for wish in (*WISHES, *SMOOTHED))]
    line = next(line for line in page.splitlines() if line.startswith("| bidirectional |"))
    assert [cell.strip() for cell in line.split("|")[2:6]] == ["1", "26", "-1.00", "-10.00"]  # n, calls, ends, unpinned
