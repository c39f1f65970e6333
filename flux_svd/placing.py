"""budget × model × shape → placements, best first, and what to change where none fits; pure arithmetic. Loads nothing.

Of the ways in `ways.py` those that change pixels come after all that do not, and only where that is allowed; the processor of a
machine with a GPU, P8, is last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.errors import DoesNotFit
from flux_svd.memory import Budget, Device, Placement, Shape, device_margin, format_gib, work_of
from flux_svd.storing import KINDS, LOWERED, install_command
from flux_svd.ways import ways_on

LEVERS = frozenset({"stream", "fold", *LOWERED})  # ways to hold a model that need a recorded run before the planner takes them
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
        smaller = row.lowered and not last.lowered  # its steps take less, also where decoding takes the most of both
        if row.device == last.device and row.peak_bytes >= last.peak_bytes + smaller:
            continue
        if row.offload == last.offload == "stream" and row.resident_blocks > last.resident_blocks // 2:
            continue  # as many blocks as fit, then ever half as many
        if row.device == last.device and last.offload == "stream" != row.offload:
            continue  # a whole transformer in fp8 takes more of the device than two blocks in bf16
        left.append(row)
        last = row
    return tuple(left)


def placements(
    spec: ModelSpec, precision: str, shape: Shape, budget: Budget, levers: frozenset[str] = LEVERS
) -> Iterator[Placement]:
    """Yield every placement with these levers that fits the budget, fastest first; the processor of a GPU's machine is last."""
    work, rooms = work_of(spec, precision, shape), (room_of(budget), budget.host_bytes)
    devices: list[Device] = [budget.device] if budget.device == "cpu" else [budget.device, "cpu"]
    for device in devices:
        for row in ways_on(device, spec, precision, work, _allowed(levers, budget)):
            if spec.keyframes_at_once and row.offload not in ("none", "model"):
                continue  # engines of one pass are placed as a whole
            if row.peak_bytes <= (rooms[0] if device == budget.device else rooms[1]) and row.host_peak_bytes <= rooms[1]:
                yield row


def is_tried(placement: Placement, budget: Budget) -> bool:
    """Return whether the planner may choose this placement by itself."""
    return levers_of(placement) - {"gguf"} <= budget.tried  # who gives such a file asks for it


def levers_of(placement: Placement) -> frozenset[str]:
    """Return the levers a placement pulls."""
    streams, folds = placement.offload == "stream", placement.fold_modulation
    return frozenset({"stream" if streams else "", "fold" if folds else "", placement.stored}) - {""}


def can_place(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> bool:
    """Return whether the device itself can hold the model in a way that has run on such a device."""
    return any(row.device == budget.device for row in placements(spec, precision, shape, budget, budget.tried))


def room_of(budget: Budget) -> int:
    """Return the bytes of the device that weights and work may fill."""
    if budget.device != "cuda":
        return min(budget.device_bytes, budget.host_bytes)
    return budget.device_bytes - device_margin(budget.device_bytes)


def _allowed(levers: frozenset[str], budget: Budget) -> frozenset[str]:
    """Return those of the levers that may be pulled: with consent where pixels change, with their library installed."""
    return levers - set(LOWERED) | ((levers & budget.installed) if budget.lower_precision else frozenset())


def _refusal(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> str:
    """Return why nothing fits and what is the smallest change that would."""
    rows = list(ways_on(budget.device, spec, precision, work_of(spec, precision, shape), _allowed(budget.tried, budget)))
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
    """Return, as an advice, each change that fits: a smaller size, an untried lever, one with consent; else a smaller model."""
    advice = []
    smaller = next((row for row in _smaller(spec, shape) if can_place(spec, precision, row, budget)), None)
    if smaller is not None:
        advice.append(f"It fits at {smaller.width} × {smaller.height}.")
    untried = next((row for row in placements(spec, precision, shape, budget) if not is_tried(row, budget)), None)
    if untried is not None and untried.device == budget.device:
        needed = format_gib(untried.peak_bytes)
        advice.append(f"With {_how(untried)} it takes {needed}, but that is untried on such a device: add --untried.")
    for installed in (budget.installed, frozenset(KINDS)):
        consenting = placements(spec, precision, shape, replace(budget, lower_precision=True, installed=installed))
        lowered = next((row for row in consenting if row.lowered and row.device == budget.device), None)
        if lowered is not None and not (budget.lower_precision and lowered.stored in budget.installed):
            tried = "" if is_tried(lowered, budget) else " --untried"
            first = "" if lowered.stored in budget.installed else f"{install_command(lowered.stored)}, then "
            advice.append(
                f"With consent to slightly other pixels, by {_how(lowered)}, it takes {format_gib(lowered.peak_bytes)}"
                f"{', untried on such a device' if tried else ''}: {first}add --consent{tried}."
            )
            break
    if advice:
        return " ".join(advice)
    if shape.references and can_place(spec, precision, replace(shape, references=shape.references - 1), budget):
        return "It fits with one reference fewer."
    others = [row for row in MODELS.values() if row.family != "clip" and row.makes_films == spec.makes_films]
    for other in sorted(others, key=lambda row: -row.parameters):
        if other.parameters < spec.parameters and other.name != spec.name:
            size = replace(shape, width=min(shape.width, other.size_max), height=min(shape.height, other.size_max))
            if can_place(other, "fp32" if other.pocket else precision, size, budget):
                return f"The largest model that fits is {other.name}."
    return "Give it more memory: close other programs, or raise --vram."


def _how(placed: Placement) -> str:
    """Return the levers of a placement in words."""
    ways: dict[str, str] = {
        "stream": "streaming its blocks", "fold": "computing its modulation once",
        **{kind: f"keeping its transformer's weights in {kind}" for kind in KINDS},
    }  # fmt: skip
    return " and ".join(way for lever, way in ways.items() if lever in levers_of(placed))


def _smaller(spec: ModelSpec, shape: Shape) -> Iterator[Shape]:
    """Yield sizes of about the same proportions, each a little smaller than the one before."""
    step, long = spec.size_multiple, max(shape.width, shape.height)
    for side in range(long - step, 0, -step):
        width, height = (max(step, round(edge * side / long / step) * step) for edge in (shape.width, shape.height))
        if min(width, height) < min(SMALLEST_SIDE, shape.width, shape.height):
            return
        yield replace(shape, width=width, height=height)
