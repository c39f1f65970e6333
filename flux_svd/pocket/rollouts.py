"""What the two-ended sampler shows pocket-svd on its way to a film, kept to be trained on.

In a two-ended sampling the frames between the pinned ends hold the model's own earlier guesses: a rest at one end, a fade
between both. A model trained on true films only takes such a guess for the truth, since twenty frames say more than
one. So it is also trained on the states of its own samplings, with the true film as the answer (as in DAgger, Ross et
al. 2011, arXiv:1011.0686): from the picture it starts from and the pinned frame at the other end, the way is known.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from flux_svd.engines.inbetween import EncodedKeyframe, InbetweenPipeline, Way, in_time_of, seeded_noise
from flux_svd.pocket.judge_films import to_picture, transition_recipe

LEAST_SIGMA = 1.0  # below it what is seen is to be believed: an answer elsewhere would only be blurred
_METHODS = ("bidirectional", "bidirectional", "bidirectional", "vibid", "fusion")
STEPS = range(8, 17)


@dataclass(frozen=True)
class TrueFilm:
    """A film to be sampled: latents (n, c, h, w) unscaled, where the object is (n, h, w), first and last picture (2, 3, H, W)."""

    latents: Tensor
    cells: Tensor
    ends: Tensor


@dataclass(frozen=True)
class State:
    """One call of the UNet, in the time of the way it was made for.

    Attributes:
        noisy: (n, c, h, w), what the UNet saw, in sigma space.
        sigma: its noise level.
        condition: (1, c, h, w), unscaled latents of the way's first picture.
        clip: (1, d), its embedding.
        clean: (n, c, h, w), scaled latents of the true film.
        cells: (n, h, w), 1 where its object is.
        ids: (3,), what the UNet was told of the motion.
    """

    noisy: Tensor
    sigma: float
    condition: Tensor
    clip: Tensor
    clean: Tensor
    cells: Tensor
    ids: Tensor


class _Recorder(InbetweenPipeline):
    """Keeps what is asked of the UNet."""

    asked: list[tuple[Tensor, float, EncodedKeyframe, Tensor]]

    def estimate_clean(
        self, x: Tensor, sigma: float, timestep: Tensor, key: EncodedKeyframe, ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        self.asked.append((x, sigma, key, ids[1]))
        return super().estimate_clean(x, sigma, timestep, key, ids)


def make_recorder(**components: Any) -> _Recorder:
    """Return a pipeline of these components, shared with whoever trains them, for `roll_out`."""
    recorder = _Recorder(**components)
    recorder.set_progress_bar_config(disable=True)
    return recorder


@torch.no_grad()
def roll_out(recorder: _Recorder, film: TrueFilm, luck: random.Random) -> list[State]:
    """Return the states of one sampling between the film's ends, down to `LEAST_SIGMA`; method, steps and noise by chance."""
    recipe = transition_recipe(luck.getrandbits(32), luck.choice(STEPS), method=luck.choice(_METHODS), frames=len(film.latents))
    noise = seeded_noise(recipe.seed)
    augmentation = noise("augmentation", (1, *film.ends.shape[1:])).to(film.ends.device)
    with torch.autocast(film.ends.device.type, enabled=False):  # as when the model is used: whitened embeddings need float32
        start, end = (
            recorder.encode_keyframe(to_picture(one.cpu()), recipe.noise_aug_strength, augmentation) for one in film.ends
        )
    recorder.asked = []
    recorder.scheduler.set_timesteps(recipe.steps)
    until = sum(sigma >= LEAST_SIGMA for sigma in recorder.scheduler.sigmas.tolist())
    x = noise("start", (1, *film.latents.shape)).to(start.anchor.device) * float(recorder.scheduler.init_noise_sigma)
    ways = Way(start, end, backward=False), Way(end, start, backward=True)
    recorder.denoise(x, ways, recipe, noise, lambda call, calls, estimate: None, until=until)
    clean = film.latents * recorder.vae.config.scaling_factor
    states = []
    for seen, sigma, key, ids in recorder.asked:
        way = ways[key is end]
        truth, cells = (in_time_of(way, one[None])[0] for one in (clean, film.cells))
        states.append(State(seen[0], sigma, key.condition, key.clip[0], truth, cells, ids))
    return states
