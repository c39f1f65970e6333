"""A frame between two frames, by a network the user brings as a TorchScript file. None comes with the program."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flux_svd.densify import Between
from flux_svd.errors import BadOutput, InvalidRequest

CALLED = "a TorchScript file that is called with two pictures (1, 3, h, w) in 0 … 1 and a time (1, 1), and returns one"


def load_interpolator(path: Path, device: str = "cpu") -> Between:
    """Return a function that makes the frame halfway between two.

    A TorchScript file is a program: load only what you trust.

    Raises:
        InvalidRequest: the file is no TorchScript.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidRequest("interpolator", str(path), f"{CALLED} ({str(error).splitlines()[0][:100]})") from None

    def between(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pictures = [torch.from_numpy(one.copy()).to(device).permute(2, 0, 1)[None].float() / 255 for one in (first, second)]
        with torch.no_grad():
            try:
                made = network(*pictures, torch.full((1, 1), 0.5, device=device))
            except (RuntimeError, TypeError) as error:
                raise InvalidRequest("interpolator", str(path), f"{CALLED} ({str(error).splitlines()[-1][:100]})") from None
        if not isinstance(made, torch.Tensor) or made.shape != pictures[0].shape:
            raise InvalidRequest("interpolator", str(path), CALLED)
        if not torch.isfinite(made).all():
            raise BadOutput(f"{path.name} made a frame that is not finite numbers. Nothing was saved.")
        frame: NDArray[np.uint8] = (made[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        return frame

    return between
