"""A finished film → other files of it: WebM, AV1, GIF, WebP, PNG frames, ProRes, MP4 of other speed, size or with sound.

Frames come from the film file; every export is decoded and compared with them before it has a name, and says, as the film
does, that a model made it and from which request. Knows no engine.
"""

from __future__ import annotations

import functools
import itertools
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_svd import artifact, containers, files
from flux_svd.artifact import load_recipe, load_request
from flux_svd.densify import Between, densify_by_motion, densify_with
from flux_svd.encode import EXACT_COLOURS, block_means, iterate_film, lack_of_room
from flux_svd.errors import EncodingFailed, InvalidRequest, UnreadableFile
from flux_svd.formats import FORMATS, Format
from flux_svd.recipe import VideoRecipe
from flux_svd.request import Request

Frame = NDArray[np.uint8]  # (height, width, 3)
Guess = Callable[[Iterator[Frame]], Generator[Frame, None, None]]
TIMEOUT_SECONDS = 1800.0
MAX_AUDIO_BYTES = 2**30
AUDIO_FORMATS = "wav,mp3,ogg,flac,mov,aac,matroska,aiff"  # files with sound in them; no playlists, which name other files
# Grey levels between 8 × 8 means of the film and the export. Seen on a moving disc: 0.06 (ProRes) to 0.8 (WebP), 5.4 at the
# worst crf there is; its channels swapped 26.
MAX_MEAN_DIFFERENCE = 12.0
# How far the export is from the frame before, over how far from the frame meant: 2.6 to 25 seen, about 1 where nothing
# moves, 0.3 and less where every frame is one late.
MUCH_NEARER = 0.8


@dataclass(frozen=True)
class Exported:
    """What was written: a file, or for "png" a folder of frames 0001.png, 0002.png …

    Attributes:
        densified: what guessed every second frame; "" where all are the film's own.
    """

    path: Path
    format: str
    frames: int
    fps: int
    encoder: str
    has_sound: bool
    densified: str = ""

    @property
    def seconds_long(self) -> float:
        return self.frames / self.fps


def export_film(
    source: Path, format_name: str, *, fps: int | None = None, crf: int | None = None, audio: Path | None = None,
    folder: Path | None = None, densify: bool = False, between: Between | None = None,
) -> Exported:
    """Write the film `source`, which this program made, in another form, under a name of its own; return what was written.

    Every frame of the film is in the export. Of a loop, GIF and WebP leave out the last one, which is the first again.

    Args:
        fps: frames a second at playback; None is the film's own, or twice that with twice the frames. Other speed, same frames.
        crf: constant rate factor, smaller is better; None is the format's own.
        audio: a local file with sound, cut to the film's length; a shorter one ends before the film does.
        folder: where to write; None is beside the film.
        densify: put one more frame between every two, guessed by `between`, or else by ffmpeg's motion compensation.

    Raises:
        InvalidRequest: a choice this format or this ffmpeg does not know.
        UnreadableFile: the film is not one of ours, or the audio file holds no sound.
        EncodingFailed: ffmpeg failed, or the export does not show the film. No file is left.
        DiskFull: there is no room; told before the work where it can be foreseen. No file is left.
    """
    recipe, request = _film_of(source)
    chosen = _check(format_name, fps, crf, audio, source.stem)
    speed = fps if fps is not None else recipe.fps * (2 if densify else 1)
    if speed > chosen.max_fps:
        raise InvalidRequest("fps", speed, f"1 to {chosen.max_fps} for {format_name}")
    own = 2 * recipe.frames - 1 if densify else recipe.frames
    count = own - (chosen.repeats and recipe.keyframes[0] == recipe.keyframes[-1])
    where = folder if folder is not None else source.parent
    _check_room(where, source, recipe, own, chosen)
    guess = _guess(recipe, between) if densify else None
    by = "" if guess is None else "minterpolate of ffmpeg" if between is None else "the network given"
    stem = source.stem if where != source.parent or chosen.suffix != source.suffix else f"{source.stem}_export"
    if format_name == "png":
        return Exported(_write_frames(source, where, stem, request, recipe, guess), format_name, count, speed, "png", False, by)
    with files.scratch_folder(where) as work, lack_of_room(work):
        made = work / f"film{chosen.suffix}"
        sound = None if audio is None else _check_audio(audio)
        encoder = _encoder(format_name)
        tags = containers.tags_file(work, request, recipe) if chosen.suffix == ".webm" else None
        options = [option.replace("{crf}", str(crf if crf is not None else (chosen.crf or (0,))[0])) for option in chosen.options]
        frames = _shown(source, recipe, count, guess)
        _encode(frames, made, recipe, count, speed, ["-c:v", encoder, *options], sound, chosen.audio, tags)
        data = containers.mark(made.read_bytes(), chosen.suffix, request, recipe)
        made.write_bytes(data)
        _verify(made, _shown(source, recipe, count, guess), count, speed)
        path = files.write_new(where, stem, chosen.suffix, data)
    return Exported(path, format_name, count, speed, encoder, sound is not None, by)


