"""The commands about what is here: models with their licences and downloads, and the machine itself."""

from __future__ import annotations

import argparse
import platform
import threading
from pathlib import Path
from typing import Any

from flux_svd import __version__, device, memory, weights
from flux_svd.catalog import MODELS, ModelSpec, find_model
from flux_svd.cli_border import Answer, Told, json_option, say
from flux_svd.errors import InvalidRequest
from flux_svd.plan import Inventory
from flux_svd.versions import installed_versions

LIBRARIES = ("torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "open_clip_torch", "gradio")


def add_commands(commands: Any) -> None:
    """Add models and doctor to the parser's commands."""
    models = commands.add_parser("models", parents=[json_option()], help="which models there are, downloads and licences")
    models.set_defaults(command=_models, action="list", name=[])
    actions, common = models.add_subparsers(metavar="ACTION", title="actions"), json_option(default=argparse.SUPPRESS)
    for name, does in (
        ("list", "each with its size, whether it is here, and its licence; what models alone does"),
        ("show", "everything that is known of a model"), ("download", "get its weights, or go on where a download ended"),
        ("accept", "accept its licence, where that is asked for"),
    ):  # fmt: skip
        action = actions.add_parser(name, parents=[common], help=does)
        action.add_argument("name", nargs="*", metavar="NAME")
        # Threads of a download could not be stopped otherwise.
        action.set_defaults(action=name, stops="abruptly" if name == "download" else "now")
    doctor = commands.add_parser("doctor", parents=[json_option()], help="what this machine has")
    doctor.set_defaults(command=_doctor)


def _models(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    specs = [find_model(name, field="models") for name in arguments.name] or list(MODELS.values())
    if arguments.action in ("download", "accept") and not arguments.name:
        raise InvalidRequest("models", "", f"names of models to {arguments.action}: " + ", ".join(MODELS))
    if arguments.action == "accept":
        for spec in specs:
            weights.accept_licence(spec, home)
    if arguments.action == "download":
        for spec in specs:
            say(f"{spec.title}: {spec.licence.title}. {spec.licence.allows}")
            say(f"{spec.name} is at {weights.download(spec, home)}")
    inventory = weights.read_inventory(home)
    rows = [_describe_model(spec, inventory) for spec in specs]
    if arguments.action == "show":
        text = "\n\n".join("\n".join(f"{key:>12}: {value}" for key, value in row.items()) for row in rows)
    else:
        text = "\n".join(
            f"{row['name']:<20} {row['gib']:>7.2f} GiB  {'ready' if row['ready'] else row['state']:<22} {row['licence']}"
            for row in rows)
    return text, {"models": rows}


def _describe_model(spec: ModelSpec, inventory: Inventory) -> Answer:
    on_disk = spec.name in inventory.on_disk
    ready = inventory.has(spec)
    return {
        "name": spec.name, "title": spec.title, "family": spec.family, "repo": spec.repo, "licence": spec.licence.id,
        "licence_text": spec.licence.allows, "licence_url": spec.licence.url, "gated": spec.gated,
        "gib": round(spec.bytes_at("fp32" if spec.pocket else "bf16") / memory.GIB, 3), "steps": spec.steps,
        "guidance": spec.guidance, "size": list(spec.size), "obeys": sorted(spec.obeys), "ready": ready,
        "state": "ready" if ready else "licence not accepted" if on_disk else "not on this disk",
        "sources": list(spec.sources), "unconfirmed": list(spec.unconfirmed),
    }


def _doctor(arguments: argparse.Namespace, stop: threading.Event, home: Path) -> Told:
    from huggingface_hub import get_token

    budget = device.read_budget(home)
    answer: Answer = {
        "flux_svd": __version__,
        "python": platform.python_version(),
        "versions": dict(installed_versions(*LIBRARIES)),
        "device": budget.device,
        "device_name": budget.device_name,
        "device_memory": memory.format_gib(budget.device_bytes),
        "host_memory": memory.format_gib(budget.host_bytes),
        "disk_free": memory.format_gib(budget.disk_bytes),
        "data_folder": str(home),
        "ffmpeg": _ffmpeg(),
        "token": get_token() is not None,
        "models": sorted(weights.read_inventory(home).on_disk),
    }
    lines = {
        **{name: str(value) for name, value in answer.items()},
        "versions": f"\n{'':>16}".join(f"{name} {version}" for name, version in answer["versions"].items()),
        "token": "found, for models that ask for one" if answer["token"] else "none; only models that ask first need one",
        "models": ", ".join(answer["models"]) or "none",
    }
    return "\n".join(f"{name:>14}  {value}" for name, value in lines.items()), answer


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_version())
    except (OSError, RuntimeError):
        return "missing"
