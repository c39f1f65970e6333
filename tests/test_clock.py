"""How long a plan still takes: what is counted, and when it is counted anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from flux_svd.clock import Clock
from flux_svd.recipe import Selection, fingerprint, latents_name, with_keyframes
from flux_svd.store import Store
from tests.test_planner import film_of


def test_a_transition_between_keyframes_taken_before_takes_no_time_once_they_are_known(tmp_path: Path) -> None:
    stages = tuple({"prompt": prompt} for prompt in ("a red circle", "a blue circle", "a green circle"))
    plan, film = film_of(stages=stages, best_of=2)
    taken = [key.candidates[1] for key in film.keyframes if isinstance(key, Selection)]
    settled = with_keyframes(film, taken)
    store = Store(tmp_path)
    store.keep_stage(latents_name(settled.transitions[0]), "npy", b"latents")
    clock = Clock(store, plan)
    assert clock.steps_left["animate"] == sum(way.unet_calls for way in film.transitions)  # nobody knows yet which are taken
    clock.settle(settled)
    assert clock.steps_left["animate"] == film.transitions[1].unet_calls
    store.keep_stage(latents_name(settled.transitions[1]), "npy", b"latents")
    clock.settle(settled)
    assert clock.steps_left["animate"] == 0


def test_decoding_and_encoding_are_learnt_for_each_frame_and_counted_ahead(tmp_path: Path) -> None:
    plan, film = film_of()
    store = Store(tmp_path)
    clock = Clock(store, plan)
    for kind in ("draw", "animate"):
        store.learn_seconds(clock.keys[kind], 0.0)
    assert Clock(store, plan).predict() == 0  # frames that were never decoded here count nothing
    clock.begin()
    clock._last -= 9.0
    clock.reach(film.frames // 3, film.frames)
    assert clock.steps_left["decode"] == film.frames - film.frames // 3
    assert store.learned_seconds(clock.keys["decode"]) is None  # a part says too little
    clock._last -= 9.0
    clock.reach(film.frames, film.frames)
    assert clock.steps_left["decode"] == 0
    assert Clock(store, plan).predict() == pytest.approx(18, abs=0.2)
    store.keep_stage(fingerprint(film), "mp4", b"film")
    assert Clock(store, plan).steps_left["decode"] == 0
