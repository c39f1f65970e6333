"""The trainings of the pocket models: they learn, they resume exactly, and what they save loads as the standard classes."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, FluxPipeline, StableVideoDiffusionPipeline
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import _resize_with_antialiasing
from safetensors.torch import load_file
from torch import Tensor, nn

from flux_svd.pocket.eyes import carried_tower, resized_for_encoder
from flux_svd.pocket.figures import as_json, mean, share, table
from flux_svd.pocket.film_pools import FilmPool, StillPool
from flux_svd.pocket.loop import Luck, Training, decayed, train
from flux_svd.pocket.painter import sample_paths
from flux_svd.pocket.rollouts import LEAST_SIGMA, roll_out
from flux_svd.pocket.svd_layers import PlainAttention, leave_time_out_of_pictures
from flux_svd.pocket.train import MINUTES, WEIGHTS, make_task
from flux_svd.pocket.train_clip import changed, load_clip
from flux_svd.pocket.train_decoder import DecoderTask, object_weights, sample_objects
from flux_svd.pocket.train_flux import FluxTask, make_pipeline
from flux_svd.pocket.train_flux import sample_sigmas as sample_flux_sigmas
from flux_svd.pocket.train_svd import SIGMA_MAX, SIGMA_MIN, FilmTask, make_scheduler, make_unet, sample_sigmas
from flux_svd.pocket.train_svd_vae import VaeTask, flatten_convolutions, make_vae
from flux_svd.pocket.world import is_held_out, sample_scene

CPU = torch.device("cpu")


class LineTask:
    """A task of two numbers, for the loop alone: fit y = 2 x + 1."""

    name = "line"
    learning_rate = 0.1
    average = 0.9

    def __init__(self, *, muon: bool = False) -> None:
        torch.manual_seed(0)
        self.line = nn.Linear(1, 1)
        self.modules: dict[str, nn.Module] = {"line": self.line}
        self.matrices: Sequence[nn.Parameter] = [self.line.weight] if muon else []

    def loss(self, luck: Luck, done: float) -> Tensor:
        x = torch.randn(16, 1, generator=luck.noise) + luck.words.random()
        return (self.line(x) - (2 * x + 1)).pow(2).mean()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.line.state_dict(), folder / "line.pt")


def run_line(folder: Path, *stops: int, muon: bool) -> list[str]:
    said: list[str] = []
    for stop in stops:  # each stop is a new process in effect: everything comes back from the folder
        training = Training(LineTask(muon=muon), Luck.from_seed(3), CPU)
        if (folder / "state.pt").exists():
            training.load_state(folder / "state.pt")
        for _ in range(stop - training.step):
            training.advance(0.0)
        training.save_state(folder / "state.pt")
        training.save_model(folder / "model")
        said.append(f"{training.running_loss:.6f}")
    return said


@pytest.mark.parametrize("muon", [False, True])
def test_a_resumed_training_equals_an_unbroken_one(tmp_path: Path, muon: bool) -> None:
    broken, unbroken = run_line(tmp_path / "a", 30, 60, muon=muon), run_line(tmp_path / "b", 60, muon=muon)
    assert broken[-1] == unbroken[-1]
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in "ab"]
    for one, other in zip(states[0]["averages"]["line"].values(), states[1]["averages"]["line"].values(), strict=True):
        assert torch.equal(one, other)


def test_muon_moves_the_weights_themselves_also_after_they_were_saved_in_half_precision(tmp_path: Path) -> None:
    task = LineTask(muon=True)
    training = Training(task, Luck.from_seed(3), CPU)
    for _ in range(2):  # the second time the weights lie in new memory
        before = task.line.weight.detach().clone()
        training.advance(0.0)
        assert not torch.equal(task.line.weight, before)
        task.line.to(torch.float16).to(torch.float32)


def test_a_training_ends_at_its_steps_and_writes_state_and_model(tmp_path: Path) -> None:
    training, said = Training(LineTask(), Luck.from_seed(3), CPU), []
    train(training, tmp_path, minutes=10, steps=120, say=said.append)
    assert training.step == 120
    assert [line.split()[1] for line in said[:2]] == ["50", "100"]
    assert "min left" in said[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "state.pt"]  # nothing half written is left
    saved = torch.load(tmp_path / "model" / "line.pt", weights_only=True)
    assert saved["weight"].item() == pytest.approx(2, abs=0.1)
    assert torch.equal(saved["weight"], training.averages["line"]["weight"])  # the average, not the last step


def test_learning_rate_is_flat_then_falls() -> None:
    assert [decayed(done) for done in (0.0, 0.59)] == [1.0, 1.0]
    assert decayed(0.8) == pytest.approx(0.5)
    assert decayed(1.0) == 0.03


def test_luck_draws_nothing_from_global_generators() -> None:
    before = torch.get_rng_state()
    luck = Luck.from_seed(1)
    sample_scene(luck.words)
    sample_sigmas(4, luck.noise)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture(scope="module")
def teacher() -> Any:
    return AutoencoderKL.from_pretrained(WEIGHTS / "pocket-flux" / "vae", dtype=torch.float32)


@pytest.fixture(scope="module")
def eyes() -> Any:
    return carried_tower(load_clip(WEIGHTS / "pocket-clip")[0].visual)


def losses(task: Any, steps: int) -> list[float]:
    training = Training(task, Luck.from_seed(1), CPU)
    values = []
    for _ in range(steps):
        training.advance(0.0)
        values.append(training.running_loss)
    assert all(math.isfinite(value) for value in values)
    for module in task.modules.values():
        assert all(torch.isfinite(weight).all() for weight in module.parameters())
    return values


def test_flux_trains_from_nothing_and_saves_what_fluxpipeline_loads(tmp_path: Path) -> None:
    carried = FluxPipeline.from_pretrained(WEIGHTS / "pocket-flux", dtype=torch.float32)
    task = FluxTask(make_pipeline(carried), CPU, batch=4, capacity=16)
    values = losses(task, 3)
    task.save(tmp_path)
    kept = FluxPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    assert [type(part) for part in kept.components.values()] == [type(part) for part in carried.components.values()]
    assert values[0] == pytest.approx(2.0, abs=0.6)  # a zero prediction against noise − latents, each of variance one


def test_svd_trains_and_saves_what_the_stock_pipeline_loads(tmp_path: Path, teacher: Any, eyes: Any) -> None:
    task = FilmTask(teacher, eyes, CPU, batch=1, capacity=2)
    losses(task, 2)
    task.vae = make_vae(float(teacher.config.scaling_factor))
    task.save(tmp_path)
    kept = StableVideoDiffusionPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    assert isinstance(kept.vae, AutoencoderKLTemporalDecoder)
    assert kept.scheduler.config.sigma_max == SIGMA_MAX
    assert kept.vae.config.scaling_factor == teacher.config.scaling_factor


def test_temporal_autoencoder_trains_without_broken_gradients(teacher: Any) -> None:
    losses(VaeTask(teacher, make_vae(float(teacher.config.scaling_factor)), CPU), 2)


def test_the_decoder_trains_and_what_latents_mean_stays(teacher: Any, tmp_path: Path) -> None:
    vae = copy.deepcopy(teacher)
    task = DecoderTask(vae, CPU)
    losses(task, 2)
    task.save(tmp_path)
    after = AutoencoderKL.from_pretrained(tmp_path).state_dict()
    stayed = {name: torch.equal(value.half(), after[name].half()) for name, value in teacher.state_dict().items()}
    assert {name.split(".")[0] for name, same in stayed.items() if not same} == {"decoder"}


def test_all_pocket_models_have_the_same_autoencoder(teacher: Any) -> None:
    shared = teacher.state_dict()
    for name in ("pocket-klein", "pocket-svd"):
        own = load_file(WEIGHTS / name / "vae" / "diffusion_pytorch_model.safetensors")
        assert {part for part in own if not part.startswith("bn.")} == set(shared)
        assert all(torch.equal(own[part].float(), value) for part, value in shared.items())


def test_a_small_object_weighs_as_much_as_a_large_one_in_the_decoders_loss() -> None:
    luck = Luck.from_seed(0)
    pictures, near = sample_objects(24, (160, 96), luck)
    assert pictures.shape == (24, 3, 96, 160)
    assert near.shape == (24, 1, 96, 160)
    covered = near.sum((1, 2, 3))
    assert covered.max() > 3 * covered.min() > 0
    weight = object_weights(near)
    ground = weight[:, :, :1, :1]
    assert torch.equal(ground, torch.ones(24, 1, 1, 1))
    extra = (weight - ground).sum((1, 2, 3))
    assert torch.allclose(extra, extra[:1], rtol=1e-4)
    for picture, where in zip(pictures, near, strict=True):
        ground = picture[:, :1, :1].expand_as(picture)
        assert torch.allclose(picture * (1 - where), ground * (1 - where), atol=1e-3)  # nothing of it is left out


def test_clip_trains_on_the_carried_weights() -> None:
    task = make_task("clip", CPU)
    task.batch = 16  # type: ignore[attr-defined]
    losses(task, 2)


def test_flat_convolutions_compute_what_conv3d_does() -> None:
    layer = nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0))
    video = torch.randn(2, 4, 5, 3, 7, generator=torch.Generator().manual_seed(0))
    wanted = layer(video)
    flatten_convolutions(layer)
    assert torch.allclose(layer(video), wanted, atol=1e-6)


def test_plain_attention_computes_what_diffusers_does() -> None:
    torch.manual_seed(0)
    unet = make_unet().eval()
    nn.init.normal_(unet.conv_out.weight, std=0.02)
    noise = torch.Generator().manual_seed(0)
    film, embedding = torch.randn(1, 5, 16, 12, 20, generator=noise), torch.randn(1, 1, 128, generator=noise)
    answers = []
    for processor in (PlainAttention(), AttnProcessor2_0()):
        unet.set_attn_processor(processor)
        with torch.no_grad():
            answers.append(unet(film, torch.tensor(0.3), embedding, added_time_ids=torch.rand(1, 3, generator=noise) * 0)[0])
    assert torch.allclose(*answers, atol=1e-4)
    assert answers[0].std() > 0.01


@torch.no_grad()
def test_a_picture_passes_only_the_layers_that_know_no_time_and_a_film_all() -> None:
    torch.manual_seed(0)
    unet, stock = make_unet().eval(), make_unet().eval()
    nn.init.normal_(unet.conv_out.weight, std=0.02)
    leave_time_out_of_pictures(unet)
    stock.load_state_dict(unet.state_dict())
    noise = torch.Generator().manual_seed(0)
    video, embedding = torch.randn(1, 5, 16, 12, 20, generator=noise), torch.randn(1, 1, 128, generator=noise)

    def answer(model: Any, frames: int) -> torch.Tensor:
        told: torch.Tensor = model(video[:, :frames], torch.tensor(0.3), embedding, added_time_ids=torch.zeros(1, 3))[0]
        return told

    assert torch.equal(answer(unet, 5), answer(stock, 5))
    with_time = answer(stock, 1)
    for name, weight in stock.named_parameters():
        if name.endswith("mix_factor"):
            weight.fill_(100)  # a sigmoid of one: nothing of the temporal layers
    assert torch.allclose(answer(unet, 1), answer(stock, 1), atol=1e-6)
    assert not torch.allclose(answer(unet, 1), with_time, atol=1e-4)


def test_pictures_reach_the_image_encoder_as_in_the_pipeline() -> None:
    pictures = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(resized_for_encoder(pictures), _resize_with_antialiasing(pictures, (224, 224)), atol=1e-5)


def test_trained_noise_levels_cover_those_of_the_sampler() -> None:
    trained = sample_sigmas(4000, torch.Generator().manual_seed(0))
    scheduler = make_scheduler()
    scheduler.set_timesteps(10)
    assert trained.min() < 1.5 * SIGMA_MIN
    assert trained.max() > 0.8 * SIGMA_MAX
    assert float(scheduler.sigmas[0]) <= SIGMA_MAX
    assert float(scheduler.sigmas[-2]) == pytest.approx(SIGMA_MIN)
    flux = sample_flux_sigmas(4000, torch.Generator().manual_seed(0))
    assert 0.25 < (flux > 0.9).float().mean() < 0.5  # calculated: about .36; without the shift .04


def test_pool_forgets_the_oldest_film_and_plays_films_backwards_too(teacher: Any) -> None:
    luck = Luck.from_seed(0)
    pool = FilmPool(teacher, 2, CPU)
    pool.add(3, luck)
    assert (pool.filled, pool.next) == (2, 1)
    films = [pool.draw(25, luck) for _ in range(16)]
    assert films[0].latents.shape == (25, 8, 12, 20)
    assert films[0].ends.shape == (2, 3, 96, 160)
    assert films[0].cells.shape == (25, 12, 20)
    assert all(0.03 < film.cells.mean() < 0.4 for film in films)
    forward = [any(torch.equal(film.latents, pool.latents[number].float()) for number in range(2)) for film in films]
    assert {True, False} == set(forward)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_training_films_are_outlined_as_often_as_asked(teacher: Any, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def noted(*given: Any, outlined: float) -> Any:
        asked.append(outlined)
        return sample_paths(*given, outlined=outlined)

    monkeypatch.setattr("flux_svd.pocket.film_pools.OUTLINED", share)
    monkeypatch.setattr("flux_svd.pocket.film_pools.sample_paths", noted)
    FilmPool(teacher, 2, CPU).add(2, Luck.from_seed(0))
    StillPool(teacher, 2, 2, CPU).add(2, Luck.from_seed(0), lambda pictures: pictures.mean((2, 3))[:, None, :2])
    assert asked == [share, share]


def test_single_frames_come_with_the_first_picture_of_their_film(teacher: Any) -> None:
    luck = Luck.from_seed(0)
    pool = StillPool(teacher, 2, 3, CPU)
    pool.add(4, luck, lambda pictures: pictures.mean((2, 3))[:, None, :2])
    assert (pool.filled, pool.next) == (3, 1)
    first, later, cells, seen = pool.draw(64, luck)
    assert first.shape == later.shape == (64, 1, 8, 12, 20)
    assert (cells.shape, seen.shape) == ((64, 1, 12, 20), (64, 1, 2))
    assert 0.03 < cells.mean() < 0.4
    for number in range(len(first)):
        kept = next(one for one in range(3) if torch.equal(first[number, 0], pool.latents[one, 0].float()))
        assert torch.equal(seen[number, 0], pool.seen[kept])
        assert any(torch.equal(later[number, 0], latents.float()) for latents in pool.latents[kept, 1:])


def test_states_of_the_sampler_are_in_the_time_of_their_way_with_the_true_film_as_answer(
    teacher: Any, eyes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flux_svd.pocket.rollouts.STEPS", range(4, 5))
    luck = Luck.from_seed(0)
    task = FilmTask(teacher, eyes, CPU, capacity=2)
    task.pool.add(1, luck)
    film = task.pool.draw(14, luck)
    states = roll_out(task.recorder, film, luck.words)
    clean = film.latents * teacher.config.scaling_factor
    ways = [torch.equal(state.clean, clean) for state in states]
    assert {True, False} == set(ways)
    for state, forward in zip(states, ways, strict=True):
        assert torch.equal(state.clean, clean if forward else clean.flip(0))
        assert torch.equal(state.cells, film.cells if forward else film.cells.flip(0))
        beginning = clean[0 if forward else -1] / teacher.config.scaling_factor
        assert (state.condition[0] - beginning).abs().mean() < 0.1  # the picture is encoded again, with a little noise
    assert all(state.sigma >= LEAST_SIGMA for state in states)
    assert max(state.sigma for state in states) == pytest.approx(SIGMA_MAX)


@pytest.mark.parametrize(
    ("done", "drawings", "rolled"),
    [(0.0, 0.0, 0.0), (0.5, 1.0, 0.0), (0.5, 0.0, 0.0), (0.5, 0.0, 1.0)],
    ids=["first-drawings", "drawings", "films", "states"],
)
def test_every_kind_of_batch_teaches(
    teacher: Any, eyes: Any, monkeypatch: pytest.MonkeyPatch, done: float, drawings: float, rolled: float
) -> None:
    monkeypatch.setattr("flux_svd.pocket.rollouts.STEPS", range(4, 5))
    for name, value in {"ROLLOUTS": 1, "STILL_BATCH": 4, "DRAWINGS": drawings, "ROLLED_EARLY": rolled}.items():
        monkeypatch.setattr(f"flux_svd.pocket.train_svd.{name}", value)
    task = FilmTask(teacher, eyes, CPU, batch=2, capacity=2)
    task.loss(Luck.from_seed(0), done).backward()  # type: ignore[no-untyped-call]
    assert float(task.unet.conv_out.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]
    drawn = done == 0 or drawings == 1
    assert bool(task.stills.filled) == drawn
    assert bool(task.pool.filled) == (not drawn)
    assert bool(task.states) == bool(rolled)


def test_a_changed_scene_differs_in_one_attribute_and_stays_out_of_the_held_out_ones() -> None:
    luck = Luck.from_seed(2)
    for _ in range(200):
        scene = sample_scene(luck.words)
        other = changed(scene, "shape", luck.words)
        assert scene.shape != other.shape or other == scene
        assert not is_held_out(other)
        assert (scene.color, scene.size, scene.background, scene.place) == (
            other.color,
            other.size,
            other.background,
            other.place,
        )


def test_every_model_can_be_trained_by_name() -> None:
    assert set(MINUTES) == {"flux", "klein", "clip", "svd", "svd-vae", "decoder"}
    model, tokenizer = load_clip(WEIGHTS / "pocket-clip")
    assert model.encode_text(tokenizer(["a red circle"])).shape == (1, 128)


def test_intervals_are_wilsons() -> None:
    figure = share("hits", [True] * 8 + [False] * 2)
    assert (figure.value, figure.n) == (0.8, 10)
    assert (figure.low, figure.high) == (pytest.approx(0.490, abs=0.001), pytest.approx(0.943, abs=0.001))
    assert share("all", [True] * 20).low == pytest.approx(0.839, abs=0.001)
    assert (share("none", []).low, share("none", []).high) == (0, 1)
    assert as_json([share("none", [])])["none"]["value"] is None
    assert mean("m", [1.0, 3.0, math.nan], "dB").n == 2
    assert "| hits | 0.800 | 10 |" in table("t", [figure])
