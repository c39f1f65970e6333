"""Train one pocket model: `python -m flux_svd.pocket.train NAME`. Stop it at any time; the same line goes on from there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLTemporalDecoder,
    Flux2KleinPipeline,
    FluxPipeline,
    StableVideoDiffusionPipeline,
)

from flux_svd.pocket.eyes import make_eyes
from flux_svd.pocket.loop import Luck, Task, Training, train
from flux_svd.pocket.train_clip import ClipTask, load_clip, make_clip
from flux_svd.pocket.train_decoder import DecoderTask
from flux_svd.pocket.train_flux import FluxTask, make_pipeline
from flux_svd.pocket.train_klein import KleinTask
from flux_svd.pocket.train_klein import make_pipeline as make_klein
from flux_svd.pocket.train_svd import FilmTask
from flux_svd.pocket.train_svd_vae import VaeTask, make_vae

WEIGHTS = Path(__file__).parent / "weights"
# Of one CPU core; see the model cards.
MINUTES = {"flux": 180.0, "klein": 240.0, "clip": 20.0, "decoder": 25.0, "svd-vae": 60.0, "svd": 240.0}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the model that the command line names, into `--folder`: `state.pt` to resume from and `model/` to use."""
    chosen = _parser().parse_args(arguments)
    device = torch.device(chosen.device)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)  # only new weights are drawn from it: their classes offer no other way
    training = Training(make_task(chosen.name, device, fresh=chosen.fresh), Luck.from_seed(chosen.seed), device)
    folder: Path = chosen.folder or Path("training-runs") / chosen.name
    if (folder / "state.pt").exists():
        training.load_state(folder / "state.pt")
        print(f"resumed at step {training.step}, {training.seconds / 60:.1f} min", flush=True)
    minutes = chosen.minutes or MINUTES[chosen.name]
    train(training, folder, minutes=minutes, steps=chosen.steps, say=lambda line: print(line, flush=True))


def make_task(name: str, device: torch.device, *, fresh: bool = False) -> Task:
    """Return the task of that name, on the weights carried inside the package, or on new ones.

    Even a fresh one uses the carried tokenizers and the carried autoencoder of pocket-flux, whose latents all share.
    """
    if name == "clip":
        model, tokenizer = load_clip(WEIGHTS / "pocket-clip")
        return ClipTask(make_clip(torch.Generator().manual_seed(0)) if fresh else model, tokenizer, device)
    if name == "flux":
        pipeline = FluxPipeline.from_pretrained(WEIGHTS / "pocket-flux", dtype=torch.float32)
        return FluxTask(make_pipeline(pipeline) if fresh else pipeline, device)
    if name == "klein":
        flux = FluxPipeline.from_pretrained(WEIGHTS / "pocket-flux", dtype=torch.float32)
        carried = WEIGHTS / "pocket-klein"
        new = fresh or not carried.exists()
        pipeline = make_klein(flux) if new else Flux2KleinPipeline.from_pretrained(carried, dtype=torch.float32)
        return KleinTask(pipeline, flux, device)
    teacher = AutoencoderKL.from_pretrained(WEIGHTS / "pocket-flux" / "vae", dtype=torch.float32)
    if name == "decoder":
        return DecoderTask(teacher, device)
    if name == "svd-vae":
        vae = make_vae(teacher.config.scaling_factor)
        folder = WEIGHTS / "pocket-svd" / "vae"
        is_temporal = AutoencoderKL.load_config(folder)["_class_name"] == AutoencoderKLTemporalDecoder.__name__
        if is_temporal and not fresh:  # the first pocket-svd borrows the picture autoencoder
            vae = AutoencoderKLTemporalDecoder.from_pretrained(folder, dtype=torch.float32)
        return VaeTask(teacher, vae, device)
    if fresh:
        return FilmTask(teacher, make_eyes(load_clip(WEIGHTS / "pocket-clip")[0]), device)
    kept = StableVideoDiffusionPipeline.from_pretrained(WEIGHTS / "pocket-svd", dtype=torch.float32)
    task = FilmTask(teacher, kept.image_encoder, device)
    task.unet.load_state_dict(kept.unet.state_dict())
    task.vae = kept.vae
    return task


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flux_svd.pocket.train", description=__doc__)
    parser.add_argument("name", choices=sorted(MINUTES))
    parser.add_argument("--minutes", type=float, help="of work, over all resumes; processor time on a CPU")
    parser.add_argument("--steps", type=int, default=10**9, help="stop after so many, over all resumes")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--folder", type=Path, help="default: training-runs/NAME")
    parser.add_argument("--fresh", action="store_true", help="start from new weights, not from those in the package")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: torch decides")
    return parser


if __name__ == "__main__":
    main()
