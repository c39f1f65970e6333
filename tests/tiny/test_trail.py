"""Stages that go on where they were left: after every step, through bytes on the disk, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flux_svd.catalog import MODELS
from flux_svd.engines import trail
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.svd import SvdEngine
from flux_svd.engines.trail import Halfway, Trail
from flux_svd.errors import Cancelled
from flux_svd.progress import ignore_steps
from flux_svd.store import Store
from tests.tiny.builders import image_recipe, picture, placement, transition_recipe

FolderOf = Callable[[str], Path]
NAME = "a" * 64


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after every step."""
    monkeypatch.setattr(trail, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(trail, "WRITING_SHARE", 1e9)


def left_after(steps: int, store: Store, work: Callable[[Trail], Any]) -> Halfway:
    """Let `work` be cut after so many steps, as by a crash, and return what a later process finds."""
    way = Trail(store, NAME)
    keep = way.keep

    def kept(done: int, latents: torch.Tensor) -> None:
        keep(done, latents)
        if done == steps:
            raise Cancelled("stopped")

    way.keep = kept  # type: ignore[method-assign]
    with pytest.raises(Cancelled):
        work(way)
    found = Trail(store, NAME).halfway
    assert found is not None
    assert found.steps == steps
    return found


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-4b", "flux2-klein-base-4b"])
def test_a_picture_goes_on_after_every_step_with_the_same_bits(name: str, folder_of: FolderOf, tmp_path: Path) -> None:
    engine, recipe = FluxEngine(MODELS[name], folder_of(name), placement(name), "fp32"), image_recipe(name)
    whole = np.asarray(engine.draw(recipe, [], ignore_steps))
    for steps in range(1, recipe.steps + 1):
        store = Store(tmp_path / str(steps))
        left = left_after(steps, store, lambda way: engine.draw(recipe, [], ignore_steps, on_latents=way.keep))
        asked: list[int] = []
        hook = engine._pipeline.transformer.register_forward_pre_hook(lambda *_, asked=asked: asked.append(1))
        assert np.array_equal(whole, np.asarray(engine.draw(recipe, [], ignore_steps, halfway=left)))
        hook.remove()
        assert len(asked) * recipe.steps == (recipe.steps - steps) * (8 if "base" in name else 4)
        if steps < recipe.steps:  # one step off is seen
            off = Halfway(steps + 1, left.latents)
            assert not np.array_equal(whole, np.asarray(engine.draw(recipe, [], ignore_steps, halfway=off)))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("method", ["bidirectional", "vibid", "fusion", "plain"])
def test_a_transition_goes_on_after_every_step_with_the_same_bits(method: str, folder_of: FolderOf, tmp_path: Path) -> None:
    engine = SvdEngine(MODELS["svd-xt"], folder_of("svd-xt"), placement("svd-xt"), "fp32")
    recipe, keys = transition_recipe(method=method), (picture(1), picture(2))
    whole = engine.sample(recipe, *keys, ignore_steps)
    for steps in range(1, recipe.steps + 1):
        store = Store(tmp_path / str(steps))
        left = left_after(steps, store, lambda way: engine.sample(recipe, *keys, ignore_steps, on_latents=way.keep))
        told: list[int] = []
        again = engine.sample(recipe, *keys, lambda call, calls, _, told=told: told.append(call), halfway=left)
        assert np.array_equal(whole, again)
        assert len(told) < recipe.unet_calls
        assert told[-1:] in ([recipe.unet_calls], [])
        if steps < recipe.steps:
            off = Halfway(steps + 1, left.latents)
            assert not np.array_equal(whole, engine.sample(recipe, *keys, ignore_steps, halfway=off))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("always")
def test_latents_come_back_from_the_disk_as_they_were(dtype: torch.dtype, tmp_path: Path) -> None:
    latents = torch.randn(1, 5, 7).to(dtype).transpose(1, 2)
    Trail(Store(tmp_path), NAME).keep(3, latents)
    found = Trail(Store(tmp_path), NAME).halfway
    assert found is not None
    assert (found.steps, found.latents.dtype) == (3, dtype)
    assert torch.equal(found.latents, latents)


def test_what_is_kept_does_not_change_with_the_latents(tmp_path: Path) -> None:
    way, latents = Trail(Store(tmp_path), NAME), torch.zeros(3)
    way.keep(1, latents)
    latents += 1
    assert way.halfway is not None
    assert torch.equal(way.halfway.latents, torch.zeros(3))


def test_the_disk_is_written_now_and_then_and_memory_always(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock, written = Store(tmp_path), Clock(), []

    def slow(name: str, kind: str, data: bytes) -> None:
        written.append(clock.now)
        clock.now += 0.5

    monkeypatch.setattr(store, "keep_stage", slow)
    way = Trail(store, NAME, clock)
    for step in range(1, 2001):
        clock.now += 0.1
        way.keep(step, torch.zeros(1))
        assert way.halfway is not None
        assert way.halfway.steps == step
    assert written[0] == pytest.approx(trail.EVERY_SECONDS, abs=0.2)
    assert 0.5 * len(written) <= 0.015 * clock.now  # slow writing makes them rare
    assert len(written) >= 4


@pytest.mark.usefixtures("always")
def test_a_damaged_checkpoint_begins_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Trail(store, NAME).keep(3, torch.zeros(4))
    path = store.stage_file(NAME, "latents")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert Trail(store, NAME).halfway is None
    store.keep_stage(NAME, "latents", b"not such a file at all")
    assert Trail(store, NAME).halfway is None


@pytest.mark.usefixtures("always")
def test_checkpoints_count_in_the_share_of_the_disk_and_go_with_the_stage(tmp_path: Path) -> None:
    store = Store(tmp_path, stages_bytes=100)
    Trail(store, NAME).keep(3, torch.zeros(400))
    assert store.evict() > 1600
    assert Trail(store, NAME).halfway is None
    Trail(store, NAME).keep(3, torch.zeros(4))
    store.drop_stage(NAME, "latents")
    assert list(tmp_path.rglob("*.latents*")) == []
