"""Where the weights are: in the package, in the data folder, or in the Hugging Face cache; downloads and accepted licences.

Files with a transformer of the user's own stay where they are; here is which were given. The only room that may open a
connection, and only when a user asks for a download.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import math
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flux_svd import files, memory
from flux_svd.catalog import MODELS, ModelSpec
from flux_svd.errors import InvalidRequest, ModelUnavailable, UnreadableFile
from flux_svd.plan import Inventory

_LOG = logging.getLogger(__name__)
POCKET_FOLDER = Path(__file__).parent / "pocket" / "weights"
NO_TOKEN = "It is given only to accounts, and this program has no token of yours: set HF_TOKEN, or run hf auth login."
NOT_ACCEPTED = "Your account has not been granted access yet: open the model's page, read its licence and agree to it there."
TOKEN_LACKS_SCOPE = "Your token may not read gated repositories: allow it in the token's settings, or use one with read access."
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_INDEX = {"clip": "open_clip_config.json"}
_PATTERNS = ("*.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors", "*/*.jinja", "LICENSE*", "*.md")
_CLIP_PATTERNS = ("open_clip_config.json", "open_clip_model.safetensors", "*.json", "*.txt", "LICENSE*", "*.md")


@dataclass(frozen=True)
class Hurdle:
    """What keeps this user from a gated model, and where it is removed."""

    words: str
    link: str


def read_inventory(home: Path) -> Inventory:
    """Return which models are complete on this disk and which licences are accepted."""
    found = frozenset(spec.name for spec in MODELS.values() if find_folder(spec, home) is not None)
    own = _given_files(home)
    gguf = frozenset((name, row["bytes"]) for name, row in own.items() if Path(row["file"]).suffix.lower() == ".gguf")
    encoders = frozenset((name, row["parameters"]) for name, row in own.items() if "parameters" in row)
    return Inventory(found, frozenset(files.read_json(home / "licences.json")), gguf, encoders)


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
    with files.changed_json(home / "licences.json") as accepted:
        accepted[spec.licence.id] = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


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
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        hurdle = _hurdle_of(spec, error)
        raise ModelUnavailable(f"{spec.repo}: {hurdle.words} See {hurdle.link}") from None
    except (OSError, errors.HfHubHTTPError, errors.LocalEntryNotFoundError) as error:
        raise ModelUnavailable(
            f"{spec.name} could not be downloaded ({type(error).__name__}). What arrived is kept; run the same command again "
            "to go on. Is there a connection?"
        ) from error


def find_hurdle(spec: ModelSpec) -> Hurdle | None:
    """Return why the Hub would not give this model to this user, or None where it would or cannot be asked."""
    if not spec.gated:
        return None
    from huggingface_hub import HfApi, errors

    try:
        HfApi().auth_check(spec.repo)
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        return _hurdle_of(spec, error)
    except (OSError, errors.HfHubHTTPError):  # no connection: the download says so
        return None
    return None


def downloaded_bytes(spec: ModelSpec) -> int:
    """Return how many bytes of `spec` are in the Hugging Face cache, half files included."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{spec.repo.replace('/', '--')}" / "blobs"
    total = 0
    for file in folder.glob("*"):
        with suppress(OSError):  # it gets its last name just now
            total += file.stat().st_blocks * 512 if os.name == "posix" else file.stat().st_size
    return total


def cache_disk_free() -> int:
    """Return the free bytes where downloads go."""
    from huggingface_hub import constants

    return shutil.disk_usage(_existing(Path(constants.HF_HUB_CACHE))).free


def needed_disk(spec: ModelSpec) -> int:
    return int(spec.bytes_at("bf16") * 1.05)


def keep_model_file(file: Path, home: Path, *, field: str = "model_file") -> str:
    """Return the id (sha256) by which requests name a transformer of the user's own; the file stays where it is.

    Reads the whole file the first time.

    Raises:
        UnreadableFile: it is missing, damaged, or of a kind that may carry code.
    """
    path = file.absolute()
    _check_model_file(path, field)
    return _keep(path, home, b"", {})


def keep_text_encoder(folder: Path, home: Path) -> str:
    """Return the id by which requests name a text encoder of the user's own: of its weights and its settings.

    Raises:
        UnreadableFile: `model.safetensors` or `config.json` in it is missing or damaged.
    """
    path, settings = folder.absolute() / "model.safetensors", folder.absolute() / "config.json"
    header = _check_model_file(path, "text_encoder")
    try:
        words = settings.read_bytes()
    except OSError as error:
        allowed = f"a folder with config.json beside model.safetensors ({error.strerror})"
        raise UnreadableFile("text_encoder", str(folder), allowed) from None
    shapes = [row["shape"] for name, row in header.items() if name != "__metadata__"]
    return _keep(path, home, words, {"parameters": sum(math.prod(shape) for shape in shapes)})


