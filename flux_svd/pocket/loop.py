"""The training loop of every pocket model: schedule, moving average, atomic checkpoints, progress; knows no model."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Task(Protocol):
    """What a pocket model brings to the loop."""

    name: str
    modules: dict[str, nn.Module]  # the trained ones
    learning_rate: float
    average: float  # decay of the moving average of weights, per step
    matrices: Sequence[nn.Parameter]  # trained by Muon, (out, in, …); all others by AdamW

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the loss of one fresh batch; `done` is the share of the training that is over, 0..1."""

    def save(self, folder: Path) -> None:
        """Write the model's standard folder from the modules as they are."""


@dataclass(frozen=True)
class Luck:
    """Every source of chance in training: nothing draws from a global generator."""

    words: random.Random  # scenes, captions
    noise: torch.Generator  # jitter, noise levels, noise; on the CPU, so equal on every device

    @classmethod
    def from_seed(cls, seed: int) -> Luck:
        """Return two independent sources for `seed`."""
        return cls(random.Random(seed), torch.Generator().manual_seed(seed + 1))


@dataclass
class Training:
    """A training that can be stopped and resumed: counters, weights, their average, optimizer and chance."""

    task: Task
    luck: Luck
    device: torch.device
    step: int = 0
    seconds: float = 0.0
    running_loss: float = 0.0
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)
    averages: dict[str, dict[str, Tensor]] = field(init=False)

    def __post_init__(self) -> None:
        parameters = [p for m in self.task.modules.values() for p in m.to(self.device).parameters() if p.requires_grad]
        apart = {id(matrix) for matrix in self.task.matrices}
        rest = [parameter for parameter in parameters if id(parameter) not in apart]
        rate = self.task.learning_rate
        self.optimizers = {"optimizer": torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)}
        self._flat = [nn.Parameter(matrix.detach().flatten(1)) for matrix in self.task.matrices]  # Muon takes two dimensions only
        if self._flat:  # steps as long as AdamW's, so that one learning rate serves both
            self.optimizers["muon"] = torch.optim.Muon(self._flat, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
        self.averages = {name: _copied(module) for name, module in self.task.modules.items()}

    def advance(self, done: float) -> None:
        """Do one step at the share `done` (0..1) of the whole training."""
        begun = self._clock()
        rate = self.task.learning_rate * min(1.0, (self.step + 1) / 100) * decayed(done)
        for group in (group for optimizer in self.optimizers.values() for group in optimizer.param_groups):
            group["lr"] = rate
        loss = self.task.loss(self.luck, done)
        for module in self.task.modules.values():
            module.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for m in self.task.modules.values() for p in m.parameters()], 1.0)
        for flat, matrix in zip(self._flat, self.task.matrices, strict=True):
            flat.data = matrix.data.flatten(1)  # the same memory; saving in another precision gives weights a new one
            flat.grad = None if matrix.grad is None else matrix.grad.flatten(1)
        for optimizer in self.optimizers.values():
            optimizer.step()
        self._average_weights()
        value = float(loss.detach())
        self.running_loss = value if self.step == 0 else 0.98 * self.running_loss + 0.02 * value
        self.step += 1
        self.seconds += self._clock() - begun

    def _clock(self) -> float:
        """Return seconds: of processor time on a CPU, so that a crowded or stopped machine doesn't shorten a training."""
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    @torch.no_grad()
    def _average_weights(self) -> None:
        decay = min(self.task.average, (1 + self.step) / (10 + self.step))
        for name, module in self.task.modules.items():
            state, average = module.state_dict(), self.averages[name]
            keys = [key for key in average if average[key].is_floating_point()]
            torch._foreach_lerp_([average[key] for key in keys], [state[key] for key in keys], 1 - decay)

    def save_model(self, folder: Path) -> None:
        """Write the model's folder with the averaged weights."""
        kept = {name: _copied(module) for name, module in self.task.modules.items()}
        for name, module in self.task.modules.items():
            module.load_state_dict(self.averages[name])
        try:
            self.task.save(folder)
        finally:
            for name, module in self.task.modules.items():
                module.load_state_dict(kept[name])

    def save_state(self, path: Path) -> None:
        """Write all that a resume needs to `path`, whole or not at all."""
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "running_loss": self.running_loss,
            "modules": {name: module.state_dict() for name, module in self.task.modules.items()},
            "averages": self.averages,
            **{name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "words": self.luck.words.getstate(),
            "noise": self.luck.noise.get_state(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def load_state(self, path: Path) -> None:
        """Go on from what `save_state` wrote."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        self.step, self.seconds, self.running_loss = state["step"], state["seconds"], state["running_loss"]
        for name, module in self.task.modules.items():
            module.load_state_dict(state["modules"][name])
            self.averages[name] = {key: value.to(self.device) for key, value in state["averages"][name].items()}
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state[name])
        version, numbers, gauss = state["words"]
        self.luck.words.setstate((version, tuple(numbers), gauss))
        self.luck.noise.set_state(state["noise"])


def train(
    training: Training,
    folder: Path,
    *,
    minutes: float,
    steps: int,
    say: Callable[[str], None],
    every_seconds: float = 180.0,
) -> None:
    """Advance until `minutes` of work (processor time on a CPU) or `steps` are reached, counted over all resumes.

    `folder` gets `state.pt` about every `every_seconds` and at the end, and the model in `model/`.
    """
    written = training.seconds
    while (done := max(training.seconds / (60 * minutes), training.step / steps)) < 1:
        training.advance(done)
        if training.step % 50 == 0:
            left = training.seconds / 60 * (1 - done) / max(done, 1e-6)
            pace = training.seconds / training.step
            say(f"step {training.step} loss {training.running_loss:.4f} {pace:.3f} s/step, {left:.1f} min left")
        if training.seconds - written > every_seconds:
            written = training.seconds
            training.save_state(folder / "state.pt")
            training.save_model(folder / "model")
    training.save_state(folder / "state.pt")
    training.save_model(folder / "model")
    say(f"done: {training.step} steps, {training.seconds / 60:.1f} min")


def decayed(done: float) -> float:
    """Return the share of the learning rate at `done`: flat for 60 %, then straight down to 3 %.

    The decay at the end is worth a lot: pocket-flux went from .25 to .52 of captions wholly right in it.
    """
    return 1.0 if done < 0.6 else max(0.03, (1 - done) / 0.4)


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in module.state_dict().items()}
