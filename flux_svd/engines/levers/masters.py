"""Weights of a module kept in host memory while copies of them visit a device. Nothing is ever copied back."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from flux_svd.errors import OutOfMemory

_ALIGNMENT = 256  # bytes, as CUDA aligns its own allocations; CPU kernels round differently at odd addresses


class Masters:
    """All parameters and buffers of a module as one block of host memory, so that they travel in one copy.

    Saves the copy back to the host that moving a module makes, and half of what is left by pinning. Refuses weights that are
    not plain tensors (quantised ones).
    """

    def __init__(self, module: nn.Module, *, pinned: bool, apart: Iterable[nn.Module] = ()) -> None:
        """Move the module's weights into the block; they keep their values.

        Args:
            apart: modules within it whose weights are not moved.

        Raises:
            OutOfMemory: host memory cannot be pinned.
            TypeError: a weight is not a plain tensor.
        """
        left_out = {id(tensor) for part in apart for tensor in (*part.parameters(), *part.buffers())}
        every = (*module.parameters(), *module.buffers())  # each once, also where two names share it
        self._tensors = [tensor for tensor in every if id(tensor) not in left_out]
        offsets, end = [], 0
        for tensor in self._tensors:
            if type(tensor.data) is not Tensor:
                raise TypeError(f"{type(tensor.data).__name__}: only plain tensors can be kept as masters")
            offsets.append(end)
            end += -(-tensor.numel() * tensor.element_size() // _ALIGNMENT) * _ALIGNMENT
        self._layout = [
            (at, tensor.numel() * tensor.element_size(), tensor.dtype, tensor.shape)
            for at, tensor in zip(offsets, self._tensors, strict=True)
        ]
        self.host = torch.empty(end, dtype=torch.uint8)
        for tensor, kept in zip(self._tensors, self._views(self.host), strict=True):
            kept.copy_(tensor.data)
            tensor.data = kept
        if pinned:
            _pin(self)

    @property
    def bytes(self) -> int:
        return self.host.numel()

    def lend(self, copy: Tensor) -> None:
        """Let the module compute on `copy`: the same bytes as `host`, elsewhere; it may be longer."""
        for tensor, view in zip(self._tensors, self._views(copy), strict=True):
            tensor.data = view

    def recall(self) -> None:
        """Give the module its masters again; what it computed on is free."""
        self.lend(self.host)

    def _views(self, block: Tensor) -> list[Tensor]:
        return [block[at : at + size].view(dtype).view(shape) for at, size, dtype, shape in self._layout]


def _pin(masters: Masters) -> None:
    """Pin the block where it lies: torch's own pinned allocator would round each up to a power of two."""
    cuda: Any = torch.cuda
    runtime = cuda.cudart()
    address = masters.host.data_ptr()
    if masters.host.numel() == 0:
        return
    if int(runtime.cudaHostRegister(address, masters.host.numel(), 0)) != 0:
        raise OutOfMemory(f"{masters.host.numel()} bytes of host memory could not be pinned; plan without pinned masters")
    weakref.finalize(masters, runtime.cudaHostUnregister, address)
