"""Amounts of memory: what a machine offers, what a placement promises, what work takes. Knows no device and loads nothing.

Weights are exact (parameter counts × bytes) and so is what live tensors take (counted on meta-device builds). What libraries
add to that is an allowance until it is measured on a GPU; `device_margin` is kept free beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flux_svd.catalog import BYTES_PER_PARAMETER, ModelSpec
from flux_svd.errors import InvalidRequest
from flux_svd.storing import LOWERED, Stored

GIB = 2**30
Device = Literal["cuda", "mps", "cpu"]
Offload = Literal["none", "model", "phases", "stream"]


@dataclass(frozen=True)
class Budget:
    """What a plan may use.

    Attributes:
        device: where the work runs; `device_name` as its maker calls it.
        device_bytes: memory of that device; on cpu and mps the same memory as the host's.
        host_bytes: RAM the program may use.
        disk_bytes: free bytes where results and stages are written.
        bf16: whether the device computes in bfloat16 by itself.
        tried: levers (ways to place a model that are more than loading it) that have run on this device, or that the user
            allowed untried.
        lower_precision: whether what is planned for may change pixels slightly so that it fits.
        compiled: whether what is planned for is compiled first, with which not every way to hold a model goes.
        installed: kinds of smaller weights whose library is installed; fp8 needs none.
    """

    device: Device
    device_name: str
    device_bytes: int
    host_bytes: int
    disk_bytes: int
    bf16: bool = True
    tried: frozenset[str] = frozenset()
    lower_precision: bool = False
    compiled: bool = False
    installed: frozenset[Stored] = frozenset({"fp8"})


@dataclass(frozen=True)
class Placement:
    """Where and how one model runs; free to change without changing pixels, save for `stored`.

    Attributes:
        offload: "none": all of it stays on the device. "model": its parts wait in host memory and visit the device one by
            one. "phases": its parts wait on the disk and visit memory one by one. "stream": blocks of its transformer
            and layers of its text encoders visit the device one by one, copied while the one before computes.
        peak_bytes: predicted peak on the device; `host_peak_bytes`: in host memory, which on cpu and mps includes the first.
        resident_blocks: how many blocks stay on the device when the others stream.
        fold_modulation: FLUX.1's adaptive norms are computed once for all steps, and their weights wait in host memory.
        decode_on_cpu: the VAE decodes on the processor, whatever device denoises.
        stored: how the transformer's weights are kept, where not as all others; the recipe says the same, by its precision
            or by the file of its transformer.
    """

    model: str
    device: Device
    offload: Offload
    peak_bytes: int
    host_peak_bytes: int
    resident_blocks: int = 0
    fold_modulation: bool = False
    decode_on_cpu: bool = False
    stored: Stored = ""

    @property
    def lowered(self) -> bool:
        """Whether weights are kept smaller than they are published, for which the request must consent."""
        return self.stored in LOWERED

    @property
    def rung(self) -> str:
        """Name of the plan it belongs to, from fast to small."""
        if self.device == "cpu":
            return "P8"
        unified = self.device == "mps"
        if self.stored in ("nf4", "gguf") and self.offload != "phases":
            return "P5"
        if self.stored and self.offload != "phases":
            return "P4" if self.stored == "fp8" and self.offload == "stream" else "P2"
        return {"none": "P0", "model": "P1", "phases": "P1" if unified else "P7", "stream": "P3"}[self.offload]


@dataclass(frozen=True)
class Shape:
    """What of a wish decides how much memory its work takes.

    Attributes:
        width, height: pixels.
        references: pictures to work from.
        tile: pixels of a side of the parts the VAE decodes; 0 decodes the whole picture at once.
        frames: of a transition, 0 for a picture; `decode_chunk`: frames decoded together.
    """

    width: int
    height: int
    references: int = 0
    tile: int = 0
    frames: int = 0
    decode_chunk: int = 1


@dataclass(frozen=True)
class Work:
    """Working memory of one model beside its weights, phase by phase, in bytes."""

    encode_bytes: int = 0
    denoise_bytes: int = 0
    decode_bytes: int = 0

    @property
    def peak_bytes(self) -> int:
        return max(self.encode_bytes, self.denoise_bytes, self.decode_bytes)


def device_margin(device_bytes: int) -> int:
    """Return bytes kept free on a GPU: the CUDA context, fragmentation and the screen.

    max(0.8 GiB, 5 %) plus 0.4 GiB; an allowance, to be replaced by measurements.
    """
    return int(max(0.8 * GIB, 0.05 * device_bytes) + 0.4 * GIB)


PROCESS_BYTES = int(1.5 * GIB)  # python, torch and diffusers imported: 1.0 GB resident was measured on Linux, CPU, 2026-11-20


STEP_ALLOWANCE = 1.1  # workspaces and fragmentation on top of live tensors while denoising; not yet measured on a GPU
DECODE_ALLOWANCE = 1.75  # the same in the VAE: 1.5 GiB of live tensors for 1024² against a published 2.5 to 4.7 GB reserved
ENCODE_BYTES = GIB * 3 // 10  # of a text encoder: 0.11 to 0.19 GB of live tensors counted for Qwen3-4B, Qwen3-8B and T5-XXL
PIXELS_PER_TOKEN = 16 * 16


def work_of(spec: ModelSpec, precision: str, shape: Shape) -> Work:
    """Return what `spec` takes beside its weights to make something of this shape."""
    element = BYTES_PER_PARAMETER[precision]
    pixels, halves = shape.width * shape.height, element / 2  # the catalogue counts at two bytes an element
    if spec.makes_films:
        # The VAE encodes in float32 whatever the rest computes in: half precision overflows there.
        widened = sum(part.bytes_at("fp32") - part.bytes_at(precision) for part in spec.components if part.folder == "vae")
        encode = int(DECODE_ALLOWANCE * spec.work.encode * pixels * 2) + widened
        denoise = int(STEP_ALLOWANCE * spec.work.step * pixels * shape.frames * halves)
        return Work(encode, denoise, int(DECODE_ALLOWANCE * spec.work.decode * pixels * shape.decode_chunk * halves))
    tokens = pixels // PIXELS_PER_TOKEN + spec.prompt_tokens + shape.references * reference_tokens(spec)
    at_once = min(pixels, shape.tile**2) if shape.tile else pixels
    whole = 2 * 3 * element * (pixels - at_once)  # what is decoded of the whole picture, and its copy while tiles are joined
    reading = spec.reference_pixels * spec.work.encode if shape.references else 0
    encode = spec.bytes_at("fp32") if spec.pocket else ENCODE_BYTES
    return Work(
        max(encode, int(DECODE_ALLOWANCE * reading * halves)),
        int(STEP_ALLOWANCE * spec.work.step * tokens * halves),
        int(DECODE_ALLOWANCE * spec.work.decode * at_once * halves) + whole,
    )


def reference_tokens(spec: ModelSpec) -> int:
    """Return how many tokens of a reference picture are looked at, at most."""
    return spec.reference_pixels // PIXELS_PER_TOKEN


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
