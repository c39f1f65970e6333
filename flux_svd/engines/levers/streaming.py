"""Blocks of transformers and layers of text encoders that visit the device one by one, the next on its way while one computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from flux_svd.engines.levers.masters import Masters

_SLOTS = 2  # one block computes, the next arrives


class Lane(Protocol):
    """The way from host memory into `_SLOTS` places on the device."""

    def send(self, slot: int, host: Tensor) -> None:
        """Begin to copy the block into a slot, as soon as what is in there has been computed."""

    def arrive(self, slot: int) -> Tensor:
        """Return the slot's memory; what is computed from now on waits until the block is in it."""

    def leave(self, slot: int) -> None:
        """Say that nothing after what was asked for up to now reads the slot."""

    def rest(self) -> None:
        """Give the slots' memory back until the next `send`."""


class CudaLane:
    """Copies on a stream of their own; events keep computing and copying apart. Written for CUDA; not yet run on it."""

    def __init__(self, device: torch.device, slot_bytes: int) -> None:
        self._device, self._bytes = device, slot_bytes
        cuda: Any = torch.cuda
        self._copies = cuda.Stream(device)
        self._ready = [cuda.Event() for _ in range(_SLOTS)]
        self._free = [cuda.Event() for _ in range(_SLOTS)]
        self._slots: list[Tensor] = []

    def send(self, slot: int, host: Tensor) -> None:
        if not self._slots:
            self._slots = [torch.empty(self._bytes, dtype=torch.uint8, device=self._device) for _ in range(_SLOTS)]
            self._copies.wait_stream(torch.cuda.current_stream(self._device))  # what had this memory before is done with it
        with torch.cuda.stream(self._copies):
            self._copies.wait_event(self._free[slot])
            self._slots[slot][: host.numel()].copy_(host, non_blocking=True)
            self._ready[slot].record(self._copies)

    def arrive(self, slot: int) -> Tensor:
        torch.cuda.current_stream(self._device).wait_event(self._ready[slot])
        return self._slots[slot]

    def leave(self, slot: int) -> None:
        self._free[slot].record(torch.cuda.current_stream(self._device))

    def rest(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._copies)  # a block still on its way must not outlive its slot
        self._slots = []


class StreamedBlocks:
    """A FLUX transformer of which only some blocks stay on the device.

    Saves the bytes of the streamed blocks, less two of the largest; costs them, pinned, in host memory, and a transfer a step
    that hides behind computing where that takes longer. The blocks that stay are spread evenly, so that each transfer has
    one of them to hide behind. Refuses weights that are not plain tensors, and devices that share the host's memory.
    """

    def __init__(self, transformer: Any, device: torch.device, resident: int, lane: Lane | None = None) -> None:
        """Place the transformer: `resident` blocks and all that is not a block on the device, the others in host memory.

        Args:
            lane: how blocks travel; a `CudaLane` if none is given.

        Raises:
            TypeError, OutOfMemory: as `Masters`.
        """
        blocks = [*transformer.transformer_blocks, *transformer.single_transformer_blocks]
        streamed = [block for n, block in enumerate(blocks) if not _stays(n, len(blocks), resident)]
        self._travellers = _Travellers(streamed, device, lane)
        travelling = {id(weight) for block in streamed for weight in (*block.parameters(), *block.buffers())}
        for weight in (*transformer.parameters(), *transformer.buffers()):
            if id(weight) not in travelling:
                weight.data = weight.data.to(device)

    def enter(self) -> None:
        """Nothing: the first block is sent when it is asked for."""

    def leave(self) -> None:
        """Give the memory of the two travelling blocks back until the next step."""
        self._travellers.rest()

    def remove(self) -> None:
        """Take the hooks off; the blocks compute where their masters are."""
        self._travellers.remove()


class StreamedLayers:
    """A text encoder whose layers visit the device one by one; what is not a layer is there while prompts are read.

    Saves all of its bytes but embeddings and two layers: 9.5 → 1.0 GB of T5-XXL, 34.7 → 3.6 GB of Mistral Small (counted, bf16).
    Costs its weights, pinned, in host memory, and no more transfer than to bring it whole. Refuses as `StreamedBlocks`.
    """

    def __init__(self, encoder: nn.Module, layers: Sequence[nn.Module], device: torch.device, lane: Lane | None = None) -> None:
        """Keep all of the encoder in host memory; the last two arguments as of `StreamedBlocks`.

        Raises:
            TypeError, OutOfMemory: as `Masters`.
        """
        self._device = device
        self._rest = Masters(encoder, pinned=device.type == "cuda", apart=layers)
        self._travellers = _Travellers(layers, device, lane)

    def enter(self) -> None:
        self._rest.lend(self._rest.host.to(self._device, non_blocking=True, copy=True))

    def leave(self) -> None:
        self._rest.recall()
        self._travellers.rest()


class _Travellers:
    """Modules that are called one after the other, each on the device only while it computes."""

    def __init__(self, modules: Sequence[nn.Module], device: torch.device, lane: Lane | None) -> None:
        self._masters = [Masters(module, pinned=device.type == "cuda") for module in modules]
        self._lane = lane or CudaLane(device, max((masters.bytes for masters in self._masters), default=0))
        self._sent: list[int | None] = [None] * _SLOTS
        self._hooks = [
            hook
            for index, module in enumerate(modules)
            for hook in (
                module.register_forward_pre_hook(lambda *_, at=index: self._before(at)),
                module.register_forward_hook(lambda *_, at=index: self._after(at), always_call=True),
            )
        ]

    def rest(self) -> None:
        """Give the memory on the device back until the next call."""
        self._sent = [None] * _SLOTS
        self._lane.rest()

    def remove(self) -> None:
        """Take the hooks off; the modules compute where their masters are."""
        for hook in self._hooks:
            hook.remove()
        self.rest()

    def _before(self, index: int) -> None:
        slot = index % _SLOTS
        if self._sent[slot] != index:
            self._send(index)
        self._masters[index].lend(self._lane.arrive(slot))
        following = (index + 1) % len(self._masters)
        if following % _SLOTS != slot:
            self._send(following)

    def _after(self, index: int) -> None:
        self._masters[index].recall()
        self._lane.leave(index % _SLOTS)

    def _send(self, index: int) -> None:
        if self._sent[index % _SLOTS] != index:
            self._lane.send(index % _SLOTS, self._masters[index].host)
            self._sent[index % _SLOTS] = index


def _stays(index: int, count: int, resident: int) -> bool:
    return (index + 1) * resident // count > index * resident // count


def placed_bytes(block_bytes: list[int], other_bytes: int, resident: int) -> int:
    """Return the bytes on the device of a transformer of which `resident` blocks stay and the others are streamed."""
    count = len(block_bytes)
    staying = [size for n, size in enumerate(block_bytes) if _stays(n, count, resident)]
    moving = [size for n, size in enumerate(block_bytes) if not _stays(n, count, resident)]
    return other_bytes + sum(staying) + _SLOTS * max(moving, default=0)
