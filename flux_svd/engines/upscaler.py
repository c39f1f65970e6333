"""Learned upscalers through spandrel, from a file the user brings. Reads weights only: no code comes from a file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from flux_svd.engines.placement import check_weights, engine_errors
from flux_svd.errors import InvalidRequest, ModelUnavailable, UnreadableFile

TILE = 256  # pixels of a side that the network sees at once, beside the overlap
OVERLAP = 32  # pixels around a tile that are computed and thrown away, so that tiles meet without seams


class LearnedUpscaler:
    """A network that enlarges pictures."""

    def __init__(self, file: Path) -> None:
        """Load the network on the processor.

        Raises:
            UnreadableFile: no .safetensors file of an upscaler for colour pictures.
            ModelUnavailable: spandrel is not installed, or the file is damaged.
        """
        if file.suffix != ".safetensors":
            raise UnreadableFile("upscaler", str(file), "a .safetensors file; other kinds of files may carry code")
        try:
            spandrel: Any = importlib.import_module("spandrel")
        except ImportError:
            raise ModelUnavailable("learned upscalers need spandrel. Run: pip install 'flux-svd[upscale]'") from None
        check_weights(file)
        try:
            self._network = spandrel.ModelLoader(torch.device("cpu")).load_from_state_dict(load_file(file)).eval()
        except spandrel.UnsupportedModelError:
            raise UnreadableFile("upscaler", str(file), "an architecture that spandrel knows") from None
        kind = self._network
        if not isinstance(kind, spandrel.ImageModelDescriptor) or (kind.input_channels, kind.output_channels) != (3, 3):
            raise UnreadableFile("upscaler", str(file), "a network from colour pictures to colour pictures")

    def enlarge(self, picture: Image.Image, scale: int) -> Image.Image:
        """Return the RGB picture `scale` times as large.

        Raises:
            InvalidRequest: this network enlarges otherwise.
            OutOfMemory: a tile does not fit.
        """
        if self._network.scale != scale:
            raise InvalidRequest("scale", scale, f"{self._network.scale}, which this upscaler was made for")
        pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255).permute(2, 0, 1)[None]  # (1, 3, height, width)
        with engine_errors(), torch.no_grad():
            larger = self._in_tiles(pixels, scale)
        return Image.fromarray((larger[0].permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy())

    def _in_tiles(self, pixels: Tensor, scale: int) -> Tensor:
        height, width = pixels.shape[-2:]
        larger = pixels.new_empty(1, 3, height * scale, width * scale)
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                bottom, right = min(top + TILE, height), min(left + TILE, width)
                above, before = max(top - OVERLAP, 0), max(left - OVERLAP, 0)
                seen = pixels[..., above : bottom + OVERLAP, before : right + OVERLAP]
                made = self._network(seen)
                rows = slice((top - above) * scale, (bottom - above) * scale)
                columns = slice((left - before) * scale, (right - before) * scale)
                larger[..., top * scale : bottom * scale, left * scale : right * scale] = made[..., rows, columns]
        return larger
