"""Where the weights are: in the package, in the data folder, or in the Hugging Face cache; downloads and accepted licences.

The only room that may open a connection, and only when a user asks for a download.
"""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

from flux_svd import files, memory
from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.errors import ModelUnavailable
from flux_svd.plan import Inventory

POCKET_FOLDER = Path(__file__).parent / "pocket" / "weights"
_INDEX = {"clip": "open_clip_config.json"}
_PATTERNS = ("*.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors", "*/*.jinja", "LICENSE*", "*.md")
_CLIP_PATTERNS = ("open_clip_config.json", "open_clip_model.safetensors", "*.json", "*.txt", "LICENSE*", "*.md")


def read_inventory(home: Path) -> Inventory:
    """Return which models are complete on this disk and which licences are accepted."""
    found = frozenset(spec.name for spec in MODELS.values() if find_folder(spec, home) is not None)
    return Inventory(found, frozenset(files.read_json(home / "licences.json")))


def find_folder(spec: ModelSpec, home: Path) -> Path | None:
    """Return the folder that holds all parts of `spec`, or None.

    Looked for in this order: the package (pocket models), `models/<name>` in the data folder, the Hugging Face cache.
    """
    if spec.pocket:
        return _complete(POCKET_FOLDER / spec.name, spec)
    return _complete(home / "models" / spec.name, spec) or _complete(_cached(spec), spec)


def need_folder(spec: ModelSpec, home: Path) -> Path:
    """Return the folder of `spec`.

    Raises:
        ModelUnavailable: it is not complete on this disk.
    """
    folder = find_folder(spec, home)
    if folder is None:
        raise ModelUnavailable(f"{spec.name} is not complete on this disk. Run: flux-svd models download {spec.name}")
    return folder


def accept_licence(spec: ModelSpec, home: Path) -> None:
    """Record that the user accepts the licence of `spec`, with the time."""
    accepted = files.read_json(home / "licences.json")
    accepted[spec.licence.id] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    files.write_json(home / "licences.json", accepted)


def download(spec: ModelSpec, home: Path) -> Path:
    """Download what is missing of `spec` into the Hugging Face cache, resuming what was begun, and return its folder.

    Raises:
        ModelUnavailable: the licence is not accepted, access is not granted, the disk is too small, or the download fails.
    """
    if spec.pocket:
        return need_folder(spec, home)
    if spec.licence.needs_consent and spec.licence.id not in files.read_json(home / "licences.json"):
        raise ModelUnavailable(
            f"{spec.name} comes under the {spec.licence.title}. {spec.licence.allows} Read {spec.licence.url}, then run: "
            f"flux-svd models accept {spec.name}"
        )
    from huggingface_hub import constants, errors, snapshot_download

    _check_disk(spec, Path(constants.HF_HUB_CACHE))
    try:
        patterns = list(_CLIP_PATTERNS if spec.family == "clip" else _PATTERNS)
        return Path(snapshot_download(spec.repo, revision=spec.revision or None, allow_patterns=patterns))
    except errors.GatedRepoError:
        raise ModelUnavailable(
            f"{spec.repo} is gated. Accept its licence at https://huggingface.co/{spec.repo} with your account, and give the "
            "program a token with read access: set HF_TOKEN, or run: hf auth login"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelUnavailable(
            f"{spec.repo} was not found, or your token may not see it. Check the token's scope (read access to gated "
            "repositories)."
        ) from None
    except (OSError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        raise ModelUnavailable(
            f"{spec.name} could not be downloaded ({type(error).__name__}). What arrived is kept; run the same command again "
            "to go on. Is there a connection?"
        ) from error


def _check_disk(spec: ModelSpec, cache: Path) -> None:
    place = cache
    while not place.exists():
        place = place.parent
    free, needed = shutil.disk_usage(place).free, int(spec.bytes_at("bf16") * 1.05)
    if free < needed:
        raise ModelUnavailable(
            f"{spec.name} needs {memory.format_gib(needed)} of disk at {cache}; {memory.format_gib(free)} are free. Free some, "
            "or set HF_HOME to a larger disk."
        )


def _cached(spec: ModelSpec) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    name = _INDEX.get(spec.family, "model_index.json")
    found = try_to_load_from_cache(spec.repo, name, revision=spec.revision or None)
    return Path(found).parent if isinstance(found, str) else None


def _complete(folder: Path | None, spec: ModelSpec) -> Path | None:
    """Return `folder` if every part its index names has its weights, else None."""
    if folder is None:
        return None
    if spec.family == "clip":
        weights = folder / "open_clip_model.safetensors"
        return folder if weights.is_file() and (folder / _INDEX["clip"]).is_file() else None
    index = files.read_json(folder / "model_index.json")
    parts = [name for name, value in index.items() if isinstance(value, list) and value[0] is not None]
    whole = bool(parts) and all(_part_complete(folder / name) for name in parts)
    return folder if whole else None


def _part_complete(part: Path) -> bool:
    if not part.is_dir():
        return False
    for shards in part.glob("*.safetensors.index.json"):
        try:
            names = set(json.loads(shards.read_text("utf-8"))["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError):
            return False
        return all((part / name).is_file() for name in names)
    has_config = (part / "config.json").is_file()
    return any(part.glob("*.safetensors")) if has_config else any(part.iterdir())
