"""Train the UNet of pocket-svd: films of one object that goes straight from one place to another.

The conditioning is that of StableVideoDiffusionPipeline, so that the two-ended sampler finds in pocket-svd what it finds
in the full-size model: the unscaled latents of the first frame in the channels, its CLIP embedding in the cross-attention,
(fps − 1, motion_bucket_id, noise_aug_strength) as added time ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from flux_svd.pocket.eyes import resized_for_encoder
from flux_svd.pocket.film_pools import POOL_FRAMES, FilmPool, StillPool
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.rollouts import State, make_recorder, roll_out
from flux_svd.pocket.svd_layers import PlainAttention, leave_time_out_of_pictures
from flux_svd.pocket.train_svd_vae import FILM_FRAMES, WIDTH, flatten_convolutions

# Latents have a deviation of one: at 30 nothing of an object shows, and a film's colour is known from its picture. From 80 half
# of ten steps would be gone before anything is decided.
SIGMA_MIN, SIGMA_MAX = 0.02, 30.0
NOISE_AUG_STRENGTH = 0.02  # StableVideoDiffusionPipeline's default
# Errors on and about the object count more: it covers a twentieth of a frame. A weight that does not depend on the noise
# leaves the best answer as it is.
OBJECT_WEIGHT = 5.0
# Share of the training in which it only learns to draw, by single frames; and share of the batches of that kind later.
DRAWING, DRAWINGS = 0.19, 0.1
STILL_BATCH = 72  # about as long to compute as two films
_FIRST_STILLS, _NEW_STILLS = 1000, 2  # films of which single frames are painted: before the first step, and for each batch
_FIRST_FILMS = 400  # painted before the first whole film; one more in every fourth
# Of the other batches are states of the sampler's own (see `rollouts`): few at first, more from `ROLLED_FROM` of the training on.
ROLLED_EARLY, ROLLED, ROLLED_FROM = 0.25, 0.65, 0.55
ROLLOUTS = 4  # films sampled at a time, so that the states of a batch are of several
_REUSED = 3  # times each state is trained on
_DROPPED = 0.12  # of the conditions
_LATENT_AUG = 0.05  # what that noise on the picture, and another encoder, do to the latents


def make_unet() -> UNetSpatioTemporalConditionModel:
    """Return a new UNet, 2.6 M parameters: attention only at half resolution (10 × 6), where it is cheap and sees all."""
    unet = UNetSpatioTemporalConditionModel(
        sample_size=WIDTH // 8,
        in_channels=16,
        out_channels=8,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal"),
        up_block_types=("CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        block_out_channels=(64, 64),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=128,  # as wide as the eyes
        num_attention_heads=2,
        num_frames=FILM_FRAMES,
    )
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def make_scheduler() -> EulerDiscreteScheduler:
    """Return SVD's scheduler (Karras, continuous timesteps, v-prediction) with the noise levels trained here."""
    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        interpolation_type="linear",
        use_karras_sigmas=True,
        timestep_type="continuous",
        timestep_spacing="leading",
        steps_offset=1,
        sigma_min=SIGMA_MIN,
        sigma_max=SIGMA_MAX,
    )


@dataclass(frozen=True)
class Batch:
    """What the UNet is shown and what is true; `kept` (n,) is 0 where the condition is dropped.

    Attributes:
        noisy, clean: (n, frames, 8, 12, 20), scaled; noisy in sigma space.
        sigma: (n,).
        condition: (n, 1, 8, 12, 20), unscaled.
        embedding: (n, 1, 128).
        ids: (n, 3).
        cells: (n, frames, 12, 20).
    """

    noisy: Tensor
    clean: Tensor
    sigma: Tensor
    condition: Tensor
    embedding: Tensor
    ids: Tensor
    cells: Tensor
    kept: Tensor


