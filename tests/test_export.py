"""Exports: every format shows every frame, says what made it, can carry sound where it has room for it, or is not written."""

from __future__ import annotations

import itertools
import subprocess
import wave
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from flux_svd import export
from flux_svd.artifact import describe_making, load_recipe, load_request, mark_film
from flux_svd.containers import frames_of_webp
from flux_svd.densify import densify_by_motion
from flux_svd.encode import encode_film, iterate_film
from flux_svd.errors import DiskFull, EncodingFailed, InvalidRequest, UnreadableFile
from flux_svd.export import export_film, formats_here
from flux_svd.formats import FORMATS
from flux_svd.recipe import VideoRecipe
from tests.films_with_faults import disc, film, through_h264
from tests.test_planner import film_of

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


def make_film(folder: Path, name: str = "film.mp4", **fields: Any) -> Path:
    """Write a film of 21 frames of a disc that moves, 4 pixels a frame, as this program would."""
    plan, recipe = film_of(width=160, height=96, **({"lengths": [11, 11]} | fields))
    frames = [disc(20 + 4 * n) for n in range(recipe.frames)]
    if recipe.keyframes[0] == recipe.keyframes[-1]:
        frames[-1] = frames[0]
    data = encode_film(np.stack(frames).clip(0, 255).astype(np.uint8), fps=recipe.fps, crf=recipe.crf)
    path = folder / name
    path.write_bytes(mark_film(data, plan.request, recipe))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_film(tmp_path)


def sound(folder: Path, seconds: float = 5.0, name: str = "tone.wav") -> Path:
    path = folder / name
    t = np.arange(int(8000 * seconds))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(t / 5)).astype("<i2").tobytes())
    return path


def probe(path: Path) -> str:
    return subprocess.run([FFMPEG, "-hide_banner", "-i", str(path)], capture_output=True, text=True, check=False).stderr


