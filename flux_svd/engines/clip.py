"""How well pictures match texts and each other: cosines of open_clip embeddings. Judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import open_clip
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from flux_svd.catalog import ModelSpec
from flux_svd.engines.placement import check_weights, engine_errors, free_memory
from flux_svd.errors import BadOutput, ModelUnavailable

BATCH = 16  # pictures embedded together: ViT-B/32 then needs well under 1 GiB


class ClipScorer:
    """One loaded CLIP, from a folder with open_clip_config.json and open_clip_model.safetensors."""

    def __init__(self, spec: ModelSpec, folder: Path, device: str = "cpu") -> None:
        """Load the model.

        Raises:
            ModelUnavailable: a file is missing or damaged.
        """
        self.spec, self._device = spec, device
        if not (folder / "open_clip_config.json").is_file():
            raise ModelUnavailable(f"{folder / 'open_clip_config.json'} is missing. Download the model again.")
        check_weights(folder / "open_clip_model.safetensors")
        with engine_errors():
            name = f"local-dir:{folder}"
            self._model, self._prepare = open_clip.create_model_from_pretrained(name, device=device)
            self._model.eval()
            self._tokenize = open_clip.get_tokenizer(name)

    def cosine(self, images: Sequence[Image.Image], texts: Sequence[str]) -> list[float]:
        """Return the cosine of each picture with the text at the same place, −1 … 1.

        Raises:
            BadOutput: an embedding is not finite.
            ValueError: as many texts as images are needed.
        """
        if len(images) != len(texts):
            raise ValueError(f"{len(images)} images but {len(texts)} texts")
        with engine_errors():
            return [float(value) for value in (self._see(images) * self._read(texts)).sum(dim=-1)]

    def likeness(self, images: Sequence[Image.Image]) -> list[list[float]]:
        """Return the cosine of every picture with every picture, a symmetric matrix with ones on the diagonal.

        Raises:
            BadOutput: an embedding is not finite.
        """
        with engine_errors():
            seen = self._see(images)
            matrix: list[list[float]] = (seen @ seen.T).tolist()
            return matrix

    def release(self) -> None:
        """Give the memory back; the scorer is of no use afterwards."""
        del self._model
        free_memory()

    @torch.no_grad()
    def _see(self, images: Sequence[Image.Image]) -> Tensor:
        """Return unit embeddings (n, d) of the pictures, on the CPU."""
        parts = []
        for batch in _batches(images):
            pixels = torch.stack([self._prepare(picture.convert("RGB")) for picture in batch])  # (m, 3, side, side)
            parts.append(_unit(self._model.encode_image(pixels.to(self._device)), "pictures"))
        return torch.cat(parts)

    @torch.no_grad()
    def _read(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings (n, d) of the texts, on the CPU; equal texts are read once."""
        distinct = list(dict.fromkeys(texts))
        tokens = self._tokenize(distinct).to(self._device)
        embedded = _unit(self._model.encode_text(tokens), "texts")
        return embedded[[distinct.index(text) for text in texts]]


def _batches(images: Sequence[Image.Image]) -> Iterator[Sequence[Image.Image]]:
    for begin in range(0, len(images), BATCH):
        yield images[begin : begin + BATCH]


def _unit(embeddings: Tensor, what: str) -> Tensor:
    embeddings = functional.normalize(embeddings.float(), dim=-1).cpu()
    if not torch.isfinite(embeddings).all():
        raise BadOutput(f"The embeddings of the {what} are not finite numbers, so there is no score.")
    return embeddings
