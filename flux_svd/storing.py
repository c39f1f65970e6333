"""Kinds of weights smaller than the published ones: what each takes, and which optional library holds it. Loads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

Stored = Literal["", "fp8", "int8", "nf4", "gguf"]


@dataclass(frozen=True)
class Kind:
    """How a transformer's weights are kept.

    Attributes:
        parameter_bytes: of the whole transformer, for each of its parameters; 0.0 where they are counted another way.
        library: what must be installed, by the extra of that name; "" is nothing.
    """

    parameter_bytes: float = 0.0
    library: str = ""
    extra: str = ""


KINDS: dict[Stored, Kind] = {
    "fp8": Kind(),  # `Component.wide` counts it
    # torchao 0.18, Int8WeightOnlyConfig: a byte a weight and a scale for each row of every linear layer
    "int8": Kind(1.002, "torchao", "quant-int8"),
    # arXiv:2305.14314, section 3: 4 bits a weight and a 32-bit constant for each block of 64, here not quantised again
    "nf4": Kind(0.5635, "bitsandbytes", "quant-nf4"),
    "gguf": Kind(0.0, "gguf", "gguf"),  # the file's own bytes
}
# Made of the published weights, higher precision first; pixels change.
LOWERED: tuple[Literal["fp8", "int8", "nf4"], ...] = ("fp8", "int8", "nf4")
BY_LIBRARY: tuple[Stored, ...] = ("int8", "nf4")  # those a library makes while it reads; no plain tensors, so never streamed


def installed_kinds() -> frozenset[Stored]:
    """Return the kinds that can be held here."""
    return frozenset(name for name, kind in KINDS.items() if not kind.library or find_spec(kind.library) is not None)


def install_command(kind: Stored) -> str:
    return f"pip install 'flux-svd[{KINDS[kind].extra}]'"
