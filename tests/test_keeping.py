"""What is written and read: pictures from outside, files, stages, artifacts and films."""

from __future__ import annotations

import errno
import io
import json
import multiprocessing
import os
import struct
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import flux_svd.encode
from flux_svd import artifact, files
from flux_svd.artifact import RunFacts, encode_image, file_stem, load_recipe, load_request, mark_film
from flux_svd.encode import block_means, encode_film, iterate_film, verify_film
from flux_svd.errors import Cancelled, DiskFull, EncodingFailed, InvalidRequest, StorageFailed, UnreadableFile
from flux_svd.pictures import encode_png, read_picture
from flux_svd.store import Stage, Store
from tests.test_planner import film_of, plan_of


def png(size: tuple[int, int] = (8, 6), colour: Any = "red", mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG", **options)
    return buffer.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """Return a PNG whose header promises width × height pixels and whose body is a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def animated() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def gif() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "GIF")
    return buffer.getvalue()


REFUSED = {
    "an SVG named PNG": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "something else"),
    "HTML": (b"<!doctype html><script>1</script>", "something else"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.", "something else"),
    "a still GIF": (gif(), "something else"),
    "400 megapixels": (huge_png(20_000, 20_000), "at most 40 megapixels"),
    "81 megapixels": (huge_png(9000, 9000), "at most 40 megapixels"),
    "an animation": (animated(), "animated"),
    "half a picture": (png((64, 64), mode="RGB", compress_level=0)[:500], "undamaged"),
    "nothing": (b"", "something else"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_still_picture_is_refused(what: str, tmp_path: Path) -> None:
    data, allowed = REFUSED[what]
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile) as caught:
        read_picture(path, field="reference")
    assert caught.value.field == "reference"
    assert allowed in caught.value.allowed


def test_a_missing_picture_is_named() -> None:
    with pytest.raises(UnreadableFile, match=r"/nowhere/x\.png"):
        read_picture(Path("/nowhere/x.png"), field="reference")


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("L", 128, (128, 128, 128)),
        ("I;16", 65535, (255, 255, 255)),
        ("P", 0, (0, 0, 0)),
    ],
)
def test_other_kinds_of_pixels_become_rgb(mode: str, colour: Any, expected: tuple[int, int, int]) -> None:
    picture = read_picture(png(colour=colour, mode=mode), field="x")
    assert (picture.mode, picture.getpixel((0, 0))) == ("RGB", expected)


def test_a_camera_turned_on_its_side_is_set_upright_and_its_metadata_dropped() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    exif[0x010E] = "where I live"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "JPEG", exif=exif)
    kept = encode_png(read_picture(buffer.getvalue(), field="x"))
    assert Image.open(io.BytesIO(kept)).size == (6, 8)
    assert b"where I live" not in kept


def test_a_kept_picture_is_found_by_its_content(home: Path) -> None:
    store = Store(home)
    first = store.keep_picture(png())
    assert first == store.keep_picture(png(compress_level=0))
    assert store.picture(first).is_file()
    assert store.keep_picture(png(colour="blue")) != first


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "a" * 63 + "\n", ""])
def test_a_picture_that_was_never_given_is_refused(name: str, home: Path) -> None:
    with pytest.raises(InvalidRequest):
        Store(home).picture(name)


def test_a_damaged_stage_is_not_used(home: Path) -> None:
    store = Store(home)
    store.keep_stage("ab" * 32, "npy", b"latents")
    assert store.find_stage("ab" * 32, "npy") == Stage(b"latents")
    next(home.rglob("*.npy")).write_bytes(b"latentz")
    assert store.find_stage("ab" * 32, "npy") is None


def test_learned_times_are_kept_and_a_broken_file_is_no_error(home: Path) -> None:
    store = Store(home)
    assert store.learned_seconds("a") is None
    store.learn_seconds("a", 1.5)
    assert Store(home).learned_seconds("a") == 1.5
    (home / "times.json").write_text("{broken")
    assert store.learned_seconds("a") is None


def test_nothing_is_ever_overwritten_and_no_temporary_file_stays(tmp_path: Path) -> None:
    paths = [files.write_new(tmp_path, "a-cat_7", ".png", bytes([n])) for n in range(3)]
    assert [path.name for path in paths] == ["a-cat_7.png", "a-cat_7-2.png", "a-cat_7-3.png"]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1", b"\2"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull, match="room for"):
        files.write_new(tmp_path, "a", ".png", b"x" * 1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [
        ("A red Circle, on blue!", "a-red-circle-on-blue_7"),
        ("../../etc/passwd", "etc-passwd_7"),
        ("éclair & 猫", "eclair_7"),
        ("猫", "untitled_7"),
        ("word " * 40, "word-" * 11 + "word_7"),
    ],
)
def test_files_are_named_for_people_and_never_by_a_path(prompt: str, stem: str) -> None:
    assert file_stem(prompt, 7) == stem


def test_a_picture_gives_back_its_request_and_recipe(tmp_path: Path) -> None:
    plan = plan_of()
    path = tmp_path / "x.png"
    path.write_bytes(encode_image(Image.new("RGB", (8, 8), "red"), plan.request, plan.recipes[0]))  # type: ignore[arg-type]
    assert load_request(path) == plan.request
    assert load_recipe(path) == plan.recipes[0]


def test_a_film_gives_back_its_request_and_recipe_and_still_plays(tmp_path: Path) -> None:
    plan, film = film_of()
    path = tmp_path / "x.mp4"
    path.write_bytes(mark_film(encode_film(disc(5), fps=12, crf=18), plan.request, film))
    assert load_request(path) == plan.request
    assert load_recipe(path) == film
    assert len(list(iterate_film(path))) == 5


def test_every_result_says_that_it_is_made_by_a_model_and_by_a_pocket_one() -> None:
    plan, film = film_of()
    marked = encode_image(Image.new("RGB", (8, 8)), plan.request, film.keyframes[0]), mark_film(b"", plan.request, film)
    for data in marked:
        assert b"digitalsourcetype/trainedAlgorithmicMedia" in data
        assert b"pocket model" in data


NO_RECORD = [b"", b"hello", png(), huge_png(20_000, 20_000), b"\0\0\0\x08ftyp", b"\0\0\0\0ftyp" + b"\0" * 99]


@pytest.mark.parametrize("data", NO_RECORD)
def test_files_that_carry_no_request_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(UnreadableFile):
        load_request(path)


def test_a_forged_request_is_checked_like_any_other(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt("flux_svd", json.dumps({"request": {"kind": "image", "prompt": "x", "steps": 10**9}}))
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(Image.new("RGB", (8, 8)), pnginfo=info))
    with pytest.raises(InvalidRequest, match="steps"):
        load_request(path)


def test_the_sidecar_holds_the_facts_of_the_run(outputs: Path) -> None:
    plan = plan_of()
    run = RunFacts(1.5, "cpu", 0, {"scorer": "pocket-clip", "clip_cosine": 0.5})
    path = artifact.save(b"data", ".png", outputs, plan.request, plan.recipes[0], run, name="x", placement=[])
    sidecar = json.loads(path.with_name("x.png.json").read_text())
    assert sidecar["run"]["scores"]["clip_cosine"] == 0.5
    assert sidecar["request"]["prompt"] == "a red circle"
    assert sidecar["pocket"] is True


def disc(count: int) -> NDArray[np.uint8]:
    """Return a film (count, 96, 160, 3) of a yellow disc that moves right over blue."""
    y, x = np.mgrid[:96, :160]
    inside = [((x - 20 - 2 * n) ** 2 + (y - 48) ** 2 < 200)[..., None] for n in range(count)]
    return np.stack([np.where(one, (250, 220, 50), (30, 40, 120)) for one in inside]).astype(np.uint8)


def test_a_film_has_the_same_bytes_twice() -> None:
    assert encode_film(disc(9), fps=12, crf=18) == encode_film(disc(9), fps=12, crf=18)


def test_frames_are_encoded_as_they_come_and_not_held() -> None:
    alive, most = 0, 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def frames() -> Iterator[NDArray[np.uint8]]:
        nonlocal alive, most
        for number in range(60):
            frame = np.full((96, 160, 3), number, np.uint8)
            weakref.finalize(frame, gone)
            alive += 1
            most = max(most, alive)
            yield frame

    encode_film(frames(), fps=12, crf=18)
    assert most <= 3  # the first one is held besides; all 60 if they were collected


@pytest.mark.parametrize("error", [Cancelled("stopped"), RuntimeError("a bug")])
def test_what_making_frames_raises_is_not_called_a_failed_encoding(error: Exception, tmp_path: Path) -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        yield from disc(3)
        raise error

    with pytest.raises(type(error), match=str(error)):
        encode_film(frames(), fps=12, crf=18, scratch=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_film_plays_as_h264_yuv420p_with_its_index_in_front(tmp_path: Path) -> None:
    import imageio_ffmpeg

    data = encode_film(disc(24), fps=12, crf=18)
    (tmp_path / "x.mp4").write_bytes(data)
    facts = next(imageio_ffmpeg.read_frames(str(tmp_path / "x.mp4")))
    assert (facts["codec"], facts["size"], facts["fps"], facts["duration"]) == ("h264", (160, 96), 12.0, 2.0)
    assert facts["pix_fmt"].startswith("yuv420p")
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("change", ["fewer", "more", "reversed", "channels"])
def test_a_film_that_shows_something_else_is_refused(change: str, tmp_path: Path) -> None:
    frames = disc(40)
    (tmp_path / "x.mp4").write_bytes(encode_film(frames, fps=12, crf=18))
    meant = {"fewer": frames[:-1], "more": disc(41), "reversed": frames[::-1], "channels": frames[..., ::-1]}[change]
    with pytest.raises(EncodingFailed):
        verify_film(tmp_path / "x.mp4", (160, 96), [block_means(frame) for frame in meant])


def test_a_missing_or_failing_ffmpeg_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'something broke' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(broken))
    with pytest.raises(EncodingFailed):
        encode_film(disc(3), fps=12, crf=18)
    assert flux_svd.encode.ENCODE_TIMEOUT_SECONDS > 0


@pytest.mark.parametrize("where", ["a file", "/dev/null/foo", "/proc/x"])
def test_a_folder_that_cannot_be_is_named_with_what_to_do(where: str, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("mine")
    folder = tmp_path / where  # an absolute name replaces it
    for ask in (
        lambda: files.make_folder(folder),
        lambda: files.write_atomically(folder / "x", b"x"),
        lambda: files.write_new(folder, "x", ".png", b"x"),
        lambda: files.scratch_folder(folder).__enter__(),
        lambda: files.move(tmp_path / "a file", folder / "x"),
    ):
        with pytest.raises(StorageFailed, match=f"{folder} cannot be used: .*--output") as raised:
            ask()
        assert raised.value.exit_code == 6
    assert (tmp_path / "a file").read_text() == "mine"


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(StorageFailed, match=f"{tmp_path} cannot be used: Read-only file system"):
        files.write_atomically(tmp_path / "x", b"x")


def test_what_goes_wrong_in_the_work_of_a_scratch_folder_is_not_blamed_on_it(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), files.scratch_folder(tmp_path):
        raise ConnectionResetError
    with pytest.raises(FileNotFoundError), files.written_temporarily(tmp_path, b"x"):
        raise FileNotFoundError
    assert list(tmp_path.iterdir()) == []


def _learn(home: Path, name: str) -> None:
    for number in range(20):
        Store(home).learn_seconds(f"{name}{number}", 1.0)


def test_two_processes_that_learn_at_once_lose_nothing_of_each_other(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_learn, args=(home, name)) for name in "xyz"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert len(files.read_json(home / "times.json")) == 60


def test_json_that_did_not_change_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with files.changed_json(path) as told:
        told["a"] = 1
    before = path.stat().st_ino
    with files.changed_json(path) as told:
        told["a"] = 1
    assert (path.stat().st_ino, files.read_json(path)) == (before, {"a": 1})
