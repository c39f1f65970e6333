"""What pocket-klein learns from: wishes with pocket-flux's answers, and what pocket-flux thought on the way to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers import FluxPipeline
from torch import Tensor

from flux_svd.pocket.edits import Edit, sample_edit
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.train_flux import encoded_scenes, predict_velocity, sample_sigmas
from flux_svd.pocket.world import ALL_TOLD, COLORS, SHAPES, SIZES, Scene, caption, sample_scene

NOISINGS = 4  # noise levels at which the teacher answers for each painted wish
# Share of the wishes that are noised pictures of another shape than the words tell. Of right ones the student reads the shape,
# and never asks the words below sigma 0.8; in its own pictures the shape is not there to be read.
MISLED = 0.5
MOVING = 0.6  # share of the captions with things on their way, which are the harder ones; the world has .3
# Shares of the wishes that are drawn by lot until an outline is asked for (of all others .1), and until a star or a cross is (a
# third): the hardest to paint. It knows what they are and draws a circle.
OUTLINED, TIPPED = 0.3, 0.3
_TIPPED_SHAPES = ("star", "cross")
UNTOLD = 0.1  # share of the wishes with no words: what guidance starts from
CODE = 16  # numbers of a scene's code


def scene_code(scene: Scene) -> list[float]:
    """Return `CODE` numbers of about unit size that tell the scene: shape, colours, place, size and style; 0 what is not told."""
    red, green, blue = (value / 128 - 1 for value in COLORS[scene.color])
    ground = [value / 128 - 1 if "background" in scene.says else 0.0 for value in COLORS[scene.background]]
    x, y = scene.centre
    size = list(SIZES).index(scene.size) - 1.0 if "size" in scene.says else 0.0
    style = (1.0 if scene.outlined else -0.3) if "style" in scene.says else 0.0
    shape = [2.0 if name == scene.shape else -0.4 for name in SHAPES]
    return [*shape, red, green, blue, *ground, 4 * x - 2, 4 * y - 2, size, style]


class States:
    """What a FLUX transformer's tokens are on their way, in its latest call.

    Attributes:
        words, picture: after the embedders and after each block, (n, words, channels) and (n, tokens, channels).
    """

    def __init__(self, transformer: Any) -> None:
        self.words: list[Tensor] = []
        self.picture: list[Tensor] = []
        transformer.context_embedder.register_forward_hook(lambda _, __, out: self._begin(self.words, out))
        transformer.x_embedder.register_forward_hook(lambda _, __, out: self._begin(self.picture, out))
        for block in [*transformer.transformer_blocks, *transformer.single_transformer_blocks]:
            block.register_forward_hook(self._keep)

    @staticmethod
    def _begin(states: list[Tensor], out: Tensor) -> None:
        states[:] = [out]

    def _keep(self, _: Any, __: Any, out: Any) -> None:
        told = self.words[0].shape[1]
        words, picture = (out[:, :told], out[:, told:]) if isinstance(out, Tensor) else out  # FLUX.2's single blocks don't split
        self.words.append(words)
        self.picture.append(picture)


@dataclass(frozen=True)
class Lesson:
    """A batch of n wishes.

    Attributes:
        noisy: latents (n, tokens, 32) at `sigma` (n, 1, 1); `velocity`: the teacher's answer.
        shown: latents of the references (n, references · tokens, 32).
        words: what the student reads; `code` (n, CODE): what they mean; `shown_code` (n, references, CODE).
        cells: (n, tokens), 1 where the picture has its object; `shown_cells` (n, references, tokens) the same.
        picture: the teacher's tokens after each block, (blocks, n, tokens, channels), after the embedder first; `told` the same
            of its words, each at the place where the student reads it.
    """

    noisy: Tensor
    sigma: Tensor
    velocity: Tensor
    shown: Tensor
    code: Tensor
    shown_code: Tensor
    cells: Tensor
    shown_cells: Tensor
    picture: Tensor
    told: Tensor
    words: list[str]


class LessonPool:
    """Wishes at one size with the teacher's answers, each kept to be used several times until newer ones replace it."""

    def __init__(
        self,
        teacher: FluxPipeline,
        states: States,
        size: tuple[int, int],
        references: int,
        capacity: int,
        device: torch.device,
    ) -> None:
        self.teacher, self.states, self.references, self.device = teacher, states, references, device
        self.width, self.height = size
        self.capacity, self.filled, self.next = capacity, 0, 0
        self.words = [""] * capacity
        self.kept: dict[str, Tensor] = {}

    @torch.no_grad()
    def add(self, wishes: int, luck: Luck) -> None:
        """Paint and encode `wishes` new ones, and ask the teacher at `NOISINGS` noise levels of each."""
        words, told, scenes, targets = [], [], [], []
        for _ in range(wishes):
            wish = _drawn_wish(self.references, luck)
            target = replace(wish.target, says=ALL_TOLD) if self.references else wish.target
            words.append(wish.words)
            told.append(caption(target, luck.words) if self.references else wish.words)
            scenes += [_misleading(target, luck), *wish.references]
            targets.append(target)
        each = 1 + self.references
        size = (self.width, self.height)
        packed, cells = encoded_scenes(self.teacher.vae, scenes, size, luck, self.device)
        packed, cells = (values.view(wishes, each, *values.shape[1:]) for values in (packed, cells))  # by wish and picture
        codes = torch.tensor([scene_code(scene) for scene in scenes]).view(wishes, each, CODE)
        clean = packed[:, 0].repeat_interleave(NOISINGS, dim=0)
        sigma = _spread_sigmas(len(clean), luck.noise).to(self.device).view(-1, 1, 1)
        noise = torch.randn(clean.shape, generator=luck.noise).to(self.device)
        noisy = (1 - sigma) * clean + sigma * noise
        untold = [luck.words.random() < UNTOLD for _ in range(len(clean))]
        asked = ["" if none else told[number // NOISINGS] for number, none in enumerate(untold)]
        velocity = predict_velocity(self.teacher, noisy, sigma, asked, size)
        # The teacher obeys two in three words for outlines: of these the picture itself is the answer.
        true = torch.tensor([target.outlined for target in targets]).repeat_interleave(NOISINGS) & ~torch.tensor(untold)
        velocity[true] = (noise - clean)[true]
        code = torch.tensor([scene_code(target) for target in targets]).repeat_interleave(NOISINGS, dim=0)
        new = {
            "noisy": noisy,
            "sigma": sigma,
            "velocity": velocity,
            "shown": packed[:, 1:].flatten(1, 2).repeat_interleave(NOISINGS, dim=0),
            "code": code * ~torch.tensor(untold).view(-1, 1),
            "shown_code": codes[:, 1:].repeat_interleave(NOISINGS, dim=0),
            "cells": cells[:, 0].repeat_interleave(NOISINGS, dim=0),
            "shown_cells": cells[:, 1:].repeat_interleave(NOISINGS, dim=0),
            "picture": torch.stack(self.states.picture, dim=1).half(),
            # The student's words begin a place later, behind the chat template's first token.
            "told": torch.stack(self.states.words, dim=1).roll(1, dims=2).half(),
        }
        places = [(self.next + number) % self.capacity for number in range(len(clean))]
        for name, values in new.items():
            if name not in self.kept:
                self.kept[name] = torch.empty(self.capacity, *values.shape[1:], dtype=values.dtype)
            self.kept[name][places] = values.cpu()
        for number, place in enumerate(places):
            self.words[place] = "" if untold[number] else words[number // NOISINGS]
        self.next = (self.next + len(places)) % self.capacity
        self.filled = min(self.capacity, self.filled + len(places))

    def draw(self, n: int, luck: Luck) -> Lesson:
        """Return a random batch of what is kept."""
        numbers = [luck.words.randrange(self.filled) for _ in range(n)]
        kept = {name: values[numbers].to(self.device).float() for name, values in self.kept.items()}
        for name in ("picture", "told"):
            kept[name] = kept[name].transpose(0, 1)
        return Lesson(**kept, words=[self.words[number] for number in numbers])


def _drawn_wish(references: int, luck: Luck) -> Edit:
    """Return a wish about so many pictures; of none it is a caption."""
    chance = luck.words.random()
    while True:
        if references:
            wish = sample_edit(luck.words, references)
        else:
            scene = sample_scene(luck.words, kind="moving" if luck.words.random() < MOVING else "still")
            wish = Edit("caption", (), caption(scene, luck.words), scene)
        is_hard = wish.target.outlined if chance < OUTLINED else wish.target.shape in _TIPPED_SHAPES
        if is_hard or chance >= OUTLINED + TIPPED:
            return wish


def _misleading(scene: Scene, luck: Luck) -> Scene:
    misled = not scene.outlined and luck.words.random() < MISLED
    return replace(scene, shape=luck.words.choice(SHAPES)) if misled else scene


def _spread_sigmas(n: int, generator: torch.Generator) -> Tensor:
    """Return noise levels (n,) in 0..1: half as pocket-flux was trained, half anywhere."""
    even = torch.rand(n, generator=generator)
    return torch.where(torch.rand(n, generator=generator) < 0.5, even, sample_sigmas(n, generator))