def formats_here() -> tuple[str, ...]:
    """Return the names of the formats the ffmpeg of this machine can make."""
    return tuple(name for name, row in FORMATS.items() if not row.encoders or any(one in _encoders() for one in row.encoders))


def _film_of(source: Path) -> tuple[VideoRecipe, Request]:
    recipe = load_recipe(source)
    if not isinstance(recipe, VideoRecipe) or source.suffix.lower() == ".png":  # an exported frame carries its film's recipe
        raise UnreadableFile("file", str(source), "a film that flux_svd made; this is a picture")
    return recipe, load_request(source)


def _check(format_name: str, fps: int | None, crf: int | None, audio: Path | None, name: str) -> Format:
    if format_name not in formats_here():
        raise InvalidRequest("format", format_name, ", ".join(formats_here()))
    chosen = FORMATS[format_name]
    if fps is not None and not 1 <= fps <= chosen.max_fps:
        raise InvalidRequest("fps", fps, f"a whole number from 1 to {chosen.max_fps} for {format_name}")
    if crf is not None and (chosen.crf is None or not 0 <= crf <= chosen.crf[1]):
        raise InvalidRequest("crf", crf, f"a whole number from 0 to {chosen.crf[1]} for {format_name}" if chosen.crf
                             else "none: only " + ", ".join(one for one, row in FORMATS.items() if row.crf) + " have one")
    if audio is not None and not chosen.audio:
        able = ", ".join(one for one, row in FORMATS.items() if row.audio)
        raise InvalidRequest("audio", audio.name, f"none: a {format_name} holds no sound; these do: {able}")
    return chosen


def _check_room(folder: Path, source: Path, recipe: VideoRecipe, frames: int, chosen: Format) -> None:
    """Refuse an export for which the disk is too small: the file is written once to be verified and once for good.

    Raises:
        DiskFull: it says how much is missing.
    """
    raw = recipe.width * recipe.height * 3 * frames
    size = int(chosen.raw_share * raw) or source.stat().st_size * frames // recipe.frames
    files.need_room(folder, 2 * size if chosen.suffix else size)


def _check_audio(audio: Path) -> Path:
    """Return the path if ffmpeg decodes sound from the file; it may open nothing else, and no network.

    Raises:
        UnreadableFile: there is no sound in it.
    """
    allowed = "a local file with sound: WAV, MP3, OGG, FLAC, AAC, M4A, MP4, MKV, WebM or AIFF"
    try:
        size = audio.stat().st_size
    except (OSError, ValueError) as error:
        raise UnreadableFile("audio", str(audio), f"a file that can be read ({error})") from None
    if not audio.is_file() or size > MAX_AUDIO_BYTES:
        raise UnreadableFile("audio", str(audio), f"{allowed}, of at most {MAX_AUDIO_BYTES // 2**30} GiB")
    decoded = _run([*_audio_input(audio), "-map", "0:a:0", "-t", "1", "-f", "s16le", "-"])
    if decoded.returncode or not decoded.stdout:
        raise UnreadableFile("audio", str(audio), f"{allowed} ({_reason(decoded.stderr)})")
    return audio


def _audio_input(audio: Path) -> list[str]:
    return ["-protocol_whitelist", "file", "-format_whitelist", AUDIO_FORMATS, "-i", f"file:{audio.absolute()}"]


def _guess(recipe: VideoRecipe, between: Between | None) -> Guess:
    """Return what turns the film's frames into twice as many, less one."""
    if between is not None:
        return lambda frames: densify_with(frames, between)
    return lambda frames: densify_by_motion(frames, recipe.width, recipe.height, _ffmpeg())


def _shown(source: Path, recipe: VideoRecipe, count: int, guess: Guess | None) -> Iterator[Frame]:
    """Yield the first `count` frames of the export: the film's own, with guessed ones between them where that is wished."""
    if guess is None:
        yield from _frames(source, recipe, count)
        return
    frames = guess(_frames(source, recipe, recipe.frames))
    yield from itertools.islice(frames, count)
    frames.close()


def _encode(
    frames: Iterator[Frame], made: Path, recipe: VideoRecipe, count: int, fps: int, video: Sequence[str], audio: Path | None,
    audio_encoder: str, tags: Path | None,
) -> None:
    sound = ["-map", "1:a:0", "-c:a", audio_encoder, "-af", f"atrim=end={count / fps:.6f}"] if audio else []
    inputs = _audio_input(audio) if audio else []
    noted = ["-i", f"file:{tags}"] if tags else []
    taken = ["-map_metadata", ("2" if audio else "1") if tags else "-1"]
    command = [
        _ffmpeg(), "-v", "error", "-nostdin", "-y",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{recipe.width}x{recipe.height}", "-r", str(fps), "-i", "-",
        *inputs, *noted, "-map", "0:v:0", *sound, *video, *taken, "-threads", "1",
        "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", f"file:{made}",
    ]
    with tempfile.TemporaryFile(dir=made.parent) as told:
        encoder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=told)
        try:
            assert encoder.stdin is not None
            for frame in frames:
                encoder.stdin.write(np.ascontiguousarray(frame).data)
            encoder.stdin.close()
            failed = encoder.wait(TIMEOUT_SECONDS) != 0
        except (BrokenPipeError, subprocess.TimeoutExpired):
            failed = True
        finally:
            encoder.kill()
            encoder.wait()
        if failed or not made.is_file():
            told.seek(0)
            raise EncodingFailed(f"ffmpeg could not write the {made.suffix[1:]}: {_reason(told.read())}")


