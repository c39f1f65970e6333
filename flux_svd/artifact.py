"""What a result is, and how it carries its request and recipe: in PNG and MP4 files, back out of them, and in the sidecar.

Equal jobs give equal bytes: files hold nothing of the run itself. Seconds, device and scores stand in the sidecar beside them.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import struct
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from flux_svd import __version__, files
from flux_svd.catalog import MODELS
from flux_svd.errors import UnreadableFile
from flux_svd.pictures import encode_png
from flux_svd.recipe import ImageRecipe, Recipe, VideoRecipe, recipe_from_json, to_json
from flux_svd.request import Request, make_request

# https://cv.iptc.org/newscodes/digitalsourcetype/: media made by a trained model
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes  # XMP specification part 3, section 1.2.7
_RECORD_BOX = uuid.UUID("5f1c3a52-6f0e-4d0f-9a64-6d7b6a2f7d11").bytes  # our own
_MAX_RECORD = 2**20


@dataclass(frozen=True)
class RunFacts:
    """What differs between two runs of the same recipe.

    Attributes:
        seconds: wall time of the run that made it.
        device: what it ran on, in words.
        peak_bytes: measured peak of the device, 0 where it cannot be measured; of a film while it is animated, and
            `drawing_peak_bytes` while its keyframes are drawn.
        scores: "scorer", "clip_cosine"; of a film also "keyframes" (each against its own stage), "likeness" (of each keyframe
            with the subject; None for the subject itself), "pairs" (of neighbours, and whether they are too far apart to be
            bridged) and "choices"; of a picture that was chosen "candidates", the "margin" and whether it was a "tie".
        reused: how many of its stages were found finished.
        ends: of a film, "raw_psnr" and "round_trip_psnr" of each keyframe in dB, before the fade.
        report: of a film, its `flux_svd.metrics.film.FilmReport` as JSON values.
        notes: what of the wish had no effect, in words: the end of a prompt that is not read, words that are not known.
    """

    seconds: float
    device: str
    peak_bytes: int
    scores: Mapping[str, Any]
    reused: int = 0
    ends: Mapping[str, Any] | None = None
    report: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    drawing_peak_bytes: int = 0


@dataclass(frozen=True)
class JobTag:
    """The job a result is made for. It fixes the result's name, so that a job carried out twice leaves one result.

    Attributes:
        id: of the job; no other result has it.
        day: the folder, "2026-11-20".
        owner: whose job it is; "" on a machine with one user.
        outputs: where its results go; "" is where those of the session go.
    """

    id: str
    day: str
    owner: str = ""
    outputs: str = ""


@dataclass(frozen=True)
class ImageArtifact:
    """A picture; `candidates` are the files of those it was chosen from, without itself."""

    path: Path
    request: Request
    recipe: ImageRecipe
    run: RunFacts
    candidates: tuple[Path, ...] = ()


@dataclass(frozen=True)
class VideoArtifact:
    """A film; `keyframes` are the files of its keyframes, in order, `candidates` those of pictures that were not taken."""

    path: Path
    keyframes: tuple[Path, ...]
    request: Request
    recipe: VideoRecipe
    run: RunFacts
    candidates: tuple[Path, ...] = ()


Artifact = ImageArtifact | VideoArtifact


def encode_image(picture: Image.Image, request: Request, recipe: Recipe) -> bytes:
    """Return PNG bytes that carry request, recipe and the AI-made marker."""
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", describe_source(recipe, alt_text(request, recipe)))
    info.add_itxt("flux_svd", describe_making(request, recipe))
    return encode_png(picture, pnginfo=info)


def mark_film(mp4: bytes, request: Request, recipe: VideoRecipe) -> bytes:
    """Return the MP4 with two boxes appended: XMP with the AI-made marker, and request and recipe as JSON."""
    source, making = describe_source(recipe, alt_text(request, recipe)), describe_making(request, recipe)
    return mp4 + _box(_XMP_BOX, source.encode()) + _box(_RECORD_BOX, making.encode())


def encode_enlarged(picture: Image.Image, original: Path, scale: int, method: str) -> bytes:
    """Return PNG bytes of an enlarged copy: what the original carries, if this program made it, and how it was enlarged."""
    info = PngImagePlugin.PngInfo()
    try:
        record = _read_record(original)
    except UnreadableFile:  # somebody's own picture: nothing to carry on
        return encode_png(picture)
    with Image.open(original, formats=["PNG"]) as opened:
        info.add_itxt("XML:com.adobe.xmp", str(opened.info.get("XML:com.adobe.xmp", "")))
    info.add_itxt("flux_svd", json.dumps(record | {"enlarged": {"scale": scale, "method": method}}, sort_keys=True))
    return encode_png(picture, pnginfo=info)


def load_request(path: Path | str) -> Request:
    """Return the request that made this PNG or MP4.

    Raises:
        UnreadableFile: the file is missing or carries no request of this program.
        InvalidRequest: it carries one that this version does not accept.
    """
    record = _read_record(Path(path))
    request = record.get("request")
    if not isinstance(request, dict):
        raise UnreadableFile("file", str(path), "a picture or film that flux_svd made")
    return make_request(request)


def load_recipe(path: Path | str, *, enlarged: bool = False) -> Recipe:
    """Return the recipe that made this PNG or MP4; with `enlarged` that of the original of an enlarged copy too.

    Raises:
        UnreadableFile: the file is missing or carries no recipe of this version, or is an enlarged copy.
    """
    record = _read_record(Path(path))
    if "enlarged" in record and not enlarged:
        raise UnreadableFile("file", str(path), "a picture as it was made; this one is an enlarged copy")
    try:
        return recipe_from_json(json.dumps(record.get("recipe")))
    except (ValueError, TypeError, AttributeError):
        raise UnreadableFile("file", str(path), "a picture or film that this version of flux_svd made") from None


def save(
    data: bytes, suffix: str, folder: Path, request: Request, recipe: Recipe, run: RunFacts, *, name: str, placement: object,
    job: JobTag | None = None,
) -> Path:
    """Write a finished result as `place` does, and its sidecar beside it; return its path.

    Raises:
        DiskFull: there is no room.
    """
    path = place(data, suffix, folder, name=name, job=job)
    sidecar = {
        "file": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "alt": alt_text(request, recipe),
        "request": request.model_dump(mode="json"),
        "recipe": json.loads(to_json(recipe)),
        "run": asdict(run),
        "placement": placement,
        "pocket": is_pocket(recipe),
        "job": job.id if job else "",
        "owner": job.owner if job else "",
    }
    files.write_json(path.with_name(path.name + ".json"), sidecar)
    return path


def place(data: bytes, suffix: str, folder: Path, *, name: str, job: JobTag | None) -> Path:
    """Write a file and return its path: without a job under a name of its own; with one what the same job left is replaced.

    Raises:
        DiskFull: there is no room.
    """
    if job is None:
        return files.write_new(folder, name, suffix, data)
    path = folder / (name + suffix)
    files.write_atomically(path, data)
    return path


def file_stem(prompt: str, seed: int) -> str:
    """Return a name a person can read: the first words of the prompt in plain letters, and the seed."""
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if len(words) > 60:
        words = words[:61].rpartition("-")[0] or words[:60]
    return f"{words or 'untitled'}_{seed}"


def is_pocket(recipe: Recipe) -> bool:
    return any(MODELS[name].pocket for name in models_of(recipe) if name in MODELS)


def models_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of the models that made it, image model first."""
    if isinstance(recipe, ImageRecipe):
        return (recipe.model,)
    drawn = dict.fromkeys(key.model for key in recipe.keyframes if isinstance(key, ImageRecipe))
    return (*drawn, recipe.model)


