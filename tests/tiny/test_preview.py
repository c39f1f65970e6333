"""Previews: exact estimates, small, seldom, and without a trace in the picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flux_svd.catalog import MODELS
from flux_svd.engines import preview
from flux_svd.engines.flux import FluxEngine
from flux_svd.engines.preview import FluxPreview, Preview, to_webp, unpack
from tests.tiny.builders import SIDE, image_recipe, placement

FolderOf = Callable[[str], Path]
DISTILLED = ["flux1-schnell", "flux2-klein-4b"]


@pytest.fixture
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "INTERVAL", 0)
    monkeypatch.setattr(preview, "WORK_SHARE", 1)


def draw(engine: FluxEngine) -> tuple[np.ndarray, list[bytes | None]]:
    shown: list[bytes | None] = []
    drawn = engine.draw(image_recipe(engine.spec.name), [], lambda step, steps, picture: shown.append(picture))
    return np.asarray(drawn), shown


@pytest.mark.parametrize("name", DISTILLED)
@pytest.mark.usefixtures("at_every_step")
def test_steps_between_the_first_and_the_last_show_a_preview(name: str, folder_of: FolderOf) -> None:
    _, shown = draw(FluxEngine(MODELS[name], folder_of(name), placement(name), "fp32"))
    assert [picture is not None for picture in shown] == [False, True, True, False]
    assert shown[1]
    assert Image.open(io.BytesIO(shown[1])).size == (SIDE, SIDE)


def test_a_fast_picture_shows_none(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "INTERVAL", 3600)
    _, shown = draw(FluxEngine(MODELS["flux1-schnell"], folder_of("flux1-schnell"), placement("flux1-schnell"), "fp32"))
    assert shown == [None] * 4


@pytest.mark.usefixtures("at_every_step")
def test_an_offloaded_model_shows_none(folder_of: FolderOf) -> None:
    engine = FluxEngine(MODELS["flux1-schnell"], folder_of("flux1-schnell"), placement("flux1-schnell", "model"), "fp32")
    assert draw(engine)[1] == [None] * 4


def test_previews_change_nothing_in_the_picture(folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FluxEngine(MODELS["flux2-klein-4b"], folder_of("flux2-klein-4b"), placement("flux2-klein-4b"), "fp32")
    without, _ = draw(engine)
    monkeypatch.setattr(preview, "INTERVAL", 0)
    monkeypatch.setattr(preview, "WORK_SHARE", 1)
    with_previews, shown = draw(engine)
    assert shown[1] is not None
    assert np.array_equal(without, with_previews)


@pytest.mark.usefixtures("at_every_step")
def test_a_preview_that_finds_no_memory_is_the_last_and_the_picture_goes_on(
    folder_of: FolderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FluxEngine(MODELS["flux2-klein-4b"], folder_of("flux2-klein-4b"), placement("flux2-klein-4b"), "fp32")
    wanted, _ = draw(engine)
    asked = []

    def decode(self: FluxPreview, latents: torch.Tensor) -> torch.Tensor:
        asked.append(latents.shape)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(FluxPreview, "_decode", decode)
    drawn, shown = draw(engine)
    assert np.array_equal(drawn, wanted)
    assert (shown, len(asked)) == ([None] * 4, 1)


@pytest.mark.parametrize("name", DISTILLED)
@pytest.mark.usefixtures("at_every_step")
def test_the_estimate_from_two_latents_is_the_clean_picture_itself(name: str, folder_of: FolderOf) -> None:
    """On the straight path x = (1 − σ) clean + σ noise the preview must be the decoded clean latents, at any σ."""
    pipeline = FluxEngine(MODELS[name], folder_of(name), placement(name), "fp32")._pipeline
    pipeline.scheduler.set_timesteps(4, mu=1.0)
    sigmas = pipeline.scheduler.sigmas
    tokens = (1, (SIDE // 16) ** 2, 16)
    noise = torch.Generator().manual_seed(1)
    clean, dirt = torch.randn(tokens, generator=noise), torch.randn(tokens, generator=noise)
    previews = FluxPreview(pipeline, SIDE, SIDE)
    with torch.no_grad():
        assert previews.after_step(0, (1 - sigmas[1]) * clean + sigmas[1] * dirt) is None
        shown = previews.after_step(1, (1 - sigmas[2]) * clean + sigmas[2] * dirt)
        if name == "flux1-schnell":
            latents = pipeline._unpack_latents(clean, SIDE, SIDE, 8)
            latents = latents / pipeline.vae.config.scaling_factor + pipeline.vae.config.shift_factor
        else:
            normal = pipeline.vae.bn
            spread = (normal.running_var + pipeline.vae.config.batch_norm_eps) ** 0.5
            whole = (clean * spread + normal.running_mean).permute(0, 2, 1).reshape(1, 16, SIDE // 16, SIDE // 16)
            latents = pipeline._unpatchify_latents(whole)
        expected = to_webp(pipeline.vae.decode(latents, return_dict=False)[0])
    assert shown is not None
    assert expected is not None
    seen, wanted = (np.asarray(Image.open(io.BytesIO(data)), dtype=int) for data in (shown, expected))
    assert np.abs(seen - wanted).max() <= 12  # 0 to 8 was seen (WebP on ±1 of rounding); the noisy latents give over 100


def test_unpacking_equals_the_pipelines_own() -> None:
    from diffusers import FluxPipeline

    tokens = torch.randn(1, 6, 16)
    assert torch.equal(unpack(tokens, 2, 3), FluxPipeline._unpack_latents(tokens, 32, 48, 8))


@pytest.mark.parametrize(("side", "shown"), [(8, 64), (32, 256), (33, 128), (128, 256), (256, 256)])
def test_a_preview_is_never_larger_than_its_long_side(side: int, shown: int) -> None:
    sizes = []

    def decode(latents: torch.Tensor) -> torch.Tensor:
        sizes.append(latents.shape[-1] * 8)
        return torch.zeros(1, 3, 8, 8)

    now = iter(range(100))
    Preview(decode, 8, clock=lambda: next(now)).offer(lambda: torch.zeros(1, 4, side // 2, side))
    assert sizes == [shown]


def test_previews_keep_their_interval_and_their_share_of_time() -> None:
    now = [0.0]

    def decode(latents: torch.Tensor) -> torch.Tensor:
        now[0] += 1.0  # a slow machine: one second a preview
        return torch.zeros(1, 3, 8, 8)

    slow = Preview(decode, 8, clock=lambda: now[0])
    drawn_at = []
    for _ in range(1000):
        now[0] += 0.1
        if slow.offer(lambda: torch.zeros(1, 4, 8, 8)):
            drawn_at.append(now[0])
    assert drawn_at[0] == pytest.approx(1.5, abs=0.11)
    assert np.diff(drawn_at).min() >= 1.0 / preview.WORK_SHARE - 1e-6


def test_an_estimate_that_is_not_finite_shows_nothing() -> None:
    assert to_webp(torch.full((1, 3, 8, 8), float("nan"))) is None
