"""budget × model × shape → placements, best first, and what to change where none fits; pure arithmetic. Loads nothing.

From fast to small, as `Placement.rung` names them: P0 all parts stay on the device; P1 they visit it one by one; P3 the
transformer's blocks stream, as many as fit staying; P7 parts wait on the disk; P8 the processor.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flux_svd.catalog import MODELS, Component, ModelSpec
from flux_svd.errors import DoesNotFit
from flux_svd.memory import PROCESS_BYTES, Budget, Device, Offload, Placement, Shape, Work, device_margin, format_gib, work_of

LEVERS: frozenset[Offload] = frozenset({"stream"})
BLOCKS_IN_FLIGHT = 2  # the one that computes and the one that is being copied
SMALLEST_SIDE = 256  # pixels; pictures below that are of no use with the large models


def place(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> Placement:
    """Return the fastest placement of `spec` that fits the budget, among those that have run on such a device.

    The processor of a machine with a GPU is taken only where no lever, tried or not, brings the model onto the GPU.

    Raises:
        DoesNotFit: none fits; the message names what is needed, what is there and the smallest change that would fit.
    """
    fitting = list(placements(spec, precision, shape, budget))
    for placement in fitting:
        if is_tried(placement, budget) and placement.device == fitting[0].device:
            return placement
    raise DoesNotFit(_refusal(spec, precision, shape, budget))


def fallbacks(placed: Placement, spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> tuple[Placement, ...]:
    """Return what is left to do when `placed` runs out of memory, in order; each keeps less of the model on the device.

    A lever without a recorded run is among them: when a plan has failed already, trying is better than giving up.
    """
    left, last = [], placed
    for row in placements(spec, precision, shape, budget):
        if row.device == last.device and row.peak_bytes >= last.peak_bytes:
            continue
        if row.offload == last.offload == "stream" and row.resident_blocks > last.resident_blocks // 2:
            continue  # as many blocks as fit, then ever half as many
        left.append(row)
        last = row
    return tuple(left)


def placements(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> Iterator[Placement]:
    """Yield every placement that fits the budget, fastest first; on a machine with a GPU its processor comes last."""
    work, rooms = work_of(spec, precision, shape), (room_of(budget), budget.host_bytes)
    devices: list[Device] = [budget.device] if budget.device == "cpu" else [budget.device, "cpu"]
    for device in devices:
        for row in _on(device, spec, precision, work):
            if spec.keyframes_at_once and row.offload not in ("none", "model"):
                continue  # engines of one pass are placed as a whole
            if row.peak_bytes <= (rooms[0] if device == budget.device else rooms[1]) and row.host_peak_bytes <= rooms[1]:
                yield row


def is_tried(placement: Placement, budget: Budget) -> bool:
    """Return whether the planner may choose this placement by itself."""
    return placement.offload not in LEVERS or placement.offload in budget.tried


def can_place(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> bool:
    """Return whether the device itself can hold the model in a way that has run on such a device."""
    return any(is_tried(row, budget) and row.device == budget.device for row in placements(spec, precision, shape, budget))


def room_of(budget: Budget) -> int:
    """Return the bytes of the device that weights and work may fill."""
    if budget.device != "cuda":
        return min(budget.device_bytes, budget.host_bytes)
    return budget.device_bytes - device_margin(budget.device_bytes)


def _on(device: Device, spec: ModelSpec, precision: str, work: Work) -> Iterator[Placement]:
    """Yield the placements of `spec` on a device, whether they fit or not, fastest first."""
    weights, vae = spec.bytes_at(precision), spec.component_bytes("vae", precision)
    staging = PROCESS_BYTES + spec.largest_component_bytes(precision)  # files are mapped, and copied part by part
    alone = one_part_bytes(spec, precision, work)
    if device != "cuda":  # one memory for both
        resident = weights + work.peak_bytes
        yield Placement(spec.name, device, "none", resident, resident + PROCESS_BYTES)
        yield Placement(spec.name, device, "phases", alone + vae, alone + vae + PROCESS_BYTES)
        return
    yield Placement(spec.name, device, "none", weights + work.peak_bytes, staging)
    yield Placement(spec.name, device, "model", alone, weights + PROCESS_BYTES)
    yield Placement(spec.name, device, "phases", alone + vae, staging)
    blocks = sum(count for count, _ in _transformer(spec).blocks)
    for resident in range(blocks - 1, -1, -1):
        peak = _streamed_bytes(spec, precision, work, resident)
        yield Placement(spec.name, device, "stream", peak, weights + PROCESS_BYTES, resident)


def one_part_bytes(spec: ModelSpec, precision: str, work: Work) -> int:
    """Return the peak of the device when one part at a time is on it, each with its own work."""
    core, most = _transformer(spec), 0
    for part in spec.components:
        if part is core:
            own = work.denoise_bytes
        elif part.folder == "vae":
            own = max(work.encode_bytes, work.decode_bytes)
        else:  # the work counted for encoding is the VAE's in video models, the text encoder's in others
            own = 0 if spec.makes_films else work.encode_bytes
        most = max(most, part.bytes_at(precision) + own)
    return most


def _streamed_bytes(spec: ModelSpec, precision: str, work: Work, resident: int) -> int:
    """Return the peak of the device when all but the first `resident` blocks stream, and encoders go layer by layer."""
    core, vae = _transformer(spec), spec.component_bytes("vae", precision)
    element = core.parameter_bytes(precision)
    sizes = [size * element for count, size in core.blocks for _ in range(count)]
    frame = core.bytes_at(precision) - sum(sizes)  # embeddings, norms, the last layer
    kept, moving = sum(sizes[:resident]), max(sizes[resident:], default=0) * BLOCKS_IN_FLIGHT
    others = [part for part in spec.components if part is not core and part.folder != "vae"]
    encoder = max((BLOCKS_IN_FLIGHT * part.leaf * part.parameter_bytes(precision) for part in others), default=0)
    return vae + max(
        frame + kept + moving + work.denoise_bytes, kept + encoder + work.encode_bytes, kept + frame + work.decode_bytes
    )


def _transformer(spec: ModelSpec) -> Component:
    """Return the part that denoises; of a model without one, its largest."""
    named = [part for part in spec.components if part.folder in ("transformer", "unet")]
    return named[0] if named else max(spec.components, key=lambda part: part.parameters)


def _refusal(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> str:
    """Return why nothing fits and what is the smallest change that would."""
    rows = [row for row in _on(budget.device, spec, precision, work_of(spec, precision, shape)) if is_tried(row, budget)]
    leanest = min(rows, key=lambda row: row.peak_bytes)
    kind = "device memory" if budget.device == "cuda" else "memory"
    if leanest.peak_bytes <= room_of(budget):  # then the host is too small for it
        leanest, kind = min(rows, key=lambda row: row.host_peak_bytes), "host memory"
        needed, there = leanest.host_peak_bytes, budget.host_bytes
    else:
        needed, there = leanest.peak_bytes, room_of(budget)
    return (
        f"{spec.name} needs {format_gib(needed)} of {kind} at {precision}; {budget.device_name} has {format_gib(there)} for it. "
        f"{_smallest_change(spec, precision, shape, budget)}"
    )


def _smallest_change(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> str:
    """Return, as an advice, the first change that fits: an untried lever, a smaller size, a smaller model."""
    untried = next((row for row in placements(spec, precision, shape, budget) if not is_tried(row, budget)), None)
    if untried is not None and untried.device == budget.device:
        return f"Streaming its blocks would take {format_gib(untried.peak_bytes)} but is untried on such a device: add --untried."
    sizes = (row for row in _smaller(spec, shape) if can_place(spec, precision, row, budget))
    fitting = next(sizes, None)
    if fitting is not None:
        return f"It fits at {fitting.width} × {fitting.height}."
    if shape.references and can_place(spec, precision, replace(shape, references=shape.references - 1), budget):
        return "It fits with one reference fewer."
    others = [row for row in MODELS.values() if row.family != "clip" and row.makes_films == spec.makes_films]
    for other in sorted(others, key=lambda row: -row.parameters):
        if other.parameters < spec.parameters and other.name != spec.name:
            size = replace(shape, width=min(shape.width, other.size_max), height=min(shape.height, other.size_max))
            if can_place(other, "fp32" if other.pocket else precision, size, budget):
                return f"The largest model that fits is {other.name}."
    return "Give it more memory: close other programs, or raise --vram."


def _smaller(spec: ModelSpec, shape: Shape) -> Iterator[Shape]:
    """Yield sizes of about the same proportions, each a little smaller than the one before."""
    step, long = spec.size_multiple, max(shape.width, shape.height)
    for side in range(long - step, 0, -step):
        width, height = (max(step, round(edge * side / long / step) * step) for edge in (shape.width, shape.height))
        if min(width, height) < min(SMALLEST_SIDE, shape.width, shape.height):
            return
        yield replace(shape, width=width, height=height)
