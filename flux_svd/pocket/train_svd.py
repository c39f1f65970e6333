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
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from flux_svd.pocket.eyes import resized_for_encoder
from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import Strokes, between, object_cells, paint, sample_paths
from flux_svd.pocket.rollouts import State, TrueFilm, make_recorder, roll_out
from flux_svd.pocket.train_svd_vae import FILM_FRAMES, HEIGHT, WIDTH, flatten_convolutions

# Latents have a deviation of one: at 30 nothing of an object shows, and a film's colour is known from its picture. From 80 half
# of ten steps would be gone before anything is decided.
SIGMA_MIN, SIGMA_MAX = 0.02, 30.0
NOISE_AUG_STRENGTH = 0.02  # StableVideoDiffusionPipeline's default
# Errors on and about the object count more: it covers a twentieth of a frame. A weight that does not depend on the noise
# leaves the best answer as it is.
OBJECT_WEIGHT = 5.0
POOL_FRAMES = 25  # a stored film; shorter ones are cut from it
_FIRST_FILMS = 400  # painted before the first step; one more in every fourth
# Of the batches are states of the sampler's own (see `rollouts`): few in the first half, where the model learns to draw.
ROLLED_EARLY, ROLLED = 0.25, 0.6
ROLLOUTS = 4  # films sampled at a time, so that the states of a batch are of several
_REUSED = 3  # times each state is trained on
_DROPPED = 0.12  # of the conditions
_LATENT_AUG = 0.05  # what that noise on the picture, and another encoder, do to the latents