def samples_of(path: Path) -> int:
    """Return how many samples at 8 kHz the sound of a file has."""
    ran = subprocess.run([FFMPEG, "-v", "error", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"],
                         capture_output=True, check=True)
    return len(ran.stdout) // 2


def recipe_of(source: Path) -> VideoRecipe:
    recipe = load_recipe(source)
    assert isinstance(recipe, VideoRecipe)
    return recipe


def new_files(folder: Path, *known: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path not in known]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_every_frame(name: str, source: Path, tmp_path: Path) -> None:
    assert name in formats_here()
    made = export_film(source, name, folder=tmp_path / "out")
    assert (made.frames, made.fps, made.seconds_long) == (21, 12, 1.75)
    if name == "png":
        assert [path.name for path in sorted(made.path.iterdir())] == [f"{n:04d}.png" for n in range(1, 22)]
    elif name == "webp":
        assert len(list(frames_of_webp(made.path, 12))) == 21
    else:
        assert len(list(export._decoded(made.path))) == 21
    assert len(new_files(tmp_path / "out")) == 1


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_that_a_model_made_it_and_from_what(name: str, source: Path) -> None:
    path = export_film(source, name).path
    data = (path / "0001.png" if name == "png" else path).read_bytes()
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in data
    assert b'"made_by"' in data
    assert b"pocket model" in data


@pytest.mark.parametrize("name", ["webm", "av1", "webp", "gif"])
def test_the_whole_record_is_in_formats_that_are_not_read_back(name: str, source: Path) -> None:
    data = export_film(source, name).path.read_bytes()
    record = describe_making(load_request(source), load_recipe(source)).encode()
    if name == "gif":
        at, text = data.rindex(b"\x21\xfe") + 2, b""
        while data[at]:
            text, at = text + data[at + 1 : at + 1 + data[at]], at + 1 + data[at]
        assert text == record
    else:
        assert record in data


@pytest.mark.parametrize("name", ["mp4", "prores", "png"])
def test_request_and_recipe_come_back_from_an_export(name: str, source: Path) -> None:
    path = export_film(source, name).path
    one = path / "0007.png" if name == "png" else path
    assert load_request(one) == load_request(source)
    assert load_recipe(one) == load_recipe(source)


def test_the_marks_of_a_webp_and_a_gif_are_read_by_others(source: Path) -> None:
    with Image.open(export_film(source, "webp").path) as picture:
        assert b"trainedAlgorithmicMedia" in picture.info["xmp"]
    with Image.open(export_film(source, "gif").path) as picture:
        picture.seek(picture.n_frames - 1)
        assert picture.n_frames == 21
    assert "DIGITAL_SOURCE_TYPE" in probe(export_film(source, "webm").path)


@pytest.mark.parametrize(
    ("name", "codec"), [("mp4", "h264"), ("webm", "vp9"), ("av1", "av1"), ("prores", "prores"), ("gif", "gif")]
)
def test_each_format_has_its_codec(name: str, codec: str, source: Path) -> None:
    assert f"Video: {codec}" in probe(export_film(source, name).path)


@pytest.mark.parametrize("name", ["mp4", "webm", "av1", "prores"])
def test_sound_is_cut_to_the_length_of_the_film(name: str, source: Path, tmp_path: Path) -> None:
    made = export_film(source, name, audio=sound(tmp_path), folder=tmp_path / "out")
    assert made.has_sound
    assert 1.75 * 8000 - 400 <= samples_of(made.path) <= 1.75 * 8000 + 400  # codecs pad by a block; uncut it is 40,000
    assert len(list(export._decoded(made.path))) == 21


def test_a_sound_shorter_than_the_film_cuts_no_frame(source: Path, tmp_path: Path) -> None:
    made = export_film(source, "mp4", audio=sound(tmp_path, 0.5), folder=tmp_path / "out")
    assert len(list(export._decoded(made.path))) == 21


def test_other_speed_keeps_the_frames(source: Path) -> None:
    made = export_film(source, "mp4", fps=24)
    assert (made.frames, made.seconds_long) == (21, 21 / 24)
    assert imageio_ffmpeg.count_frames_and_secs(str(made.path)) == (21, pytest.approx(0.88, abs=0.02))


def test_colours_survive_an_export(source: Path) -> None:
    made = list(export._decoded(export_film(source, "prores").path))
    shown = np.stack(made).astype(int) - np.stack(list(export._frames(source, recipe_of(source), 21)))
    assert np.abs(shown.mean(axis=(0, 1, 2))).max() < 0.3  # 0.0 seen; with ffmpeg's own rounding 2.2, other matrix 5 and more


def test_a_film_decodes_to_its_colours(tmp_path: Path) -> None:
    frames = film("smooth")
    shown = through_h264(frames, tmp_path).astype(int) - frames
    assert np.abs(shown.mean(axis=(0, 1, 2))).max() < 0.3  # 0.1 seen; 1.4 with ffmpeg's own rounding


def test_a_larger_crf_gives_a_smaller_file(source: Path) -> None:
    sizes = [export_film(source, "mp4", crf=crf).path.stat().st_size for crf in (0, 51)]
    assert sizes[1] < sizes[0] / 2


def test_a_loop_repeats_without_its_first_frame_twice(tmp_path: Path) -> None:
    source = make_film(tmp_path, stages=[{"prompt": "a"}, {"prompt": "b"}], loop=True)
    assert [export_film(source, name).frames for name in ("gif", "webp", "mp4")] == [20, 20, 21]


def test_nothing_is_overwritten(source: Path) -> None:
    names = [export_film(source, "mp4").path.name for _ in range(2)] + [export_film(source, "png").path.name for _ in range(2)]
    assert names == ["film_export.mp4", "film_export-2.mp4", "film_frames", "film_frames-2"]


def test_equal_exports_are_equal_bytes(source: Path) -> None:
    for name in ("mp4", "webm", "gif", "webp", "prores"):
        assert len({export_film(source, name).path.read_bytes() for _ in range(2)}) == 1, name


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"format_name": "avi"}, "format", "mp4, webm, av1, gif, webp, png, prores"),
        ({"format_name": "gif", "fps": 60}, "fps", "1 to 50"),
        ({"format_name": "mp4", "fps": 0}, "fps", "1 to 60"),
        ({"format_name": "mp4", "crf": 52}, "crf", "0 to 51"),
        ({"format_name": "webm", "crf": 64}, "crf", "0 to 63"),
        ({"format_name": "gif", "crf": 20}, "crf", "only mp4, webm, av1"),
        ({"format_name": "gif", "audio": Path("x.wav")}, "audio", "mp4, webm, av1, prores"),
        ({"format_name": "mp4", "audio": Path("/nowhere/x.wav")}, "audio", "can be read"),
    ],
)
def test_what_a_format_cannot_do_is_refused(
    fields: dict[str, Any], field: str, allowed: str, source: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        export_film(source, **fields)
    assert caught.value.field == field
    assert allowed in caught.value.allowed
    assert new_files(tmp_path, source) == []


def silent_film(folder: Path) -> bytes:
    return make_film(folder, "silent.mp4").read_bytes()


@pytest.mark.parametrize("what", ["text", "playlist", "concat", "silent film", "picture"])
def test_what_holds_no_sound_is_no_audio(what: str, source: Path, tmp_path: Path) -> None:
    real = sound(tmp_path)
    data = {
        "text": b"hello" * 100,
        "playlist": b"#EXTM3U\n#EXTINF:5,\nfile://" + str(real).encode() + b"\n",
        "concat": b"ffconcat version 1.0\nfile '" + real.name.encode() + b"'\n",
        "silent film": silent_film(tmp_path),
        "picture": b"\x89PNG\r\n\x1a\n",
    }[what]
    given = tmp_path / "given.wav"
    given.write_bytes(data)
    before = set(tmp_path.iterdir())
    with pytest.raises(UnreadableFile) as caught:
        export_film(source, "mp4", audio=given)
    assert caught.value.field == "audio"
    assert set(tmp_path.iterdir()) == before


def test_a_name_that_looks_like_an_address_is_a_file(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile):
        export_film(source, "mp4", audio=Path("http://127.0.0.1:9/x.wav"))


def test_an_export_one_frame_late_is_not_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_encode", _encode_late)
    with pytest.raises(EncodingFailed, match="is late"):
        export_film(source, "mp4")
    assert new_files(tmp_path, source) == []


def _encode_late(frames: Any, made: Path, *given: Any) -> None:
    """Write the film one frame late."""
    shown = list(frames)
    made.write_bytes(encode_film(np.stack([shown[0], *shown[:-1]]), fps=12, crf=18))


def test_an_export_with_swapped_colours_is_not_written(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(frames: Any, made: Path, *given: Any) -> None:
        made.write_bytes(encode_film(np.stack(list(frames))[..., ::-1], fps=12, crf=18))

    monkeypatch.setattr(export, "_encode", encode)
    with pytest.raises(EncodingFailed, match="something else"):
        export_film(source, "mp4")
    assert new_files(tmp_path, source) == []


@pytest.mark.parametrize("frames", [20, 22])
def test_an_export_with_a_frame_too_few_or_too_many_is_not_written(
    frames: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(given: Any, made: Path, *rest: Any) -> None:
        shown = list(given)
        made.write_bytes(encode_film(np.stack([*shown, shown[-1]][:frames]), fps=12, crf=18))

    monkeypatch.setattr(export, "_encode", encode)
    with pytest.raises(EncodingFailed, match=f"{frames} frames, not 21"):
        export_film(source, "mp4")
    assert new_files(tmp_path, source) == []


def test_a_failing_ffmpeg_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho 'something broke' >&2\nexit 1\n")
    broken.chmod(0o755)
    formats_here()
    monkeypatch.setattr(export, "_ffmpeg", lambda: str(broken))
    with pytest.raises(EncodingFailed, match="something broke"):
        export_film(source, "webm")
    assert new_files(tmp_path, source, broken) == []


def test_frames_that_cannot_be_written_leave_no_folder(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*given: Any) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.artifact, "encode_image", fail)
    with pytest.raises(DiskFull, match="the disk is full"):
        export_film(source, "png")
    assert new_files(tmp_path, source) == []


@pytest.mark.parametrize("name", ["mp4", "gif", "png", "prores"])
@pytest.mark.parametrize("short", ["before", "meanwhile"])
def test_a_full_disk_is_told_and_leaves_nothing(
    name: str, short: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the work, without any; or where ffmpeg runs out of room in the middle of it."""
    outputs, begun = tmp_path / "exports", list[list[Path]]()
    free = 0 if short == "before" else 2**40
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free})())

    def cut(*given: Any) -> None:
        nonlocal free
        begun.append(list(outputs.rglob("*")))
        free = 0
        raise EncodingFailed("ffmpeg could not write on")

    monkeypatch.setattr(export, "_encode", cut)
    if name == "png":
        monkeypatch.setattr(export.artifact, "encode_image", lambda *given: cut())
    with pytest.raises(DiskFull, match=r"free at least \d+\.\d MiB more"):
        export_film(source, name, folder=outputs)
    assert [path for path in tmp_path.rglob("*") if path not in (source, outputs)] == []
    if short == "before":
        assert begun == []
    else:  # what was unfinished lay beside its target
        assert any(path.name.endswith(".work") for path in begun[0])


@pytest.mark.parametrize("name", ["mp4", "png"])
@pytest.mark.parametrize("lengths", [[11, 12], [11, 9]])
def test_a_film_that_is_not_what_its_recipe_says_is_refused(lengths: list[int], name: str, source: Path, tmp_path: Path) -> None:
    plan, recipe = film_of(width=160, height=96, lengths=lengths)
    forged = tmp_path / "forged.mp4"
    forged.write_bytes(mark_film(encode_film(np.stack(list(iterate_film(source))), fps=12, crf=18), plan.request, recipe))
    with pytest.raises(UnreadableFile, match="should hold"):
        export_film(forged, name)
    assert new_files(tmp_path, source, forged) == []


def test_a_frame_that_is_written_wrong_is_noticed(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = export.artifact.encode_image
    monkeypatch.setattr(export.artifact, "encode_image", lambda picture, *rest: real(picture.rotate(180), *rest))
    with pytest.raises(EncodingFailed, match="something else"):
        export_film(source, "png")
    assert new_files(tmp_path, source) == []


def test_a_foreign_film_or_a_picture_is_refused(tmp_path: Path, source: Path) -> None:
    foreign = tmp_path / "foreign.mp4"
    foreign.write_bytes(encode_film(np.zeros((3, 96, 160, 3), np.uint8), fps=12, crf=18))
    picture = export_film(source, "png").path / "0001.png"
    for path in (foreign, tmp_path / "missing.mp4"):
        with pytest.raises(UnreadableFile):
            export_film(path, "mp4")
    with pytest.raises(UnreadableFile):
        export_film(picture, "mp4")


# --- twice the frames -------------------------------------------------------------------------------------------------------


def half_way(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return ((first.astype(np.int16) + second) // 2).astype(np.uint8)


@pytest.mark.parametrize("name", ["mp4", "webm", "png"])
def test_a_dense_export_has_a_frame_between_every_two_and_plays_as_long(name: str, source: Path) -> None:
    made = export_film(source, name, densify=True, between=half_way)
    assert (made.frames, made.fps, made.densified) == (41, 24, "the network given")
    if name == "png":
        shown = [np.asarray(Image.open(path)) for path in sorted(made.path.iterdir())]
        own = list(iterate_film(source))
        assert len(shown) == 41
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(own, shown[::2], strict=True))
        assert np.array_equal(shown[5], half_way(own[2], own[3]))
    elif name == "mp4":
        assert len(list(iterate_film(made.path))) == 41


def test_motion_compensation_finds_the_disc_half_way_where_a_blend_shows_it_twice() -> None:
    own = [disc(24 + 8 * n).clip(0, 255).astype(np.uint8) for n in range(12)]
    made = list(densify_by_motion(iter(own), 160, 96, FFMPEG))
    assert len(made) == 23
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(own, made[::2], strict=True))
    motion, blend = [], []
    for n, (before, after) in enumerate(itertools.pairwise(own)):
        truth, mixed = disc(24 + 8 * n + 4).clip(0, 255), half_way(before, after).astype(float)
        ghosts = np.abs(mixed - truth) > 10  # where a blend shows the disc twice
        motion.append(np.abs(made[2 * n + 1] - truth)[ghosts].mean())
        blend.append(np.abs(mixed - truth)[ghosts].mean())
    assert np.mean(motion) < 0.4 * np.mean(blend)  # seen: 1.6 and 23.9 grey levels


def test_a_dense_loop_leaves_out_its_last_frame_alone(tmp_path: Path) -> None:
    looped = make_film(tmp_path, loop=True, stages=[{"prompt": "a"}, {"prompt": "b"}], lengths=[11, 11])
    assert export_film(looped, "gif", densify=True, between=half_way, fps=20).frames == 40


def test_motion_compensation_that_fails_is_told(source: Path, tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\ncat > /dev/null\necho no such filter >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(EncodingFailed, match="no such filter"):
        list(densify_by_motion(iter(list(iterate_film(source))), 160, 96, str(broken)))


def test_frames_of_motion_compensation_in_the_wrong_place_are_refused(source: Path, tmp_path: Path) -> None:
    late = tmp_path / "ffmpeg"  # gives back what it gets, from the fourth frame on
    late.write_text("#!/bin/sh\nexec tail -c +138241\n")
    late.chmod(0o755)
    with pytest.raises(EncodingFailed, match="lost its place"):
        list(densify_by_motion(iter(list(iterate_film(source))), 160, 96, str(late)))


def test_a_damaged_film_ends_a_dense_export_with_its_own_reason(source: Path) -> None:
    def frames() -> Any:
        yield from list(iterate_film(source))[:4]
        raise UnreadableFile("file", "film.mp4", "an undamaged film")

    with pytest.raises(UnreadableFile):
        list(densify_by_motion(frames(), 160, 96, FFMPEG))


def test_twice_the_frames_of_a_fast_film_need_a_format_that_is_fast_enough(tmp_path: Path) -> None:
    fast = make_film(tmp_path, fps=50)
    with pytest.raises(InvalidRequest, match="fps"):
        export_film(fast, "mp4", densify=True, between=half_way)
