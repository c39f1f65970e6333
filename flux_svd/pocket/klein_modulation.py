"""The modulations of several old blocks as one of the time alone: what pocket-klein shares, and what goes into each layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flux_svd.pocket.klein_lessons import CODE

OLD = 192  # channels of pocket-flux
TIMED = 16  # channels that carry functions of the time; the first is one
WIDTH = OLD + CODE + TIMED
HEADS, OLD_HEAD, HEAD = 4, 48, 56
CODE_SIZE, WORDS_CODE_SIZE = 2.0, 8.0  # of the code in the states of picture and words, whose own channels are about as large


class Group:
    """The modulations of several old blocks as one modulation of the time, and what is folded into each block's layers.

    `parts` is (shift, scale, gate) × (blocks, times, 192) without words; `told` the same by the code, (blocks, 192, CODE).
    """

    def __init__(self, parts: Sequence[Tensor], told: Sequence[Tensor], deviation: Tensor, code_size: float) -> None:
        self.shifts, self.told_shifts, self.told_gates, self.gates = parts[0], told[0], told[2], parts[2]
        self.code_size = code_size
        self.wide = ((OLD * deviation**2 + CODE * 0.7 * code_size**2) / WIDTH).sqrt()  # (blocks,), of all channels
        self.stretch = (self.wide / deviation).view(-1, 1)
        self.scale_of, self.scale = _separated(1 + parts[1])  # (blocks, 192), (times, 192)
        self.gate_of, self.gate = _separated(parts[2])
        self.reads = self.scale_of * self.stretch
        self.shift = (self.shifts * self.reads.unsqueeze(1)).sum(0) / (self.reads.pow(2).sum(0) + 0.1)  # (times, 192)
        self._rests: list[Tensor] = []

    def read(self, block: int, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the new weight (out, WIDTH) of a layer of `block`; its last columns are filled by `finish`."""
        new = weight.new_zeros(len(weight), WIDTH)
        new[:, :OLD] = weight * self.reads[block]
        new[:, OLD : OLD + CODE] = weight @ self.told_shifts[block] * self.wide[block] / self.code_size
        self._rests.append(self.shifts[block] @ weight.T + bias - self.shift @ new[:, :OLD].T)  # (times, out)
        return new

    def finish(self, news: Sequence[Tensor]) -> Tensor:
        """Fill the last columns of what `read` gave, and return the functions of the time (times, TIMED) they read."""
        rests = torch.cat(self._rests, dim=1)
        _, size, right = torch.linalg.svd((rests - rests.mean(0)).T, full_matrices=False)
        large = (size / size[0] * len(rests) ** 0.5).unsqueeze(1)  # the later ones tell little, and need not be met as well
        times = torch.cat([torch.ones(1, len(rests)), (right * large)[: TIMED - 1]]).T
        for new, rest in zip(news, self._rests, strict=True):
            new[:, OLD + CODE :] = torch.linalg.lstsq(times, rest).solution.T
        return times

    def modulation(self, times: Tensor) -> Tensor:
        """Return the new shift, scale and gate (times, 3 · WIDTH)."""
        n = len(times)
        code, one = torch.zeros(n, CODE), torch.ones(n, CODE)
        return torch.cat(
            [
                *(self.shift, code, times),
                *(self.scale - 1, code, -torch.ones(n, TIMED)),
                *(self.gate, one, torch.zeros(n, TIMED)),
            ],
            dim=1,
        )


def _separated(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return (blocks, channels) and (times, channels) whose products come nearest to `values` (blocks, times, channels)."""
    left, size, right = torch.linalg.svd(values.permute(2, 0, 1), full_matrices=False)
    by_block = left[:, :, 0]
    unit = by_block.pow(2).mean(1, keepdim=True).sqrt() * by_block.sum(1, keepdim=True).sign()
    return (by_block / unit).T, (right[:, 0] * size[:, :1] * unit).T