def _keep(path: Path, home: Path, words: bytes, facts: dict[str, int]) -> str:
    """Return the id of a file and of `words` that belong to it; keep where it is, and these facts about it."""
    known = _given_files(home)
    row = {**_stamp(path), **facts, **({"settings": hashlib.sha256(words).hexdigest()} if words else {})}
    for name, other in known.items():
        if other == row:
            return name
    digest = hashlib.sha256(words)
    with path.open("rb") as opened:
        while piece := opened.read(2**24):
            digest.update(piece)
    name = digest.hexdigest()
    with files.changed_json(home / "model_files.json") as known:
        known[name] = row
    return name


def _given_files(home: Path) -> dict[str, dict[str, Any]]:
    """Return what is known of the files that were given to this machine, by id; a row that is none is told and left out."""
    place = home / "model_files.json"
    rows = {}
    for name, row in files.read_json(place).items():
        told = row if isinstance(row, dict) else {}
        numbers = (told.get("bytes"), told.get("parameters", 0))
        if isinstance(told.get("file"), str) and all(isinstance(number, int) for number in numbers):
            rows[name] = told
        else:
            _LOG.warning("%s is damaged: what it says of the model file %s is left out; give that file again", place, name[:16])
    return rows


def find_model_file(name: str, home: Path, *, field: str = "model_file") -> Path:
    """Return the file of a transformer that was given before.

    Raises:
        InvalidRequest: no such file was given to this machine.
        UnreadableFile: the file is gone or has changed since.
    """
    row = _given_files(home).get(name)
    if row is None:
        raise InvalidRequest(field, name, "the id of a .safetensors or .gguf file that was given to this machine before")
    path = Path(row["file"])
    if not path.is_file():
        raise UnreadableFile(field, str(path), "a file that is still there; put it back, or give it again from where it is")
    if {**row, **_stamp(path)} != row:
        raise UnreadableFile(field, str(path), "a file as it was when it was given; it has changed: give it again")
    return path


def _check_model_file(path: Path, field: str) -> dict[str, Any]:
    """Return the header of a file that is whole by what it says of its length; nothing of it is loaded.

    The header of a .gguf file does not say that; it is checked when it is read.
    """
    head = b""
    try:
        size = path.stat().st_size
        with path.open("rb") as opened:
            head = opened.read(8)
            if path.suffix.lower() == ".gguf":
                if head[:4] != b"GGUF" or int.from_bytes(head[4:8], "little") not in (2, 3):  # ggml docs/gguf.md
                    raise ValueError("its first bytes are not those of GGUF 2 or 3")
                return {}
            length = int.from_bytes(head, "little")
            if path.suffix.lower() in _PICKLES or not 2 <= length <= min(size - 8, 2**27):
                raise ValueError("its header is cut off")
            header: dict[str, Any] = json.loads(opened.read(length))
        end = max(row["data_offsets"][1] for name, row in header.items() if name != "__metadata__")
        if 8 + length + end != size:
            raise ValueError(f"{size} bytes of {8 + length + end}")
        return header
    except OSError as error:
        raise UnreadableFile(field, str(path), f"a file that can be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if path.suffix.lower() in _PICKLES or head[:2] == b"PK" or head[:1] == b"\x80":
            why = "a .safetensors or .gguf file; those of PyTorch's own kind may carry code and are never loaded"
        else:
            why = f"an undamaged .safetensors or .gguf file ({error})"
        raise UnreadableFile(field, str(path), why) from None


def _stamp(path: Path) -> dict[str, str | int]:
    told = path.stat()
    return {"file": str(path), "bytes": told.st_size, "changed": told.st_mtime_ns}


def _hurdle_of(spec: ModelSpec, error: Exception) -> Hurdle:
    """Return what stands in the way, from the Hub's own words: one of three things, each with its own remedy."""
    from huggingface_hub import get_token

    told = str(getattr(error, "server_message", None) or error).lower()
    if get_token() is None:
        return Hurdle(NO_TOKEN, "https://huggingface.co/settings/tokens")
    # As quoted in huggingface_hub issue 2844, 2025-02: a fine-grained token without the box for gated repositories.
    if any(word in told for word in ("fine-grained", "token settings", "insufficient", "repository not found")):
        return Hurdle(TOKEN_LACKS_SCOPE, "https://huggingface.co/settings/tokens")
    return Hurdle(NOT_ACCEPTED, f"https://huggingface.co/{spec.repo}")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _check_disk(spec: ModelSpec, cache: Path) -> None:
    free, needed = shutil.disk_usage(_existing(cache)).free, needed_disk(spec)
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
