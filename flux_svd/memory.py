"""What fits where: budget × model × size → a placement, by pure arithmetic. Knows no device and loads nothing.

Weights are exact (parameter counts × bytes). Working memory is an estimate until it is measured on
a GPU; `device_margin` is kept free beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flux_svd.catalog import ModelSpec
from flux_svd.errors import DoesNotFit, InvalidRequest

GIB = 2**30
Device = Literal["cuda", "mps", "cpu"]
Offload = Literal["none", "model"]


@dataclass(frozen=True)
class Budget:
    """What a plan may use.

    Attributes:
        device: where the work runs; `device_name` as its maker calls it.
        device_bytes: memory of that device; on cpu and mps the same memory as the host's.
        host_bytes: RAM the program may use.
        disk_bytes: free bytes where results and stages are written.
        bf16: whether the device computes in bfloat16.
    """

    device: Device
    device_name: str
    device_bytes: int
    host_bytes: int
    disk_bytes: int
    bf16: bool = True


@dataclass(frozen=True)
class Placement:
    """Where and how one model runs; free to change without changing pixels.

    Attributes:
        offload: "model" keeps each component in host memory until it is needed.
        peak_bytes: predicted peak on the device; `host_peak_bytes`: in host memory, which on cpu and mps includes the first.
    """

    model: str
    device: Device
    offload: Offload
    peak_bytes: int
    host_peak_bytes: int


@dataclass(frozen=True)
class Work:
    """Working memory of one model beside its weights: while it denoises, and while its VAE decodes."""

    denoise_bytes: int
    decode_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        return max(self.denoise_bytes, self.decode_bytes)


def place(spec: ModelSpec, precision: str, work: Work, budget: Budget) -> Placement:
    """Return the fastest placement of `spec` that fits the budget: resident, else model offload.

    Raises:
        DoesNotFit: neither fits; the message names what is needed and what is there.
    """
    weights, largest = spec.bytes_at(precision), spec.largest_component_bytes(precision)
    resident = weights + work.peak_bytes
    if budget.device != "cuda":
        peak = resident + PROCESS_BYTES
        if peak <= budget.host_bytes:
            return Placement(spec.name, budget.device, "none", resident, peak)
        raise _does_not_fit(spec, precision, peak, budget.host_bytes, budget)
    room = budget.device_bytes - device_margin(budget.device_bytes)
    staging = PROCESS_BYTES + largest  # safetensors are mapped and copied part by part while loading
    if resident <= room and staging <= budget.host_bytes:
        return Placement(spec.name, "cuda", "none", resident, staging)
    # one part at a time: the VAE is alone while it decodes
    one_part = max(largest + work.denoise_bytes, spec.component_bytes("vae", precision) + work.decode_bytes)
    if one_part <= room and weights + PROCESS_BYTES <= budget.host_bytes:
        return Placement(spec.name, "cuda", "model", one_part, weights + PROCESS_BYTES)
    if one_part > room:
        raise _does_not_fit(spec, precision, one_part, room, budget)
    raise _does_not_fit(spec, precision, weights + PROCESS_BYTES, budget.host_bytes, budget, of="host memory")


def device_margin(device_bytes: int) -> int:
    """Return bytes kept free on a GPU: the CUDA context, fragmentation and the screen.

    max(0.8 GiB, 5 %) plus 0.4 GiB; an allowance, to be replaced by measurements.
    """
    return int(max(0.8 * GIB, 0.05 * device_bytes) + 0.4 * GIB)


PROCESS_BYTES = int(1.5 * GIB)  # python, torch and diffusers imported: 1.0 GB resident was measured on Linux, CPU, 2026-11-20


def image_work(width: int, height: int, references: int, tiled: bool, element_bytes: int) -> Work:
    """Return the estimated working memory of drawing one picture.

    At 1024² and two bytes an element: 0.5 GiB to denoise, as much again for each reference; 4 GiB to decode, a quarter of it
    in tiles. Estimates, not yet measured on a GPU; published figures for decoding lie between 2.5 and 4.7 GiB.
    """
    pixels = width * height
    denoise = int(0.5 * GIB * pixels / 2**20 * (1 + references))
    decode = int(4.0 * GIB * pixels / 2**20 * (0.25 if tiled else 1.0))
    return Work(denoise * element_bytes // 2, decode * element_bytes // 2)


def film_work(width: int, height: int, frames: int, decode_chunk: int, element_bytes: int) -> Work:
    """Return the estimated working memory of one transition.

    Denoising 25 frames of 1024×576 with both branches: about 7 GiB; decoding: about 1.3 GiB a frame of the chunk. Estimates,
    not yet measured on a GPU.
    """
    scale = width * height / (1024 * 576) * element_bytes / 2
    return Work(int(7.0 * GIB * frames / 25 * scale), int(1.3 * GIB * decode_chunk * scale))


def parse_bytes(text: str, *, field: str = "vram") -> int:
    """Return the bytes in "12GB", "12 GiB", "800MB" or "12" (GiB; GB means GiB here, as cards are sold).

    Raises:
        InvalidRequest: the text is not such an amount.
    """
    cleaned = text.strip().lower().replace(" ", "")
    for unit, factor in (("gib", GIB), ("gb", GIB), ("g", GIB), ("mib", 2**20), ("mb", 2**20), ("m", 2**20), ("", GIB)):
        number = cleaned.removesuffix(unit) if unit else cleaned
        if cleaned.endswith(unit) and number.replace(".", "", 1).isdigit():
            amount = int(float(number) * factor)
            if 2**28 <= amount <= 2**42:
                return amount
            break
    raise InvalidRequest(field, text, "an amount from 256MB to 4096GB, such as 12GB")


def format_gib(amount: int) -> str:
    return f"{amount / GIB:.1f} GiB" if amount >= GIB // 10 else f"{amount / 2**20:.0f} MiB"


def _does_not_fit(
    spec: ModelSpec, precision: str, needed: int, there: int, budget: Budget, of: str = ""
) -> DoesNotFit:
    where = of or ("memory" if budget.device != "cuda" else "device memory")
    return DoesNotFit(
        f"{spec.name} needs {format_gib(needed)} of {where} at {precision}; {budget.device_name} has {format_gib(there)} "
        "for it. Try a smaller size, or a smaller model such as flux2-klein-4b or pocket-flux."
    )
