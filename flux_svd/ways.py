"""Every way to hold a model on a device and what each takes, whether it fits or not; pure arithmetic. Loads nothing.

As `Placement.rung` names them: P0 all parts stay on the device; P1 they visit it one by one; P3 the
transformer's blocks stream, as many as fit staying, and all layers of text encoders; P7 parts wait on the disk. P2 and P4 are P0
or P1 and P3 with the transformer's weights in 8 bits, P5 is P0 or P3 with 4 bits; they change pixels. What a library keeps in
int8 or nf4, or a .gguf file holds, is not streamed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from flux_svd.catalog import Component, ModelSpec
from flux_svd.memory import GIB, PROCESS_BYTES, Device, Placement, Work
from flux_svd.storing import BY_LIBRARY, KINDS, LOWERED, Stored

FOLDED_BYTES = GIB * 3 // 10  # what folded modulation computes: 2.1 MB a step and branch in FLUX.1, of 150 steps
BLOCKS_IN_FLIGHT = 2  # the one that computes and the one that is being copied
# A second, by which ways are put in order; assumptions, not measured: PCIe 4.0 x16 from pinned memory, of 32 by its standard,
# and an NVMe disk that reads mapped files.
PCIE_BYTES, DISK_BYTES = 25 * 10**9, 2 * 10**9
SHARD_BYTES = 10 * 10**9  # of one file of published weights, as diffusers and transformers cut them unless told otherwise

Travelled = tuple[float, Placement]
"""A way, and for how many seconds its weights travel for one picture of as many steps as its model usually takes."""


def ways_on(device: Device, spec: ModelSpec, precision: str, work: Work, levers: frozenset[str]) -> Iterator[Placement]:
    """Yield the placements of `spec` on a device, whether they fit or not: exact ones, then each kind of lowered precision.

    Among each of these the one whose weights travel the shortest for one picture is first: computing takes all equally long.
    """
    core = _transformer(spec)
    folds = (False, True) if device == "cuda" and "fold" in levers and core.modulation else (False,)
    lowers = device == "cuda" and precision == "bf16" and bool(core.wide)
    for held in (precision, *(kind for kind in LOWERED if lowers and kind in levers)):
        # One layer's weights are widened while it computes; none of any block is larger than the smallest block.
        widened = 2 * min(size for _, size in core.blocks) if held in LOWERED or core.file_bytes else 0
        own = replace(work, denoise_bytes=work.denoise_bytes + widened)
        if device == "cuda" and (held in BY_LIBRARY or core.file_bytes):
            yield from _kept_by_library(spec, held, own, streams="stream" in levers)
            continue
        ways = [way for fold in folds for way in _kept_whole(device, spec, held, own, fold)]
        if device == "cuda" and "stream" in levers:
            ways += [way for fold in folds for way in _streamed(spec, held, own, fold)]
        yield from (placement for _, placement in sorted(ways, key=lambda way: way[0]))


def sizes_of(spec: ModelSpec, precision: str, *, fold: bool = False) -> dict[str, int]:
    """Return the bytes of each part as it is loaded; with `fold`, without the weights that folded modulation leaves out."""
    sizes, core = {part.folder: part.loaded_bytes(precision) for part in spec.components}, _transformer(spec)
    counts = [*(count for count, _ in core.blocks), 1]
    if precision == "fp8":  # a byte a parameter, and what is beyond that
        sizes[core.folder] -= core.parameters - sum(count * size for count, size in zip(counts, core.wide, strict=True))
    if precision in BY_LIBRARY:
        sizes[core.folder] = int(core.parameters * KINDS[_stored(spec, precision)].parameter_bytes)
    if fold:
        gone = sum(count * size for count, size in zip(counts, core.modulation, strict=True))
        sizes[core.folder] -= gone * core.parameter_bytes(precision)
    return sizes


def block_bytes(spec: ModelSpec, precision: str, *, fold: bool = False) -> list[int]:
    """Return the bytes of each block of the transformer that can be streamed, in the order they run."""
    core = _transformer(spec)
    gone = core.modulation if fold else (0,) * len(core.blocks)
    element = core.parameter_bytes(precision)
    wide = core.wide if precision == "fp8" else [size for _, size in core.blocks]
    rows = zip(core.blocks, gone, wide, strict=False)
    return [(size - less) * element - (size - kept) for (count, size), less, kept in rows for _ in range(count)]


def stays(at: int, blocks: int, resident: int) -> bool:
    """Return whether block `at` is one of the `resident` of `blocks` that stay on the device: evenly spread among the others."""
    return (at + 1) * resident // blocks > at * resident // blocks


def with_file(spec: ModelSpec, file_bytes: int) -> ModelSpec:
    """Return the model with a transformer from a .gguf file of so many bytes."""
    core = _transformer(spec)
    own = replace(core, modulation=(), wide=(), file_bytes=file_bytes)
    return replace(spec, components=tuple(own if part is core else part for part in spec.components))


def with_encoder(spec: ModelSpec, parameters: int) -> ModelSpec:
    """Return the model with another text encoder of so many parameters in place of the one that carries the meaning."""
    last = max(part.folder for part in spec.components if part.folder.startswith("text_encoder"))
    return replace(spec, components=tuple(
        replace(part, parameters=parameters, blocks=(), loaded=0) if part.folder == last else part for part in spec.components
    ))  # fmt: skip


def _kept_by_library(spec: ModelSpec, precision: str, work: Work, *, streams: bool) -> Iterator[Placement]:
    """Yield the placements of a transformer that is no plain tensors: it stays on the GPU, or is read when it is needed."""
    sizes, core, stored = sizes_of(spec, precision), _transformer(spec), _stored(spec, precision)
    place = functools.partial(Placement, spec.name, "cuda", stored=stored)
    others = [size for name, size in sizes.items() if name != core.folder]
    read = core.file_bytes or min(SHARD_BYTES, core.loaded_bytes("bf16"))
    made = 0 if stored == "nf4" else sizes[core.folder]  # in host memory, before it goes to the GPU; nf4 is made there
    yield place("none", sum(sizes.values()) + work.peak_bytes, PROCESS_BYTES + made + max(read, *others))
    encoders = [part for part in spec.components if part.folder not in (core.folder, "vae")]
    if streams:
        there = sum(_visiting(part, precision) for part in encoders) + work.encode_bytes
        peak = sizes[core.folder] + sizes["vae"] + max(work.denoise_bytes, there, work.decode_bytes)
        host = PROCESS_BYTES + made + max(read, sum(others) - sizes["vae"])
        yield place("stream", peak, host, len(block_bytes(spec, "bf16")))
    if core.file_bytes:  # others would be made anew each time
        yield place("phases", max(_turns(spec, sizes, work)), PROCESS_BYTES + made + max(read, *others))


def _stored(spec: ModelSpec, precision: str) -> Stored:
    kept: Stored = next((kind for kind in LOWERED if kind == precision), "")
    return "gguf" if _transformer(spec).file_bytes else kept


def _kept_whole(device: Device, spec: ModelSpec, precision: str, work: Work, fold: bool) -> Iterator[Travelled]:
    """Yield the placements that never take a part of the model to pieces."""
    sizes, folded = sizes_of(spec, precision), sizes_of(spec, precision, fold=fold)
    place = functools.partial(Placement, spec.name, device, fold_modulation=fold, stored=_stored(spec, precision))
    staging = PROCESS_BYTES + max(sizes.values())  # files are mapped, and copied part by part
    if precision == "fp8":  # they hold bf16, beside which the smaller weights are made
        staging = PROCESS_BYTES + max(sizes_of(spec, "bf16").values()) + sizes[_transformer(spec).folder]
    whole = sum(sizes.values())
    alone = max(_turns(spec, folded, work)) + (FOLDED_BYTES if fold else 0)
    # a video model's part on the disk comes beside the VAE, which stays
    alone_there = alone + (sizes["vae"] if spec.makes_films else 0)
    resident = sum(folded.values()) + work.peak_bytes + (FOLDED_BYTES if fold else 0)
    if device != "cuda":  # one memory for both
        yield 0.0, place("none", resident, resident + PROCESS_BYTES)
        yield whole / DISK_BYTES, place("phases", alone_there, alone_there + PROCESS_BYTES)
        return
    kept = whole - sum(folded.values())  # what folding leaves in host memory, and reads once
    yield kept / PCIE_BYTES, place("none", resident, staging + kept)
    yield whole / PCIE_BYTES, place("model", alone, whole + PROCESS_BYTES)
    yield whole / DISK_BYTES, place("phases", alone_there, staging + kept)


def _streamed(spec: ModelSpec, precision: str, work: Work, fold: bool) -> Iterator[Travelled]:
    """Yield the placements that stream blocks, as many as possible staying; of text encoders every layer streams."""
    sizes, blocks = sizes_of(spec, precision, fold=fold), block_bytes(spec, precision, fold=fold)
    core, vae = _transformer(spec).folder, sizes.get("vae", 0)
    frame = sizes[core] - sum(blocks) + (FOLDED_BYTES if fold else 0)  # embeddings, norms, the last layer
    encoders = sum(_visiting(part, precision) for part in spec.components if part.folder not in (core, "vae"))
    whole = sum(sizes_of(spec, precision).values())
    once = whole - sum(sizes.values()) + sum(size for name, size in sizes.items() if name not in (core, "vae"))
    for resident in range(len(blocks) if blocks else -1, -1, -1):
        staying = [size for at, size in enumerate(blocks) if stays(at, len(blocks), resident)]
        moving = [size for at, size in enumerate(blocks) if not stays(at, len(blocks), resident)]
        step = BLOCKS_IN_FLIGHT * max(moving, default=0) + work.denoise_bytes
        peak = vae + frame + sum(staying) + max(step, encoders + work.encode_bytes, work.decode_bytes)
        yield (once + spec.steps * sum(moving)) / PCIE_BYTES, Placement(
            spec.name, "cuda", "stream", peak, whole + PROCESS_BYTES, resident, fold_modulation=fold,
            stored=_stored(spec, precision),
        )  # fmt: skip


def _visiting(encoder: Component, precision: str) -> int:
    """Return what a text encoder whose layers stream takes of the device: what is not a layer, and two layers."""
    element = encoder.parameter_bytes(precision)
    layers = element * sum(count * size for count, size in encoder.blocks)
    largest = element * max((size for _, size in encoder.blocks), default=0)
    return encoder.loaded_bytes(precision) - layers + BLOCKS_IN_FLIGHT * largest


def _turns(spec: ModelSpec, sizes: Mapping[str, int], work: Work) -> list[int]:
    """Return what each turn on the device takes: text encoders together, the transformer, the VAE, which is small and stays.

    Of a video model every part has a turn of its own.
    """
    core, vae = _transformer(spec).folder, sizes.get("vae", 0)
    within = max(work.encode_bytes, work.decode_bytes)
    others = [size for name, size in sizes.items() if name not in (core, "vae")]
    if spec.makes_films:  # what is counted for encoding is the VAE's
        return [*others, sizes[core] + work.denoise_bytes, vae + within]
    return [vae + sum(others) + work.encode_bytes, vae + sizes[core] + work.denoise_bytes, vae + within]


def _transformer(spec: ModelSpec) -> Component:
    """Return the part that denoises; of a model without one, its largest."""
    named = [part for part in spec.components if part.folder in ("transformer", "unet")]
    return named[0] if named else max(spec.components, key=lambda part: part.parameters)
