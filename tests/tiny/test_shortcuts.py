"""Shortcuts that change pixels, on tiny models of the real classes: what they do, that they stop, and who refuses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import _AttentionBackendRegistry

from flux_svd.catalog import MODELS
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.levers import streaming
from flux_svd.errors import Cancelled, InvalidRequest, ModelUnavailable, OutOfMemory
from flux_svd.progress import ignore_steps
from tests.tiny.builders import image_recipe, placement
from tests.tiny.test_levers import SlowLane

FolderOf = Callable[[str], Path]


def load(name: str, folder_of: FolderOf, offload: str = "none", precision: Any = "fp32", **options: Any) -> FluxEngine:
    return FluxEngine(MODELS[name], folder_of(name), placement(name, offload), precision, **options)


def draw(engine: FluxEngine, **changes: Any) -> np.ndarray:
    return np.asarray(engine.draw(image_recipe(engine.spec.name, **changes), [], ignore_steps))


def calls_of_last_block(engine: FluxEngine) -> list[int]:
    """Return a list that grows by one each time the last block attends."""
    calls: list[int] = []
    engine._pipeline.transformer.single_transformer_blocks[-1].attn.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("changes", [{}, {"cfg_scale": 2.0, "negative_prompt": "blue"}])
def test_a_step_cache_skips_blocks_in_this_picture_and_not_in_the_next(changes: dict[str, Any], folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    calls = calls_of_last_block(engine)
    whole = draw(engine, steps=8, **changes)
    all_calls = len(calls)
    assert all_calls == 8 * (2 if changes else 1)
    skipping = draw(engine, steps=8, step_cache=0.5, **changes)
    few_calls = len(calls) - all_calls
    assert 0 < few_calls < all_calls
    assert not np.array_equal(whole, skipping)
    assert abs(whole.astype(int) - skipping).mean() < abs(whole.astype(int) - draw(engine, steps=8, seed=99, **changes)).mean()
    assert np.array_equal(skipping, draw(engine, steps=8, step_cache=0.5, **changes))
    assert np.array_equal(whole, draw(engine, steps=8, **changes))


def test_a_picture_with_a_step_cache_leaves_no_way_to_go_on_from(folder_of: FolderOf) -> None:
    left: list[int] = []
    recipe = image_recipe("flux1-dev", step_cache=0.1)
    load("flux1-dev", folder_of).draw(recipe, [], ignore_steps, on_latents=lambda steps, _: left.append(steps))
    assert left == []


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-4b"])
def test_another_attention_computes_nearly_the_same_and_only_while_asked(
    name: str, folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load(name, folder_of)
    native = draw(engine)
    used = []
    backends = _AttentionBackendRegistry._backends
    (math,) = (key for key in backends if key.value == "_native_math")
    monkeypatch.setitem(backends, math, lambda *a, real=backends[math], **k: (used.append(1), real(*a, **k))[1])
    assert abs(draw(engine, attention="math").astype(int) - native).max() <= 1
    assert used
    used.clear()
    assert np.array_equal(draw(engine), native)

    def stop(*_: Any) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        engine.draw(image_recipe(name, attention="math"), [], stop)
    used.clear()
    assert np.array_equal(draw(engine), native)
    assert used == []


def test_an_attention_that_is_not_installed_is_said(folder_of: FolderOf) -> None:
    with pytest.raises(ModelUnavailable, match="attention 'flash' is not possible here"):
        draw(load("flux1-dev", folder_of), attention="flash")


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-4b"])
@pytest.mark.parametrize("offload", ["none", "model", "phases"])
def test_fp8_storage_holds_less_and_draws_nearly_the_same(name: str, offload: str, folder_of: FolderOf) -> None:
    whole, small = load(name, folder_of), load(name, folder_of, offload, stored="fp8")
    far = abs(draw(whole, seed=99).astype(int) - draw(whole)).mean()
    drawn = draw(small)
    assert 0 < abs(drawn.astype(int) - draw(whole)).mean() < 0.1 * far  # 0.012 and 0.020 of it were seen
    assert np.array_equal(drawn, draw(small))  # casting back and forth loses nothing more
    if offload != "phases":
        stored = {weight.dtype for weight in small._pipeline.transformer.transformer_blocks[0].attn.parameters()}
        assert torch.float8_e4m3fn in stored
        assert _bytes(small) < 0.75 * _bytes(whole)


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-4b"])
@pytest.mark.parametrize(("offload", "blocks"), [("model", 0), ("phases", 0), ("stream", 0), ("stream", 1)])
def test_fp8_storage_draws_the_same_bits_wherever_the_weights_wait(
    name: str, offload: str, blocks: int, folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    resident = load(name, folder_of, precision="bf16", stored="fp8")
    placed = dataclasses.replace(placement(name, offload), resident_blocks=blocks)
    waiting = FluxEngine(MODELS[name], folder_of(name), placed, "bf16", stored="fp8")
    for prompt in ("a red fox", "a green owl"):
        assert np.array_equal(draw(resident, prompt=prompt), draw(waiting, prompt=prompt))


def test_a_layer_in_fp8_has_its_very_weights_back_also_after_an_error(folder_of: FolderOf) -> None:
    """A copy that stayed would take its memory beside the block in which the weights travelled."""
    engine = load("flux1-dev", folder_of, "model", stored="fp8")
    layers = engine._pipeline.transformer
    masters = [weight.data_ptr() for weight in layers.parameters()]
    draw(engine)
    assert [weight.data_ptr() for weight in layers.parameters()] == masters
    travelling: list[tuple[list[int], list[int]]] = []

    def look(*_: Any) -> None:
        travelling.append(
            ([weight.data_ptr() for weight in layers.parameters()], [weight.element_size() for weight in layers.parameters()])
        )

    layers.register_forward_pre_hook(look)
    layers.register_forward_hook(look, always_call=True)
    draw(engine)
    assert travelling[0] == travelling[1]
    travelling.clear()

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    hook = layers.transformer_blocks[0].attn.to_q.register_forward_pre_hook(fail)
    with pytest.raises(OutOfMemory):
        draw(engine)
    hook.remove()
    assert travelling[0] == travelling[1]
    assert [weight.data_ptr() for weight in layers.parameters()] == masters


def test_folding_lets_fp8_storage_reach_what_it_leaves_out(folder_of: FolderOf) -> None:
    small = load("flux1-dev", folder_of, stored="fp8")
    smaller = load("flux1-dev", folder_of, stored="fp8", fold_modulation=True)
    assert _bytes(smaller) < 0.7 * _bytes(small)
    assert np.array_equal(draw(small), draw(smaller))


def _bytes(engine: FluxEngine) -> int:
    return sum(weight.nbytes for weight in engine._pipeline.transformer.parameters())


def test_compiling_is_refused_where_it_cannot_work(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidRequest, match="compiled"):
        draw(load("flux1-dev", folder_of, fold_modulation=True), compiled=True)
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    for stored in ("", "fp8"):
        with pytest.raises(InvalidRequest, match="compiled"):
            draw(load("flux1-dev", folder_of, "stream", stored=stored), compiled=True)


def test_only_the_blocks_are_compiled_and_only_while_asked(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load("flux1-dev", folder_of)
    plain, compiled = draw(engine), []
    used: list[int] = []

    def stand_in(call: Any, **options: Any) -> Any:
        compiled.append((type(call.__self__).__name__, options))
        return lambda *given, **named: (used.append(1), call(*given, **named))[1]

    monkeypatch.setattr(torch, "compile", stand_in)
    assert np.array_equal(draw(engine, compiled=True), plain)
    assert sorted(compiled) == [
        ("FluxSingleTransformerBlock", {"fullgraph": True}),
        ("FluxTransformerBlock", {"fullgraph": True}),
    ]
    assert len(used) == 2 * 4  # two blocks, four steps
    draw(engine)
    assert (len(compiled), len(used)) == (2, 2 * 4)


@pytest.mark.slow
def test_compiled_blocks_draw_nearly_the_same(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of)
    plain = draw(engine)
    assert abs(draw(engine, compiled=True).astype(int) - plain).max() <= 2
    assert np.array_equal(draw(engine), plain)