def make_unet() -> UNetSpatioTemporalConditionModel:
    """Return a new UNet, 3.1 M parameters: attention only at half resolution (10 × 6), where it is cheap and sees all."""
    unet = UNetSpatioTemporalConditionModel(
        sample_size=WIDTH // 8,
        in_channels=16,
        out_channels=8,
        down_block_types=("DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal"),
        block_out_channels=(64, 64, 64),
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


@torch.no_grad()
def take_over(
    unet: UNetSpatioTemporalConditionModel, seen: CLIPVisionModelWithProjection, eyes: CLIPVisionModelWithProjection
) -> dict[str, Tensor]:
    """Return the weights of `unet`, which was trained with the image encoder `seen`, for `make_unet` and its new `eyes`.

    With one key only the values of the cross-attention count: they are fitted to give for the new embedding what they gave
    for the old one, as far as that is linear in it (.71 of its variance; the UNet's loss stayed the same to .01).
    """
    luck = Luck.from_seed(0)
    films = [sample_paths(50, luck.words, luck.noise)[0] for _ in range(30)]
    pictures = [resized_for_encoder(paint(film, WIDTH, HEIGHT)) for film in films]
    old, new = (torch.cat([encoder(some).image_embeds for some in pictures]) for encoder in (seen, eyes))
    known = torch.cat([new, torch.ones(len(new), 1)], dim=1)  # (1500, 129)
    fitted = torch.linalg.solve(known.T @ known + torch.eye(known.shape[1]), known.T @ old)  # (129, d)
    state: dict[str, Tensor] = unet.state_dict()
    fresh = make_unet().state_dict()
    for name in [name for name in state if "attn2.to_v" in name]:
        out = name.replace("to_v.weight", "to_out.0.")
        state[out + "bias"] = state[out + "bias"] + state[out + "weight"] @ (state[name] @ fitted[-1])
        state[name] = state[name] @ fitted[:-1].T
        state[name.replace("to_v", "to_k")] = fresh[name.replace("to_v", "to_k")]
    return state


class PlainAttention:
    """Attention written out: for sequences of at most 60 faster on a CPU than the fused kernel and its gradient.

    With one key (SVD's cross-attention sees one image embedding) the softmax is one and only the value is left.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return (batch, tokens, channels) of `hidden_states` (same shape) attending to `encoder_hidden_states`."""
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        value = attn.to_v(source)  # (batch, keys, channels)
        if source.shape[1] == 1:
            mixed = value.expand(-1, hidden_states.shape[1], -1)
        else:
            query, key, value = (
                part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
                for part in (attn.to_q(hidden_states) * attn.scale, attn.to_k(source), value)
            )  # (batch, heads, tokens, channels / heads)
            weights = (query @ key.transpose(-1, -2)).softmax(dim=-1).to(value.dtype)
            mixed = (weights @ value).transpose(1, 2).flatten(2)
        return attn.to_out[0](mixed)  # type: ignore[no-any-return]


class FilmPool:
    """The latents of films, kept to be used several times; every batch adds new films and forgets the oldest."""

    def __init__(self, encoder: AutoencoderKL, capacity: int, device: torch.device) -> None:
        self.encoder = encoder.eval().requires_grad_(False).to(device)
        self.device = device
        self.latents = torch.empty(capacity, POOL_FRAMES, 8, HEIGHT // 8, WIDTH // 8, dtype=torch.float16)
        self.cells = torch.empty(capacity, POOL_FRAMES, HEIGHT // 8, WIDTH // 8)
        self.ends: list[tuple[Strokes, Strokes]] = [None] * capacity  # type: ignore[list-item]
        self.filled, self.next = 0, 0

    @torch.no_grad()
    def add(self, films: int, luck: Luck) -> None:
        """Paint and encode `films` new ones."""
        start, end = sample_paths(films, luck.words, luck.noise)
        for number in range(films):
            only = torch.tensor([number])
            ends = start.pick(only), end.pick(only)
            film = between(*ends, POOL_FRAMES).to(self.device)
            pictures = paint(film, WIDTH, HEIGHT)
            covered = object_cells(pictures, film.background, 8).float()
            self.cells[self.next] = nn.functional.max_pool2d(covered, 3, stride=1, padding=1)  # and its neighbours
            with torch.autocast(self.device.type, torch.bfloat16):
                latents = self.encoder.encode(pictures).latent_dist.mode()  # (25, 8, 12, 20)
            self.latents[self.next] = latents.to("cpu", torch.float16)
            self.ends[self.next] = ends
            self.next = (self.next + 1) % len(self.latents)
            self.filled = min(self.filled + 1, len(self.latents))

    def draw(self, frames: int, luck: Luck) -> TrueFilm:
        """Return a film of so many frames, cut and turned."""
        number = luck.words.randrange(self.filled)
        begin = luck.words.randint(0, POOL_FRAMES - frames)
        indices = list(range(begin, begin + frames))
        if luck.words.random() < 0.5:  # a film played backwards is a film of the same world
            indices.reverse()
        latents, cells = self.latents[number, indices].float(), self.cells[number, indices]
        film = between(*self.ends[number], POOL_FRAMES)
        ends = paint(film.pick(torch.tensor([indices[0], indices[-1]])), WIDTH, HEIGHT)
        return TrueFilm(latents.to(self.device), cells.to(self.device), ends.to(self.device))


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
    learning_rate = 3e-4  # at 1e-3 Muon shook carried weights: .88 at σ = .57 where they had .57
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
        self.unet.set_attn_processor(PlainAttention())
        self.scale = float(teacher.config.scaling_factor)
        self.pool = FilmPool(teacher, capacity, device)
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
        """Return the squared error of v on one batch of films of 14 to 25 frames, most of 23."""
        if not self.pool.filled or luck.words.random() < 0.25:
            self.pool.add(1 if self.pool.filled else min(_FIRST_FILMS, len(self.pool.latents)), luck)
        with torch.autocast(self.device.type, torch.bfloat16):
            rolled = luck.words.random() < (ROLLED_EARLY if done < 0.5 else ROLLED)
            batch = self._rolled(luck) if rolled else self._noised(luck)
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

    def _noised(self, luck: Luck) -> Batch:
        """Return true films under noise of every level."""
        n, frames = self.batch, _film_length(luck)
        films = [self.pool.draw(frames, luck) for _ in range(n)]

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=luck.noise).to(self.device)

        latents = torch.stack([film.latents for film in films])
        clean, sigma = latents * self.scale, sample_sigmas(n, luck.noise).to(self.device)
        firsts = torch.stack([film.ends[0] for film in films])
        ids = torch.stack(  # neither fps nor bucket says anything about these films: the model learns not to depend on them
            [
                torch.randint(5, 30, (n,), generator=luck.noise).float(),
                torch.randint(1, 256, (n,), generator=luck.noise).float(),
                torch.full((n,), NOISE_AUG_STRENGTH),
            ],
            dim=1,
        )
        return Batch(
            clean + sigma.view(-1, 1, 1, 1, 1) * normal(*clean.shape),
            clean,
            sigma,
            latents[:, :1] + _LATENT_AUG * normal(n, 1, *latents.shape[2:]),
            self._seen(firsts),
            ids.to(self.device),
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


def _film_length(luck: Luck) -> int:
    chance = luck.words.random()
    return FILM_FRAMES if chance < 0.6 else POOL_FRAMES if chance < 0.75 else luck.words.randint(14, 22)


def _processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(do_resize=False, do_center_crop=False, do_rescale=False, image_mean=[0.5] * 3, image_std=[0.5] * 3)

