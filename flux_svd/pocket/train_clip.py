"""Train pocket-clip: contrastive, with captions that differ in one attribute side by side in a batch.

Retrieval among random captions hides blindness to position; only neighbours that differ in one word show and heal it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from flux_svd.pocket.loop import Luck
from flux_svd.pocket.painter import paint_scenes
from flux_svd.pocket.world import COLORS, PLACES, SHAPES, SIZES, STAGES, Scene, caption, is_held_out, sample_scene

INPUT = 64  # pixels, both ways
CHANGES = ("shape", "color", "place", "size", "background", "stage")
# How often each is what a caption's neighbours differ in: colours are learned at once, shapes and stages last.
_OFTEN_STILL = (3, 1, 1.5, 2, 1, 0)
_OFTEN_MOVING = (3, 1, 0, 2, 1, 4)
_MODEL: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": INPUT, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 73, "width": 128, "heads": 4, "layers": 3},
}


def make_clip(generator: torch.Generator) -> Any:
    """Return a new open_clip model whose patch positions start as 2-D sines, without which place is learned very slowly."""
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))  # open_clip initialises from the global one
    model = open_clip.model.CLIP(**_MODEL)
    with torch.no_grad():
        y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        waves = torch.pi / 8 * 2 ** torch.linspace(-1, 2, 32)
        angles = [axis.reshape(-1, 1) * waves for axis in (x, y)]  # (64, 32) each
        sines = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)  # (64, 128)
        model.visual.positional_embedding[1:] = 0.5 * sines
    return model


def load_clip(folder: Path) -> tuple[Any, Any]:
    """Return (model, tokenizer) from a folder in open_clip's local layout, float32."""
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.float(), open_clip.get_tokenizer(f"local-dir:{folder}")


class ClipTask:
    """Symmetric cross-entropy over the cosines of a batch of pictures and captions."""

    name = "clip"
    learning_rate = 1e-3
    average = 0.99
    matrices: Sequence[nn.Parameter] = ()

    def __init__(self, model: Any, tokenizer: Any, device: torch.device, *, batch: int = 128) -> None:
        self.model, self.tokenizer, self.device, self.batch = model.train(), tokenizer, device, batch
        self.modules: dict[str, nn.Module] = {"clip": model}

    def loss(self, luck: Luck, done: float) -> Tensor:
        """Return the loss of one batch in groups of four: a scene and three that differ from it in one attribute each."""
        scenes: list[Scene] = []
        while len(scenes) < self.batch:
            scene = sample_scene(luck.words)
            often = _OFTEN_STILL if scene.move is None else _OFTEN_MOVING
            scenes += [scene, *(changed(scene, name, luck.words) for name in luck.words.choices(CHANGES, often, k=3))]
        scenes = [replace(scene, says=scene.says | {"background", "place", "size"}) for scene in scenes[: self.batch]]
        pictures = small_pictures(scenes, luck).to(self.device)
        tokens = self.tokenizer([caption(scene, luck.words) for scene in scenes]).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            seen, read, scale = self.model(pictures, tokens)[:3]
        cosines = scale.clamp(max=100) * seen.float() @ read.float().T  # (batch, batch)
        twins = torch.tensor([[a == b for b in scenes] for a in scenes]).to(self.device)
        cosines = cosines.masked_fill(twins & ~torch.eye(self.batch, dtype=torch.bool, device=self.device), -1e4)
        target = torch.arange(self.batch, device=self.device)
        loss: Tensor = nn.functional.cross_entropy(cosines, target) + nn.functional.cross_entropy(cosines.T, target)
        return loss / 2

    def save(self, folder: Path) -> None:
        """Write a folder in open_clip's local layout, float16."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {key: value.detach().half().contiguous().cpu() for key, value in self.model.state_dict().items()}
        save_file(state, folder / "open_clip_model.safetensors")
        text = _MODEL["text_cfg"] | {"hf_tokenizer_name": "tok_clip"}  # any name: the folder's own tokenizer is used
        squash = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
        config = {"model_cfg": _MODEL | {"text_cfg": text}, "preprocess_cfg": squash}
        (folder / "open_clip_config.json").write_text(json.dumps(config))
        self.tokenizer.tokenizer.save_pretrained(folder)


def changed(scene: Scene, attribute: str, rng: random.Random, *, for_training: bool = True) -> Scene:
    """Return a scene that differs in `attribute` alone, or the scene itself; for training never a held-out one.

    The scene itself comes back where the attribute does not apply: a still scene has no stage, a moving one no place.
    """
    for _ in range(30):
        other = _changed(scene, attribute, rng)
        if other != scene and not (for_training and is_held_out(other)):
            return other
    return scene


def _changed(scene: Scene, attribute: str, rng: random.Random) -> Scene:
    if attribute == "stage":
        return scene if scene.move is None else replace(scene, move=(*scene.move[:2], rng.choice(list(STAGES)[:3])))
    if attribute == "place":
        return replace(scene, place=rng.choice(list(PLACES))) if scene.move is None else scene
    if attribute in ("color", "background"):
        free = [name for name in COLORS if name not in (scene.color, scene.background)]
        name = rng.choice(free)
        return replace(scene, color=name) if attribute == "color" else replace(scene, background=name)
    if attribute == "size":
        return replace(scene, size=rng.choice(list(SIZES))) if not scene.outlined else scene
    return replace(scene, shape=rng.choice(SHAPES))


def small_pictures(scenes: list[Scene], luck: Luck) -> Tensor:
    """Return pictures (n, 3, 64, 64), half of them painted square and half 160 × 96 and squashed, as the model is used."""
    half = len(scenes) // 2
    square = paint_scenes(scenes[:half], 128, 128, luck.noise)
    wide = paint_scenes(scenes[half:], 160, 96, luck.noise)

    def squashed(pictures: Tensor) -> Tensor:
        size = (INPUT, INPUT)
        return nn.functional.interpolate(pictures, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)

    return torch.cat([squashed(part) for part in (square, wide) if len(part)])