def describe_making(request: Request, recipe: Recipe) -> str:
    """Return the record a file carries, as JSON: request, recipe, what made it, and that a model did."""
    record = {
        "made_by": f"flux_svd {__version__}",
        "digital_source_type": SOURCE_TYPE,
        "pocket": is_pocket(recipe),
        "request": request.model_dump(mode="json"),
        "recipe": json.loads(to_json(recipe)),
    }
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def alt_text(request: Request, recipe: Recipe) -> str:
    """Return what stands for the picture or film where it cannot be seen: what was asked for."""
    return recipe.prompt if isinstance(recipe, ImageRecipe) else request.prompt


def describe_source(recipe: Recipe, alt: str) -> str:
    """Return the XMP packet that marks a file as made by a model (IPTC digital source type), with its alternative text.

    Source: IPTC Photo Metadata Standard 2021.1, "Alt Text (Accessibility)".
    """
    note = "Made by a pocket model, for trying and testing. " if is_pocket(recipe) else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}" xmp:CreatorTool="flux_svd {__version__}" '
        'xmlns:Iptc4xmpCore="http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/" '
        f'xmp:Label="{note}Models: {", ".join(models_of(recipe))}"><Iptc4xmpCore:AltTextAccessibility><rdf:Alt>'
        f'<rdf:li xml:lang="x-default">{html.escape(alt, quote=False)}</rdf:li></rdf:Alt></Iptc4xmpCore:AltTextAccessibility>'
        "</rdf:Description>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def _box(kind: bytes, payload: bytes) -> bytes:
    """Return a uuid box of ISO/IEC 14496-12: size, "uuid", extended type, payload."""
    return struct.pack(">I4s", 24 + len(payload), b"uuid") + kind + payload


def _read_record(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            head = file.read(12)
            file.seek(0)
            text = _png_record(file.read()) if head.startswith(b"\x89PNG") else _mp4_record(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreadableFile("file", str(path), f"a PNG or MP4 that flux_svd made ({reason})") from None
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise UnreadableFile("file", str(path), "a PNG or MP4 that flux_svd made; this one carries no record")
    return record


def _png_record(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return str(picture.info.get("flux_svd", ""))  # chunks before the pixels: nothing is decoded
    except (SyntaxError, Image.DecompressionBombError):
        return ""


def _mp4_record(file: io.BufferedReader) -> str:
    """Return the payload of our box among the top-level boxes, or ""."""
    size = file.seek(0, io.SEEK_END)
    start = 0
    while start + 24 <= size:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length < 8:
            return ""
        if kind == b"uuid" and file.read(16) == _RECORD_BOX and length - 24 <= _MAX_RECORD:
            return file.read(length - 24).decode("utf-8", "replace")
        start += length
    return ""
