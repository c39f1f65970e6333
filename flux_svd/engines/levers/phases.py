"""Parts of a pipeline that take turns on the device: encode, denoise, decode. Knows no pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import nn

from flux_svd.engines.levers.masters import Masters
from flux_svd.engines.placement import engine_errors, free_memory
from flux_svd.errors import Phase


class Kept(Protocol):
    """How one part waits for its turn."""

    def enter(self) -> None:
        """Make the part ready to compute on the device."""

    def leave(self) -> None:
        """Give its memory there back."""


class Phases:
    """Which parts are on the device now. Saves: the device holds the parts of one phase instead of all.

    What is needed stays until another phase needs room, so pictures of one prompt don't reload the transformer between steps.
    """

    def __init__(self, kept: Mapping[str, Kept]) -> None:
        self._kept = kept
        self._present: set[str] = set()

    @property
    def present(self) -> frozenset[str]:
        return frozenset(self._present)

    def need(self, *names: str) -> None:
        """Make these parts ready, after all others have left. Names that are not kept here are ready anyway."""
        wanted = set(names) & set(self._kept)
        for name in sorted(self._present - wanted):
            self._kept[name].leave()
            self._present.remove(name)
        for name in sorted(wanted - self._present):
            self._present.add(name)  # also if it only half arrives: leaving then clears what did
            self._kept[name].enter()


class working(engine_errors):
    """As `engine_errors`; after an error every part waits again, so that the next piece of work begins as the first did."""

    def __init__(self, phases: Phases, phase: Phase, pipeline: Any | None = None) -> None:
        super().__init__(pipeline, phase)
        self._phases = phases

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        del trace  # it leads to frames, and through their closures to what filled the device
        if error is not None:
            self._phases.need()
        super().__exit__(kind, error, None)


class KeptInHost:
    """A part whose weights wait in host memory. Saves its bytes on the device; costs them, pinned, in host memory."""

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        self._masters = Masters(module, pinned=device.type == "cuda")

    def enter(self) -> None:
        self._masters.lend(self._masters.host.to(self._device, non_blocking=True, copy=True))

    def leave(self) -> None:
        self._masters.recall()


class KeptOnDisk:
    """A part that is read for its phase and forgotten after it. Saves its bytes everywhere; costs reading it each time."""

    def __init__(self, pipeline: Any, name: str, read: Callable[[], nn.Module]) -> None:
        self._pipeline, self._name, self._read = pipeline, name, read
        setattr(pipeline, name, None)

    def enter(self) -> None:
        setattr(self._pipeline, self._name, self._read())

    def leave(self) -> None:
        setattr(self._pipeline, self._name, None)
        free_memory()