class FilmTask:
    """EDM v-prediction on films, with SVD's conditioning, 12 % of it dropped."""

    name = "svd"
    learning_rate = 1e-3
    average = 0.995

    def __init__(
        self,
        teacher: AutoencoderKL,
        eyes: CLIPVisionModelWithProjection,
        device: torch.device,
        *,
        batch: int = 4,
        capacity: int = 3000,
    ) -> None:
        self.unet, self.device, self.batch = make_unet(), device, batch
        self.image_encoder = eyes.eval().requires_grad_(False).to(device)
        flatten_convolutions(self.unet)
        leave_time_out_of_pictures(self.unet)
        self.unet.set_attn_processor(PlainAttention())
        self.scale = float(teacher.config.scaling_factor)
        self.pool = FilmPool(teacher, capacity, device)
        self.stills = StillPool(teacher, eyes.config.projection_dim, 2 * capacity, device)
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        outer = {id(layer.weight) for layer in (self.unet.conv_in, self.unet.conv_out)}
        self.matrices: Sequence[nn.Parameter] = [p for p in self.unet.parameters() if p.ndim > 1 and id(p) not in outer]
        self.vae: AutoencoderKLTemporalDecoder | AutoencoderKL = teacher
        self.recorder = make_recorder(
            unet=self.unet,
            image_encoder=self.image_encoder,
            vae=teacher,
            scheduler=make_scheduler(),
            feature_extractor=_processor(),
        )
        self.states: list[State] = []

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the squared error of v on one batch: of single frames, or of films of 14 to 25 frames, most of 23."""
        with torch.autocast(self.device.type, torch.bfloat16):
            batch = self._batch(luck, done)
            sigma = batch.sigma.view(-1, 1, 1, 1, 1)
            kept = batch.kept.view(-1, 1, 1, 1, 1)
            condition = (batch.condition * kept).expand(-1, batch.noisy.shape[1], -1, -1, -1)
            v = self.unet(
                torch.cat([batch.noisy / (sigma**2 + 1).sqrt(), condition], dim=2),
                0.25 * batch.sigma.log(),
                encoder_hidden_states=batch.embedding * kept[..., 0, 0],
                added_time_ids=batch.ids,
                return_dict=False,
            )[0].float()
        wanted = (batch.noisy / (sigma**2 + 1) - batch.clean) * (sigma**2 + 1).sqrt() / sigma
        weight = 1 + (OBJECT_WEIGHT - 1) * batch.cells.unsqueeze(2)  # (n, frames, 1, 12, 20)
        loss: Tensor = (weight * (v - wanted).pow(2)).mean() / weight.mean()
        return loss

    def _batch(self, luck: Luck, done: float) -> Batch:
        if done < DRAWING or luck.words.random() < DRAWINGS:
            self.stills.add(_NEW_STILLS if self.stills.filled else min(_FIRST_STILLS, len(self.stills.latents)), luck, self._seen)
            return self._still(luck)
        if not self.pool.filled or luck.words.random() < 0.25:
            self.pool.add(1 if self.pool.filled else min(_FIRST_FILMS, len(self.pool.latents)), luck)
        rolled = luck.words.random() < (ROLLED_EARLY if done < ROLLED_FROM else ROLLED)
        return self._rolled(luck) if rolled else self._noised(luck)

    def _still(self, luck: Luck) -> Batch:
        """Return single frames under noise at which they can be made out and still have to be drawn."""
        first, latents, cells, seen = self.stills.draw(STILL_BATCH, luck)
        n, clean = len(latents), latents * self.scale
        sigma = torch.exp(0.3 + torch.randn(n, generator=luck.noise))
        sigma = torch.where(torch.rand(n, generator=luck.noise) < 0.7, sigma, sample_sigmas(n, luck.noise)).to(self.device)
        noise, shaken = (torch.randn(clean.shape, generator=luck.noise).to(self.device) for _ in range(2))
        return Batch(
            clean + sigma.view(-1, 1, 1, 1, 1) * noise,
            clean,
            sigma,
            first + _LATENT_AUG * shaken,
            seen,
            _motion_ids(n, luck).to(self.device),
            cells,
            self._kept(n, luck),
        )

    def _noised(self, luck: Luck) -> Batch:
        """Return true films under noise of every level."""
        n, frames = self.batch, _film_length(luck)
        films = [self.pool.draw(frames, luck) for _ in range(n)]

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=luck.noise).to(self.device)

        latents = torch.stack([film.latents for film in films])
        clean, sigma = latents * self.scale, sample_sigmas(n, luck.noise).to(self.device)
        firsts = torch.stack([film.ends[0] for film in films])
        return Batch(
            clean + sigma.view(-1, 1, 1, 1, 1) * normal(*clean.shape),
            clean,
            sigma,
            latents[:, :1] + _LATENT_AUG * normal(n, 1, *latents.shape[2:]),
            self._seen(firsts),
            _motion_ids(n, luck).to(self.device),
            torch.stack([film.cells for film in films]),
            self._kept(n, luck),
        )

    @torch.no_grad()
    def _seen(self, pictures: Tensor) -> Tensor:
        """Return the embeddings (n, 1, 128) of pictures (n, 3, 96, 160), in float32: whitening blows rounding up."""
        with torch.autocast(self.device.type, enabled=False):
            return self.image_encoder(resized_for_encoder(pictures)).image_embeds.unsqueeze(1)  # type: ignore[no-any-return]

    def _rolled(self, luck: Luck) -> Batch:
        """Return states of the sampler as the model makes them now."""
        if len(self.states) < self.batch:
            frames = _film_length(luck)
            films = [self.pool.draw(frames, luck) for _ in range(ROLLOUTS)]
            self.states = [state for film in films for state in roll_out(self.recorder, film, luck.words)] * _REUSED
            luck.words.shuffle(self.states)
        states, self.states = self.states[: self.batch], self.states[self.batch :]
        n = len(states)
        return Batch(
            torch.stack([state.noisy for state in states]),
            torch.stack([state.clean for state in states]),
            torch.tensor([state.sigma for state in states], device=self.device),
            torch.stack([state.condition for state in states]),
            torch.stack([state.clip for state in states]),
            torch.stack([state.ids for state in states]).to(self.device),
            torch.stack([state.cells for state in states]),
            self._kept(n, luck),
        )

    def _kept(self, n: int, luck: Luck) -> Tensor:
        """Return which conditions are shown (n,); the sampler also asks without one, of its own states too."""
        return (torch.rand(n, generator=luck.noise) > _DROPPED).float().to(self.device)

    def save(self, folder: Path) -> None:
        """Write a folder for StableVideoDiffusionPipeline.from_pretrained, float16."""
        parts = {"unet": self.unet, "image_encoder": self.image_encoder, "vae": self.vae}
        pipeline = StableVideoDiffusionPipeline(
            **{name: part.to(torch.float16) for name, part in parts.items()},
            scheduler=make_scheduler(),
            feature_extractor=_processor(),
        )
        pipeline.save_pretrained(folder)
        for part in parts.values():
            part.to(torch.float32)


def sample_sigmas(n: int, generator: torch.Generator) -> Tensor:
    """Return noise levels (n,): mostly where the path is decided (about 0.3 to 20), some over the whole range."""
    middle = torch.exp(0.9 + 1.5 * torch.randn(n, generator=generator))
    low, high = math.log(SIGMA_MIN), math.log(SIGMA_MAX)
    anywhere = torch.exp(low + (high - low) * torch.rand(n, generator=generator))
    chosen = torch.where(torch.rand(n, generator=generator) < 0.75, middle, anywhere)
    return chosen.clamp(SIGMA_MIN, SIGMA_MAX)


def _motion_ids(n: int, luck: Luck) -> Tensor:
    """Return fps − 1, bucket and noise (n, 3). The first two say nothing about these films: the model learns not to ask them."""
    fps = torch.randint(5, 30, (n,), generator=luck.noise).float()
    bucket = torch.randint(1, 256, (n,), generator=luck.noise).float()
    return torch.stack([fps, bucket, torch.full((n,), NOISE_AUG_STRENGTH)], dim=1)


def _film_length(luck: Luck) -> int:
    chance = luck.words.random()
    return FILM_FRAMES if chance < 0.6 else POOL_FRAMES if chance < 0.75 else luck.words.randint(14, 22)


def _processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(do_resize=False, do_center_crop=False, do_rescale=False, image_mean=[0.5] * 3, image_std=[0.5] * 3)