def _frames(source: Path, recipe: VideoRecipe, count: int) -> Iterator[Frame]:
    """Yield the first `count` frames of the film.

    Raises:
        UnreadableFile: the film is not what the recipe in it says.
    """
    found = 0
    for frame in iterate_film(source):
        if frame.shape != (recipe.height, recipe.width, 3):
            break
        found += 1
        if found <= count:
            yield frame
    if found != recipe.frames:
        said = f"{recipe.frames} frames of {recipe.width} × {recipe.height}"
        raise UnreadableFile("file", str(source), f"an undamaged film of ours; this one should hold {said}")


def _verify(made: Path, frames: Iterator[Frame], count: int, fps: int) -> None:
    """Decode the export and compare it with what went in, frame by frame.

    Raises:
        EncodingFailed: it has another number of frames, another size, or shows something else.
    """
    own, earlier, found = 0.0, 0.0, 0
    before: NDArray[np.float32] | None = None
    decoded = containers.frames_of_webp(made, fps) if made.suffix == ".webp" else _decoded(made)
    for ours, theirs in zip(frames, decoded, strict=False):
        if ours.shape != theirs.shape:
            raise EncodingFailed(f"the {made.suffix[1:]} is {theirs.shape[1]} × {theirs.shape[0]}, the film "
                                 f"{ours.shape[1]} × {ours.shape[0]}")
        meant, shown = block_means(ours), block_means(theirs)
        if before is not None:
            own, earlier = own + _apart(shown, meant), earlier + _apart(shown, before)
        before = meant
        found += 1
    found += sum(1 for _ in decoded)
    if found != count:
        raise EncodingFailed(f"the {made.suffix[1:]} decodes to {found} frames, not {count}")
    if own / count > MAX_MEAN_DIFFERENCE:
        raise EncodingFailed(f"the {made.suffix[1:]} shows something else: {own / count:.1f} grey levels apart on average")
    if earlier < MUCH_NEARER * own:
        raise EncodingFailed(f"the {made.suffix[1:]} is late: its frames show what should be seen one frame before")


def _decoded(path: Path) -> Iterator[Frame]:
    """Yield every frame of a file once, whatever its time stamps say."""
    import imageio_ffmpeg

    try:
        options = ["-fps_mode", "passthrough", *EXACT_COLOURS]
        reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24", output_params=options)
        facts: dict[str, Any] = next(reader)
        width, height = facts["size"]
        for data in reader:
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise EncodingFailed(f"the {path.suffix[1:]} does not decode: {error}") from error


def _apart(means: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    return float(np.abs(means - others).mean())


def _write_frames(
    source: Path, folder: Path, stem: str, request: Request, recipe: VideoRecipe, guess: Guess | None
) -> Path:
    """Write every frame as a PNG into a new folder, which gets its name when all of them are there; return it."""
    with files.scratch_folder(folder) as work, lack_of_room(work):
        inner = work / "frames"
        inner.mkdir()
        own = 2 * recipe.frames - 1 if guess else recipe.frames
        for at, frame in enumerate(_shown(source, recipe, own, guess), 1):
            path = inner / f"{at:04d}.png"
            files.write_atomically(path, artifact.encode_image(Image.fromarray(frame), request, recipe))
            with Image.open(path, formats=["PNG"]) as kept:
                if not np.array_equal(np.asarray(kept), frame):
                    raise EncodingFailed(f"{path.name} shows something else")
        number = 1
        while True:
            path = folder / f"{stem}_frames{'' if number == 1 else f'-{number}'}"
            try:
                path.mkdir()  # fails when the name is taken, also by another process
            except FileExistsError:
                number += 1
                continue
            inner.replace(path)  # onto the empty folder
            return path


def _encoder(format_name: str) -> str:
    return next(one for one in FORMATS[format_name].encoders if one in _encoders())


@functools.lru_cache(maxsize=1)
def _encoders() -> frozenset[str]:
    """Return the names of the encoders ffmpeg has; none where it is missing."""
    try:
        listed = _run(["-encoders"]).stdout.decode("utf-8", "replace")
    except EncodingFailed:
        return frozenset()
    rows = (line.split() for line in listed.splitlines())
    return frozenset(row[1] for row in rows if len(row) > 2 and row[0][:1] in "VA" and len(row[0]) == 6)


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run([_ffmpeg(), "-v", "error", "-nostdin", *arguments], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EncodingFailed(f"ffmpeg does not run: {error}") from error


def _ffmpeg() -> str:
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise EncodingFailed(f"ffmpeg is missing: {error}") from error


def _reason(told: bytes) -> str:
    lines = [line.strip() for line in told.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"
