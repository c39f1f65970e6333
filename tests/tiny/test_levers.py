"""Levers on tiny models of the real classes: less is held, and every bit stays as it is."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig
from torch import Tensor, nn

from flux_svd.catalog import MODELS
from flux_svd.engines import flux
from flux_svd.engines.flux import PIPELINES, FluxEngine
from flux_svd.engines.levers import streaming
from flux_svd.engines.levers.encoders import cut_text_encoder, layers_of
from flux_svd.engines.levers.masters import Masters
from flux_svd.engines.levers.modulation import FoldedModulation, refuse_norm_adapters
from flux_svd.engines.levers.reading import read_part
from flux_svd.engines.levers.streaming import StreamedBlocks, placed_bytes
from flux_svd.errors import InvalidRequest, ModelUnavailable
from flux_svd.progress import ignore_steps
from tests.tiny.builders import image_recipe, placement

FolderOf = Callable[[str], Path]
CPU = torch.device("cpu")


def load(name: str, folder_of: FolderOf, offload: str = "none", blocks: int = 0, **options: Any) -> FluxEngine:
    placed = replace(placement(name, offload), resident_blocks=blocks)
    return FluxEngine(MODELS[name], folder_of(name), placed, "fp32", **options)


def draw(engine: FluxEngine, **changes: Any) -> np.ndarray:
    return np.asarray(engine.draw(image_recipe(engine.spec.name, **changes), [], ignore_steps))


def weights_in(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


# Text encoders without what nobody reads


@pytest.mark.parametrize(("name", "layers"), [("flux2-klein-4b", 27), ("flux2-dev", 30)])
def test_a_cut_text_encoder_says_the_same_bit_for_bit(name: str, layers: int, folder_of: FolderOf) -> None:
    recipe = image_recipe(name)
    pipeline = PIPELINES[MODELS[name].family].from_pretrained(folder_of(name))

    def encoded() -> Tensor:
        return pipeline.encode_prompt(recipe.prompt, max_sequence_length=recipe.prompt_tokens)[0]

    with torch.no_grad():
        whole = encoded()
        norm = copy.deepcopy(getattr(pipeline.text_encoder.model, "language_model", pipeline.text_encoder.model).norm)
        pipeline.text_encoder = cut_text_encoder(pipeline.text_encoder, layers)
        assert torch.equal(encoded(), whole)
        pipeline.text_encoder.norm = norm  # what cutting alone would leave
        assert not torch.equal(encoded(), whole)


@pytest.mark.parametrize(("name", "layers"), [("flux2-klein-4b", 27), ("flux2-dev", 30)])
def test_an_engine_holds_only_what_is_read_of_its_text_encoder(name: str, layers: int, folder_of: FolderOf) -> None:
    engine = load(name, folder_of)
    encoder = engine._pipeline.text_encoder
    assert len(encoder.layers) == layers
    whole = read_part(folder_of(name), "text_encoder", "fp32")
    language = getattr(whole.model, "language_model", whole.model)
    assert weights_in(encoder) == weights_in(language.embed_tokens) + layers * weights_in(language.layers[0])
    assert len(language.layers) == layers + 1  # the tiny file has one that is not read
    assert len(getattr(read_part(folder_of(name), "text_encoder", "fp32", layers).model, "language_model",
                       read_part(folder_of(name), "text_encoder", "fp32", layers).model).layers) == layers  # fmt: skip


def test_the_layers_of_the_catalogue_are_those_that_are_read(folder_of: FolderOf) -> None:
    spec = replace(MODELS["flux2-klein-4b"], text_layers=(2, 5, 8))  # as a smaller model may have them
    engine = FluxEngine(spec, folder_of(spec.name), placement(spec.name), "fp32")
    recipe = image_recipe(spec.name)
    assert len(engine._pipeline.text_encoder.layers) == 8
    pipeline = PIPELINES[spec.family].from_pretrained(folder_of(spec.name))
    with torch.no_grad():
        read = pipeline.encode_prompt(
            recipe.prompt, max_sequence_length=recipe.prompt_tokens, text_encoder_out_layers=spec.text_layers
        )[0]
    assert torch.equal(engine.embed(recipe)[0].tokens, read)


def test_an_encoder_with_too_few_layers_is_refused(folder_of: FolderOf) -> None:
    encoder = read_part(folder_of("flux2-klein-4b"), "text_encoder", "fp32")
    with pytest.raises(ModelUnavailable, match="28 layers and 40 are read"):
        cut_text_encoder(encoder, 40)


# Parts that take turns


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein-base-4b", "flux2-dev"])
@pytest.mark.parametrize("offload", ["model", "phases"])
def test_parts_that_take_turns_draw_the_same_bits(name: str, offload: str, folder_of: FolderOf) -> None:
    whole, apart = load(name, folder_of), load(name, folder_of, offload)
    for prompt in ("a red fox", "a green owl", "a red fox"):
        assert np.array_equal(draw(whole, prompt=prompt), draw(apart, prompt=prompt))


def test_parts_on_disk_are_read_for_their_phase_and_gone_before_the_next(
    folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = load("flux1-dev", folder_of, "phases")
    assert engine._pipeline.transformer is None
    reads: list[str] = []
    alive: list[tuple[str, weakref.ref[nn.Module]]] = []
    at_once: list[set[str]] = []

    def watched(folder: Path, part: str, *rest: Any) -> Any:
        gc.collect()
        at_once.append({name for name, model in alive if model() is not None})
        model = read_part(folder, part, *rest)
        reads.append(part)
        alive.append((part, weakref.ref(model)))
        return model

    monkeypatch.setattr(flux, "read_part", watched)
    draw(engine)
    assert reads == ["text_encoder", "text_encoder_2", "transformer"]
    assert at_once == [set(), {"text_encoder"}, set()]
    gc.collect()
    assert [name for name, model in alive if model() is not None] == []  # decoding is alone with its VAE
    draw(engine, seed=8)  # the prompt is known: no encoder
    assert reads[3:] == ["transformer"]


def test_parts_in_host_memory_are_copied_out_and_never_back(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of, "model")
    transformer = engine._pipeline.transformer
    masters = [weight.data_ptr() for weight in transformer.parameters()]
    assert all(address % 64 == 0 for address in masters)  # CPU kernels round differently at odd addresses
    on_device: list[list[int]] = []
    transformer.register_forward_pre_hook(lambda *_: on_device.append([w.data_ptr() for w in transformer.parameters()]))

    def spoil(module: nn.Module, *_: Any) -> None:
        with torch.no_grad():
            next(module.parameters()).add_(1)

    first = draw(engine)
    assert not set(on_device[0]) & set(masters)
    assert [weight.data_ptr() for weight in transformer.parameters()] == masters
    hook = transformer.register_forward_hook(spoil)  # what happens to the copy does not reach the master
    assert not np.array_equal(draw(engine), first)
    hook.remove()
    assert np.array_equal(draw(engine), first)


def test_masters_keep_shared_weights_once_and_refuse_others() -> None:
    shared = nn.Linear(5, 5)
    module = nn.Sequential(shared, nn.Linear(5, 5), shared)
    before = [weight.clone() for weight in module.parameters()]
    masters = Masters(module, pinned=False)
    assert masters.bytes == 4 * 256  # two weights and two biases, each on an address of its own
    away = masters.host.clone()
    masters.lend(away)
    with torch.no_grad():
        shared.weight.zero_()
    assert module[2].weight.abs().sum() == 0
    masters.recall()
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    module[1].weight = nn.Parameter(torch.empty(5, 5).as_subclass(_Odd))
    with pytest.raises(TypeError, match="_Odd"):
        Masters(module, pinned=False)


class _Odd(torch.Tensor):
    """Stands for a quantised weight."""


# Blocks on their way


class SlowLane:
    """A lane whose copies arrive as late as they may, and which spoils what is overwritten too early."""

    def __init__(self, device: torch.device | None = None, slot_bytes: int = 1 << 20) -> None:
        self.log: list[tuple[str, int]] = []
        self._slots = [torch.empty(slot_bytes, dtype=torch.uint8) for _ in range(2)]
        self._coming: list[Tensor | None] = [None, None]

    def send(self, slot: int, host: Tensor) -> None:
        self.log.append(("send", slot))
        self._slots[slot].fill_(255)  # not a number, in every format
        self._coming[slot] = host

    def arrive(self, slot: int) -> Tensor:
        self.log.append(("arrive", slot))
        host = self._coming[slot]
        if host is not None:
            self._slots[slot][: host.numel()].copy_(host)
        return self._slots[slot]

    def leave(self, slot: int) -> None:
        self.log.append(("leave", slot))

    def rest(self) -> None:
        self.log.append(("rest", -1))


def blocks_of_five() -> tuple[FluxTransformer2DModel, dict[str, Any]]:
    """Return a transformer of 2 double and 3 single blocks, and a call of it."""
    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        in_channels=16, num_layers=2, num_single_layers=3, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(4, 4, 8),
    ).eval()  # fmt: skip
    call = {
        "hidden_states": torch.randn(1, 16, 16), "encoder_hidden_states": torch.randn(1, 8, 16),
        "pooled_projections": torch.randn(1, 16), "timestep": torch.tensor([0.5]), "guidance": torch.tensor([3.5]),
        "img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(8, 3), "return_dict": False,
    }  # fmt: skip
    return model, call


@pytest.mark.parametrize("resident", [0, 1, 2, 3, 4, 5])
def test_streamed_blocks_compute_the_same_bits(resident: int) -> None:
    model, call = blocks_of_five()
    with torch.no_grad():
        expected = [model(**{**call, "timestep": torch.tensor([t])})[0] for t in (0.9, 0.5)]
        lane = SlowLane()
        streamed = StreamedBlocks(model, CPU, resident, lane)
        found = [model(**{**call, "timestep": torch.tensor([t])})[0] for t in (0.9, 0.5)]
        streamed.remove()
        after = model(**call)[0]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert torch.equal(after, expected[1])
    assert sum(event == "arrive" for event, _ in lane.log) == 2 * (5 - resident)


def test_the_next_block_is_on_its_way_before_this_one_computes() -> None:
    model, call = blocks_of_five()
    lane = SlowLane()
    StreamedBlocks(model, CPU, 1, lane)
    with torch.no_grad():
        model(**call)
        model(**call)
    step = [("arrive", 0), ("send", 1), ("leave", 0), ("arrive", 1), ("send", 0), ("leave", 1)]
    assert lane.log == [("send", 0), *step, *step, *step, *step]  # four blocks travel, two steps


def test_streaming_survives_an_error_in_the_middle_of_a_step() -> None:
    model, call = blocks_of_five()
    with torch.no_grad():
        expected = model(**call)[0]
        streamed = StreamedBlocks(model, CPU, 0, SlowLane())

        def fail(*_: Any) -> None:
            raise torch.OutOfMemoryError("no room")

        hook = model.single_transformer_blocks[1].attn.register_forward_pre_hook(fail)
        with pytest.raises(torch.OutOfMemoryError):
            model(**call)
        hook.remove()
        streamed.leave()
        assert torch.equal(model(**call)[0], expected)


def test_the_bytes_on_the_device_are_those_that_are_counted() -> None:
    model, _ = blocks_of_five()
    whole = sum(w.nbytes for w in model.parameters())
    blocks = [*model.transformer_blocks, *model.single_transformer_blocks]
    sizes = [Masters(copy.deepcopy(block), pinned=False).bytes for block in blocks]
    others = whole - sum(w.nbytes for block in blocks for w in block.parameters())
    assert placed_bytes(sizes, others, 5) == others + sum(sizes)
    assert placed_bytes(sizes, others, 0) == others + 2 * max(sizes)
    assert placed_bytes(sizes, others, 2) == others + sizes[2] + sizes[4] + 2 * max(sizes)


@pytest.mark.parametrize(("name", "blocks"), [("flux1-dev", 0), ("flux2-klein-base-4b", 1), ("flux2-dev", 0), ("flux1-dev", 2)])
def test_an_engine_whose_blocks_stream_draws_the_same_bits(
    name: str, blocks: int, folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    whole, streamed = load(name, folder_of), load(name, folder_of, "stream", blocks)
    for prompt in ("a red fox", "a green owl"):
        assert np.array_equal(draw(whole, prompt=prompt), draw(streamed, prompt=prompt))


@pytest.mark.parametrize(
    ("name", "part"), [("flux1-dev", "text_encoder_2"), ("flux2-klein-4b", "text_encoder"), ("flux2-dev", "text_encoder")]
)
def test_of_a_text_encoder_two_layers_are_on_the_device_while_it_reads(
    name: str, part: str, folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CudaLane", SlowLane)
    engine = load(name, folder_of, "stream")
    encoder, recipe = getattr(engine._pipeline, part), image_recipe(name)
    layers = layers_of(encoder)
    masters = {id(weight): weight.data_ptr() for weight in encoder.parameters()}
    away: list[set[int]] = []

    def look(*_: Any) -> None:
        away.append({number for number, layer in enumerate(layers) for w in layer.parameters() if w.data_ptr() != masters[id(w)]})
        assert all(w.data_ptr() != masters[id(w)] for w in encoder.get_input_embeddings().parameters())

    for layer in layers:
        layer.register_forward_pre_hook(look)
    assert torch.equal(engine.embed(recipe)[0].tokens, load(name, folder_of).embed(recipe)[0].tokens)
    assert away == [{number} for number in range(len(layers))]  # the next one is on its way, and not lent yet
    engine.denoise(recipe, engine.embed(recipe), [], ignore_steps)
    assert all(weight.data_ptr() == masters[id(weight)] for weight in encoder.parameters())


# Modulation computed ahead


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("flux1-dev", {}),
        ("flux1-dev", {"cfg_scale": 2.0, "negative_prompt": "blue"}),
        ("flux1-dev", {"guidance_curve": (1.0, 5.0, 3.0, 2.0)}),
        ("flux1-schnell", {}),
        ("flux1-schnell", {"guidance_kind": "classifier-free", "guidance": 3.0}),
    ],
)
def test_folded_modulation_draws_the_same_bits(name: str, changes: dict[str, Any], folder_of: FolderOf) -> None:
    whole, folded = load(name, folder_of), load(name, folder_of, fold_modulation=True)
    for more in ({}, {"prompt": "a green owl"}, {"steps": 3} if "guidance_curve" not in changes else {"seed": 2}):
        assert np.array_equal(draw(whole, **changes | more), draw(folded, **changes | more))


def test_folding_goes_with_parts_that_are_read_anew(folder_of: FolderOf) -> None:
    folded = load("flux1-dev", folder_of, "phases", fold_modulation=True)
    for prompt in ("a red fox", "a green owl"):
        assert np.array_equal(draw(load("flux1-dev", folder_of), prompt=prompt), draw(folded, prompt=prompt))


def test_folded_modulation_in_half_precision_and_halfway(folder_of: FolderOf) -> None:
    left = []
    recipe = image_recipe("flux1-dev", precision="bf16")
    whole = FluxEngine(MODELS["flux1-dev"], folder_of("flux1-dev"), placement("flux1-dev"), "bf16")
    picture = whole.draw(recipe, [], ignore_steps, on_latents=lambda *at: left.append(flux.Halfway(at[0], at[1].clone())))
    folded = FluxEngine(MODELS["flux1-dev"], folder_of("flux1-dev"), placement("flux1-dev"), "bf16", fold_modulation=True)
    assert picture == folded.draw(recipe, [], ignore_steps)
    assert picture == folded.draw(recipe, [], ignore_steps, halfway=left[1])


def test_folding_takes_exactly_the_norms_weights_off_the_transformer(folder_of: FolderOf) -> None:
    model = read_part(folder_of("flux1-dev"), "transformer", "fp32")
    norms = sum(w.numel() for name, w in model.named_parameters() if ".linear." in name and "norm" in name)
    whole = weights_in(model)
    FoldedModulation(model, CPU)
    assert 0 < norms == whole - weights_in(model)


def test_a_folded_transformer_refuses_to_be_called_unprepared(folder_of: FolderOf) -> None:
    engine = load("flux1-dev", folder_of, fold_modulation=True)
    model, call = engine._pipeline.transformer, blocks_of_five()[1]
    with pytest.raises(RuntimeError, match="prepare and select"):
        model(**call)


def test_adapters_on_norms_are_refused_with_folding() -> None:
    model, _ = blocks_of_five()
    model.add_adapter(LoraConfig(r=2, target_modules=["norm1.linear"]))
    with pytest.raises(InvalidRequest, match="none on the norms"):
        FoldedModulation(model, CPU)
    refuse_norm_adapters(["transformer_blocks.0.attn.to_q.lora_A.weight", "single_transformer_blocks.0.attn.norm_q.weight"])
    for name in ("transformer_blocks.0.norm1_context.linear.lora_A.weight", "norm_out.linear.lora_B.weight"):
        with pytest.raises(InvalidRequest, match=name):
            refuse_norm_adapters([name])
