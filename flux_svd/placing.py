"""budget × model × shape → placements, best first, and what to change where none fits; pure arithmetic. Loads nothing.

Of the ways in `ways.py` those that change pixels come after all that do not, and only where that is allowed; the processor of a
machine with a GPU, P8, is last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flux_svd.catalog import AUTO_IMAGE, AUTO_VIDEO, MODELS, ModelSpec
from flux_svd.errors import DoesNotFit, InvalidRequest
from flux_svd.memory import GIB, Budget, Device, Placement, Shape, device_margin, format_gib, work_of
from flux_svd.storing import KINDS, LOWERED, install_command
from flux_svd.ways import ways_on

LEVERS = frozenset({"stream", "fold", *LOWERED})  # ways to hold a model that need a recorded run before the planner takes them
_TENTH = GIB // 10
SMALLEST_SIDE = 256  # pixels; pictures below that are of no use with the large models


def place(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> Placement:
    """Return the fastest placement of `spec` that fits the budget, among those that have run on such a device.

    The processor of a machine with a GPU is taken only where no lever, tried or not, brings the model onto the GPU.

    Raises:
        DoesNotFit: none fits; the message names what is needed, what is there and the smallest change that would fit.
        InvalidRequest: the device holds the model only in ways that compiled blocks do not go with.
    """
    if budget.compiled:
        _check_compiled(spec, precision, shape, budget)
    placed = _fastest(spec, precision, shape, budget)
    if placed is None:
        raise DoesNotFit(_refusal(spec, precision, shape, budget))
    return placed


def fallbacks(placed: Placement, spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> tuple[Placement, ...]:
    """Return what is left to do when `placed` runs out of memory, in order; each keeps less of the model on the device.

    A lever without a recorded run is among them, after those that have one: when a plan has failed already, trying is better
    than giving up. What changes pixels comes after all that does not, and the processor last.
    """
    left, last = [], placed
    rows = placements(spec, precision, shape, budget)
    for row in sorted(rows, key=lambda row: (row.device != budget.device, row.lowered, not is_tried(row, budget))):
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
    rooms = room_of(budget), budget.host_bytes
    devices: list[Device] = [budget.device] if budget.device == "cpu" else [budget.device, "cpu"]
    for device in devices:
        for row in _rows(device, spec, precision, shape, budget, levers):
            if row.peak_bytes <= (rooms[0] if device == budget.device else rooms[1]) and row.host_peak_bytes <= rooms[1]:
                yield row


def _rows(
    device: Device, spec: ModelSpec, precision: str, shape: Shape, budget: Budget, levers: frozenset[str]
) -> Iterator[Placement]:
    """Yield the placements on a device with those of the levers that may be pulled, whether they fit or not."""
    for row in ways_on(device, spec, precision, work_of(spec, precision, shape), _allowed(levers, budget)):
        if spec.keyframes_at_once and row.offload not in ("none", "model"):
            continue  # engines of one pass are placed as a whole
        if not budget.compiled or goes_with_compiled(row):
            yield row


def _check_compiled(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> None:
    """Check that compiling does not keep the model off the device."""
    first = next(placements(spec, precision, shape, budget), None)
    best = next(placements(spec, precision, shape, replace(budget, compiled=False)), None)
    if best is None or (first is not None and first.device == best.device):
        return
    smaller = _fitting_size(spec, precision, shape, budget)
    raise InvalidRequest(
        "compiled", True,
        f"not where {spec.name} fits {budget.device_name} only by {_how(best)}: leave it out"
        + (f", or draw {smaller.width} × {smaller.height}" if smaller else ", or take a smaller model"),
    )


def goes_with_compiled(placement: Placement) -> bool:
    """Return whether the blocks of a model that is placed so can be compiled: whole ones, as published or in fp8."""
    return placement.offload != "stream" and not placement.fold_modulation and placement.stored in ("", "fp8")


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


def _fastest(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> Placement | None:
    fitting = list(placements(spec, precision, shape, budget))
    return next((row for row in fitting if is_tried(row, budget) and row.device == fitting[0].device), None)


def _allowed(levers: frozenset[str], budget: Budget) -> frozenset[str]:
    """Return those of the levers that may be pulled: with consent where pixels change, with their library installed."""
    return levers - set(LOWERED) | ((levers & budget.installed) if budget.lower_precision else frozenset())


def _refusal(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> str:
    """Return why nothing fits and what is the smallest change that would.

    Of the ways whose device is large enough the one that takes the least of the host tells what is missing; where there is
    none, the one that takes the least of the device.
    """
    rows, room = list(_rows(budget.device, spec, precision, shape, budget, budget.tried)), room_of(budget)
    on_device = [row for row in rows if row.peak_bytes <= room]
    if on_device:
        kind, needed, there = "host memory", min(row.host_peak_bytes for row in on_device), budget.host_bytes
    else:
        kind = "device memory" if budget.device == "cuda" else "memory"
        needed, there = min(row.peak_bytes for row in rows), room
    return (
        f"{spec.name} needs {_at_least(needed)} of {kind} at {precision}; {budget.device_name} has {_at_most(there)} for it. "
        f"{_smallest_change(spec, precision, shape, budget)}"
    )


def _at_least(amount: int) -> str:
    """Return an amount rounded up, so that what is needed never looks like what is there."""
    return format_gib(-(-amount // _TENTH) * _TENTH)


def _at_most(amount: int) -> str:
    return format_gib(max(0, amount // _TENTH) * _TENTH)


def _smallest_change(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> str:
    """Return, as an advice, each change that fits: a smaller size, an untried lever, one with consent; else another model."""
    advice = []
    smaller = _fitting_size(spec, precision, shape, budget)
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
    for other in (MODELS[name] for name in (AUTO_VIDEO if spec.makes_films else AUTO_IMAGE) if name != spec.name):
        most = other.size if spec.makes_films else (other.size_max, other.size_max)
        size = replace(shape, width=min(shape.width, most[0]), height=min(shape.height, most[1]))
        size = replace(size, decode_chunk=min(size.decode_chunk, 1))  # none of these has to decode a film at once
        if _fastest(other, "fp32" if other.pocket else precision, size, budget) is not None:
            return f"The best model that fits is {other.name}."
    return "Give it more memory: close other programs, or raise --vram."


def _how(placed: Placement) -> str:
    """Return the levers of a placement in words."""
    ways: dict[str, str] = {
        "stream": "streaming its blocks", "fold": "computing its modulation once",
        **{kind: f"keeping its transformer's weights in {kind}" for kind in KINDS},
    }  # fmt: skip
    return " and ".join(way for lever, way in ways.items() if lever in levers_of(placed))


def _fitting_size(spec: ModelSpec, precision: str, shape: Shape, budget: Budget) -> Shape | None:
    """Return the largest smaller size that fits, of about the same proportions; None where none does."""
    return next((row for row in _smaller(spec, shape) if can_place(spec, precision, row, budget)), None)


def _smaller(spec: ModelSpec, shape: Shape) -> Iterator[Shape]:
    """Yield sizes of about the same proportions, each a little smaller than the one before."""
    step, long = spec.size_multiple, max(shape.width, shape.height)
    for side in range(long - step, 0, -step):
        width, height = (max(step, round(edge * side / long / step) * step) for edge in (shape.width, shape.height))
        if min(width, height) < min(SMALLEST_SIDE, shape.width, shape.height):
            return
        yield replace(shape, width=width, height=height)
