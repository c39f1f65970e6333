"""The command line's part for pictures: curves of guidance, pictures to begin at, variations, larger copies."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

from flux_svd import presets
from flux_svd.cli_border import Told, json_option
from flux_svd.errors import InvalidRequest
from flux_svd.request import ImageRequest, describe_bounds
from flux_svd.upscale import SCALES, upscale_file


def add_commands(commands: Any) -> None:
    """Add upscale to the parser's commands."""
    larger = commands.add_parser("upscale", parents=[json_option()], help="a picture, two or four times as large")
    larger.add_argument("file", type=Path, help="PNG, JPEG or WebP")
    larger.add_argument("--scale", default="2", metavar="N", help=f"{' or '.join(map(str, SCALES))} (default: %(default)s)")
    larger.add_argument("--upscaler", type=Path, metavar="FILE", help="network of your own (.safetensors); else interpolation")
    larger.add_argument("--output", type=Path, metavar="FOLDER", help="where to write (default: beside the picture)")
    larger.set_defaults(command=_upscale)


def add_wishes(parser: argparse.ArgumentParser) -> None:
    """Add the options of every picture that are not one word each."""
    parser.add_argument("--model-file", type=Path, metavar="FILE", help="transformer of your own instead of the model's, one "
                        ".safetensors or .gguf file (FLUX.1 models)")  # fmt: skip
    parser.add_argument("--text-encoder", type=Path, metavar="FOLDER", help="smaller text encoder instead of T5-XXL: folder with "
                        "config.json and model.safetensors of a T5 with a projection, as DistillT5 (FLUX.1 models)")  # fmt: skip
    parser.add_argument(
        "--guidance-curve", metavar="1,4,1", help="guidance from the first step to the last, instead of one value; 1,4,1 is low, "
        "high, low (models with guidance only)",
    )  # fmt: skip


def add_beginnings(parser: argparse.ArgumentParser) -> None:
    """Add what a picture may begin at."""
    parser.add_argument("--start", type=Path, metavar="FILE", help="picture to begin at instead of noise, cut to the same shape "
                        "(FLUX.1 models)")  # fmt: skip
    parser.add_argument(
        "--variations-of", type=Path, metavar="FILE", help="pictures near one made here: its settings and seed, with noise "
        f"turned by --variation ({presets.VARIATION}), --count of them ({presets.VARIATIONS})",
    )  # fmt: skip


def read_wishes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of a request that `add_wishes` added options for."""
    if arguments.guidance_curve is None:
        return {}
    try:
        return {"guidance_curve": [float(knot) for knot in arguments.guidance_curve.split(",")]}
    except ValueError:
        raise InvalidRequest(
            "guidance_curve", arguments.guidance_curve, f"numbers with commas, {describe_bounds(ImageRequest, 'guidance_curve')}"
        ) from None


def _upscale(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    try:
        scale = int(arguments.scale)
    except ValueError:
        raise InvalidRequest("scale", arguments.scale, " or ".join(map(str, SCALES))) from None
    path = str(upscale_file(arguments.file, scale, upscaler=arguments.upscaler, folder=arguments.output))
    return path, {"path": path, "scale": scale}
