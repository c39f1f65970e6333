"""The library: everything saved is found, marked, thrown away and had back; what is damaged is named and the rest works."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from flux_svd import artifact, failpoints, files
from flux_svd.artifact import JobTag, RunFacts, encode_image, mark_film
from flux_svd.errors import DiskFull, InvalidRequest
from flux_svd.library import Library, needed_stages
from flux_svd.plan import Plan, stage_names
from flux_svd.recipe import ImageRecipe, VideoRecipe
from flux_svd.request import make_request
from tests.test_planner import film_of, plan_of

DAY = 86400.0


def put(
    outputs: Path, name: str, *, prompt: str = "a red circle", score: float = 0.5, age: float = 0, owner: str = "", **fields: Any
) -> Path:
    """Save a picture of this prompt as a run would."""
    plan = plan_of(prompt=prompt, **fields)
    recipe = plan.recipes[0]
    assert isinstance(recipe, ImageRecipe)
    data = encode_image(Image.new("RGB", (8, 8), "red"), plan.request, recipe)
    run = RunFacts(1.0, "cpu", 0, {"scorer": "pocket-clip", "clip_cosine": score})
    path = artifact.save(
        data, ".png", outputs / "2026-11-20", plan.request, recipe, run, name=name, placement=[], job=JobTag(name, "", owner)
    )
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def put_film(outputs: Path, name: str, planned: tuple[Plan, VideoRecipe] | None = None) -> Path:
    plan, film = planned or film_of(prompt="a dog running")
    run = RunFacts(1.0, "cpu", 0, {"clip_cosine": 0.7})
    data = mark_film(b"\0\0\0\x08ftyp", plan.request, film)
    return artifact.save(data, ".mp4", outputs, plan.request, film, run, name=name, placement=[])


def names(items: list[Any]) -> list[str]:
    return [item.path.stem for item in items]


def test_results_are_found_by_words_kind_model_day_score_and_star(outputs: Path, home: Path) -> None:
    put(outputs, "a", prompt="a red Circle", age=3, score=0.1)
    put(outputs, "b", prompt="a blue circle, 100% round", age=2, owner="ann")
    put(outputs, "c", prompt="a blue square", age=1, score=0.9)
    film = put_film(outputs, "film")
    library = Library(outputs, home)
    assert names(library.search()) == ["film", "c", "b", "a"]
    assert names(library.search("CIRCLE")) == ["b", "a"]
    assert names(library.search("circle blue")) == ["b"]
    assert names(library.search("100%")) == ["b"]
    assert names(library.search("10_%")) == []
    assert names(library.search(kind="video")) == ["film"]
    assert names(library.search(model="pocket-flux", kind="image", min_score=0.5)) == ["c", "b"]
    assert names(library.search(model="flux1-dev")) == []
    assert names(library.search(since=1e9 - 2, until=1e9)) == ["c", "b"]
    assert names(library.search(owner="ann")) == ["b"]
    assert names(library.search(limit=2, offset=1)) == ["c", "b"]
    library.star(film)
    assert names(library.search(starred=True)) == ["film"]
    item = library.item(film)
    assert (item.prompt, item.score, item.starred, item.problem) == ("a dog running", 0.7, True, "")


def test_a_result_gives_back_its_request(outputs: Path, home: Path) -> None:
    path = put(outputs, "a", prompt="a red circle")
    library = Library(outputs, home)
    assert library.request(path) == plan_of(prompt="a red circle").request
    (path.parent / "a.png.json").write_text("{broken")
    assert library.request(path) == plan_of(prompt="a red circle").request


def test_new_changed_and_removed_files_are_noticed_and_others_not_read_again(outputs: Path, home: Path) -> None:
    paths = [put(outputs, name) for name in "abc"]
    assert Library(outputs, home).count() == 3
    library = Library(outputs, home)
    assert library.reconcile() == 0
    paths[0].unlink()
    (paths[0].parent / "a.png.json").unlink()
    put(outputs, "b", prompt="something else")
    put(outputs, "d")
    assert library.reconcile() == 2
    assert sorted(names(library.search())) == ["b", "c", "d"]
    assert names(library.search("else")) == ["b"]
    library.add(put(outputs, "e"))
    assert "e" in names(library.search())


def test_of_ten_thousand_results_only_what_changed_is_read_again(
    outputs: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = put(outputs, "a")
    data, told = first.read_bytes(), (first.parent / "a.png.json").read_bytes()
    for number in range(9_999):
        (first.parent / f"{number}.png").write_bytes(data)
        (first.parent / f"{number}.png.json").write_bytes(told)
    read: list[Path] = []

    def counted(path: Path) -> dict[str, Any]:
        read.append(path)
        return dict(json.loads(path.read_bytes()))

    monkeypatch.setattr(files, "read_json", counted)
    library = Library(outputs, home)
    assert (library.count(), len(read)) == (10_000, 10_000)
    library.close()
    read.clear()
    library = Library(outputs, home)
    assert (library.count(), library.reconcile(), read) == (10_000, 0, [])
    assert len(library.search("circle red", limit=-1)) == 10_000
    library.close()
    (first.parent / "7.png").write_bytes(data)
    library = Library(outputs, home)
    assert [path.name for path in read] == ["7.png.json"]
    assert (library.count(), library.problems()) == (10_000, [])


@pytest.mark.parametrize("loss", ["lost", "damaged"])
def test_a_lost_or_damaged_index_is_made_again_with_its_stars(loss: str, outputs: Path, home: Path) -> None:
    for name in "abc":
        put(outputs, name)
    library = Library(outputs, home)
    library.star(outputs / "2026-11-20" / "b.png")
    library.close()
    index = next(home.rglob("library/*.db"))
    index.unlink() if loss == "lost" else index.write_bytes(b"\xff" * 9000)
    again = Library(outputs, home)
    assert names(again.search(starred=True)) == ["b"]
    assert again.count() == 3
    assert (again.damaged is not None) == (loss == "damaged")


def test_what_is_damaged_is_named_and_the_rest_works(outputs: Path, home: Path) -> None:
    broken, alone, cut, gone, flipped = (put(outputs, name) for name in ("broken", "alone", "cut", "gone", "flipped"))
    put(outputs, "whole")
    (broken.parent / "broken.png.json").write_bytes(b"\xff\x00{")
    (alone.parent / "alone.png.json").unlink()
    cut.write_bytes(cut.read_bytes()[:100])
    gone.unlink()
    data = bytearray(flipped.read_bytes())
    data[-20] ^= 1
    flipped.write_bytes(data)
    (outputs / "foreign.png").write_bytes(b"not ours")
    (outputs / "nothing.png.json").write_text("[]")
    library = Library(outputs, home)
    told = {item.path.stem: item.problem for item in library.problems()}
    assert told == {
        "broken": "its sidecar is damaged", "alone": "it has no sidecar", "cut": f"it is damaged: 100 of {len(data)} bytes",
        "gone": "its file is missing", "nothing": "its sidecar is damaged, and the file tells nothing",
    }  # fmt: skip
    assert names(library.search("circle", kind="image", min_score=0.1)) != []
    assert library.item(broken).prompt == "a red circle"
    assert library.rebuild() == 7
    assert "bytes are not those" in library.item(flipped).problem
    assert library.item(outputs / "2026-11-20" / "whole.png").problem == ""
    with pytest.raises(InvalidRequest, match="sidecar can be read"):
        library.star(broken)


@pytest.mark.parametrize(
    "sidecar", ["[1]", "{}", '{"recipe": 3}', '{"recipe": {"keyframes": []}, "run": {}}', '{"run": {"scores": 1}, "recipe": {}}']
)
def test_a_sidecar_that_says_nonsense_is_no_error(sidecar: str, outputs: Path, home: Path) -> None:
    path = put(outputs, "a")
    (path.parent / "a.png.json").write_text(sidecar)
    assert Library(outputs, home).item(path).problem == "its sidecar is damaged"


def test_what_is_thrown_away_can_be_had_back_until_the_trash_is_emptied(outputs: Path, home: Path) -> None:
    path, other = put(outputs, "a"), put(outputs, "b")
    bytes_before = path.read_bytes()
    time = [1e9]
    library = Library(outputs, home, now=lambda: time[0])
    thrown = library.delete(path)
    assert not path.exists()
    assert names(library.search()) == ["b"]
    assert [one.id for one in library.trash()] == [thrown]
    assert library.restore(thrown) == path
    assert path.read_bytes() == bytes_before
    assert sorted(names(library.search())) == ["a", "b"]
    assert library.trash() == []
    library.delete(path)
    time[0] += 29 * DAY
    library.reconcile()
    assert len(library.trash()) == 1
    time[0] += 2 * DAY
    library.reconcile()
    assert library.trash() == []
    library.delete(other)
    assert library.empty_trash(older_than_seconds=-1) == 1
    assert [one for one in outputs.rglob("*") if one.is_file()] == []


def test_a_restore_never_overwrites(outputs: Path, home: Path) -> None:
    path = put(outputs, "a")
    library = Library(outputs, home)
    thrown = library.delete(path)
    new = put(outputs, "a", prompt="another")
    with pytest.raises(InvalidRequest, match="another file has it"):
        library.restore(thrown)
    library.add(new)
    assert library.request(new).prompt == "another"
    with pytest.raises(InvalidRequest, match="in the trash"):
        library.restore("../../etc")


def test_a_forged_manifest_reaches_nothing_outside(outputs: Path, home: Path, tmp_path: Path) -> None:
    put(outputs, "a")
    (tmp_path / "precious").write_text("mine")
    for number, target in enumerate(["../precious", str(tmp_path / "precious")]):
        manifest = {"wish": "delete", "files": [target], "at": 0}
        files.write_json(outputs / ".trash" / f"forged{number}" / "manifest.json", manifest)
    library = Library(outputs, home)
    assert (tmp_path / "precious").read_text() == "mine"
    assert len(library.damaged_trash()) == 2
    assert library.count() == 1


def test_files_outside_the_outputs_are_no_results(outputs: Path, home: Path, tmp_path: Path) -> None:
    put(outputs, "a")
    (tmp_path / "x.png").write_bytes(b"x")
    (outputs / "link.png").symlink_to(tmp_path / "x.png")
    library = Library(outputs, home)
    for path in (tmp_path / "x.png", outputs / ".." / "x.png", outputs / "link.png", outputs / "missing.png"):
        for ask in (library.item, library.delete, library.star):
            with pytest.raises(InvalidRequest):
                ask(path)
    assert (tmp_path / "x.png").exists()


@pytest.mark.parametrize("fault", ["kill", "full"])
def test_a_fault_at_any_point_of_delete_and_restore_loses_nothing(fault: failpoints.Fault, outputs: Path, home: Path) -> None:
    """Sweeps every numbered point; "kill" in a child of its own."""
    content = put(outputs, "a").read_bytes()
    number, ended = 0, False
    while not ended:
        number += 1
        child = multiprocessing.get_context("fork").Process(target=_throw_and_restore, args=(outputs, home, fault, number))
        child.start()
        child.join(60)
        assert child.exitcode in ((0, 3) if fault == "full" else (0, -9))
        ended = child.exitcode == 0
        library = Library(outputs, home)
        found = [path.read_bytes() for path in outputs.rglob("a.png")]
        assert found == [content], f"point {number}"
        for thrown in library.trash():
            library.restore(thrown.id)
        assert (names(library.search()), library.problems()) == (["a"], []), f"point {number}"
        library.close()
        assert not [path for path in outputs.rglob("*") if path.name.startswith(files.TEMPORARY) and fault == "full"]
    assert number > 25


def _throw_and_restore(outputs: Path, home: Path, fault: failpoints.Fault, number: int) -> None:
    library = Library(outputs, home)
    failpoints.arm(fault, number)
    try:
        library.restore(library.delete(outputs / "2026-11-20" / "a.png"))
    except (DiskFull, OSError):
        os._exit(3)
    os._exit(0)


def tagged(outputs: Path, tag: str) -> Path:
    """Save the result "a" anew, as a job that is carried out again does: over what has the name; its sidecar tells the tag."""
    return put(outputs, "a", owner=tag)


def tag_of(path: Path) -> str:
    return str(files.read_json(path.with_name(path.name + ".json")).get("owner", ""))


def in_trash(outputs: Path, thrown: str) -> str:
    return tag_of(outputs / ".trash" / thrown / "a.png")


def test_a_result_that_takes_the_name_of_a_thrown_one_stays_at_every_opening(outputs: Path, home: Path) -> None:
    library = Library(outputs, home)
    library.add(tagged(outputs, "first"))
    thrown = library.delete(outputs / "2026-11-20" / "a.png")
    again = tagged(outputs, "second")
    library.add(again)
    for _ in range(2):
        reopened = Library(outputs, home)
        assert (tag_of(again), in_trash(outputs, thrown), reopened.count()) == ("second", "first", 1)
    with pytest.raises(InvalidRequest, match="another file has it"):
        reopened.restore(thrown)


def test_a_restored_result_stays_where_another_of_its_name_is_in_the_trash(outputs: Path, home: Path) -> None:
    library, thrown = Library(outputs, home), []
    for tag in ("first", "second"):
        path = tagged(outputs, tag)
        library.add(path)
        thrown.append(library.delete(path))
    library.restore(thrown[0])
    for _ in range(2):
        reopened = Library(outputs, home)
        assert (tag_of(path), in_trash(outputs, thrown[1]), reopened.count()) == ("first", "second", 1)
        assert [one.id for one in reopened.trash()] == [thrown[1]]
    path.unlink()
    path.with_name("a.png.json").unlink()
    assert tag_of(reopened.restore(thrown[1])) == "second"


def test_what_an_older_version_threw_away_stays_in_the_trash(outputs: Path, home: Path) -> None:
    inside = outputs / ".trash" / "20261120-101010-abcdef"
    old = tagged(outputs, "first")
    parts = ["2026-11-20/a.png", "2026-11-20/a.png.json"]
    files.write_json(inside / "manifest.json", {"wish": "delete", "files": parts, "at": 1e9})
    for name in parts:
        files.move(outputs / name, inside / Path(name).name)
    tagged(outputs, "second")
    library = Library(outputs, home, now=lambda: 1e9)
    assert (tag_of(old), in_trash(outputs, inside.name), library.count()) == ("second", "first", 1)


def test_what_an_older_version_had_only_begun_to_throw_away_is_thrown(outputs: Path, home: Path) -> None:
    inside = outputs / ".trash" / "20261120-101010-abcdef"
    tagged(outputs, "first")
    told = {"wish": "delete", "files": ["2026-11-20/a.png", "2026-11-20/a.png.json"], "at": 1e9}
    files.write_json(inside / "manifest.json", told)
    library = Library(outputs, home, now=lambda: 1e9)
    assert (in_trash(outputs, inside.name), library.count()) == ("first", 0)


@pytest.mark.parametrize("what", ["delete", "restore", "empty"])
def test_a_result_of_the_same_name_made_after_a_crash_at_any_point_is_neither_moved_nor_overwritten(
    what: str, outputs: Path, home: Path
) -> None:
    path = outputs / "2026-11-20" / "a.png"
    number, ended = 0, False
    while not ended:
        number += 1
        for folder in (outputs, home):
            shutil.rmtree(folder, ignore_errors=True)
        tagged(outputs, "first")
        child = multiprocessing.get_context("fork").Process(target=_crash, args=(outputs, home, what, number))
        child.start()
        child.join(60)
        assert child.exitcode in (0, -9)
        ended = child.exitcode == 0
        was_free = not path.exists()
        tagged(outputs, "second")
        for _ in range(2):
            library = Library(outputs, home)
            left = {tag_of(one) for one in outputs.rglob("a.png")}
            if was_free or what == "restore":  # else the wish to throw what has the name may be carried out
                assert tag_of(path) == "second", f"point {number}"
            assert "second" in left, f"point {number}"
            assert (library.problems(), library.damaged_trash()) == ([], []), f"point {number}"
            if what == "restore" and was_free:
                assert left == {"first", "second"}, f"point {number}"
            library.close()
    assert number > 8


def _crash(outputs: Path, home: Path, what: str, number: int) -> None:
    library = Library(outputs, home)
    if what == "delete":
        failpoints.arm("kill", number)
    thrown = library.delete(outputs / "2026-11-20" / "a.png")
    if what != "delete":
        failpoints.arm("kill", number)
    if what == "restore":
        library.restore(thrown)
    elif what == "empty":
        library.empty_trash(older_than_seconds=-1)
    os._exit(0)


def _work(outputs: Path, home: Path, name: str) -> None:
    library = Library(outputs, home)
    for number in range(10):
        path = put(outputs, f"{name}{number}")
        library.add(path)
        library.star(path)
        if number % 2:
            library.restore(library.delete(path))
        library.reconcile()


def test_two_processes_share_one_library(outputs: Path, home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(outputs, home, name)) for name in "xy"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    library = Library(outputs, home)
    assert len(library.search(starred=True)) == library.count() == 20
    assert (library.problems(), library.trash()) == ([], [])


def test_two_threads_change_one_library_one_after_the_other(outputs: Path, home: Path) -> None:
    library = Library(outputs, home)
    path = put(outputs, "a")
    library.add(path)
    star = threading.Thread(target=library.star, args=(path,))
    with files.alone(library._lock):
        star.start()
        star.join(1)
        assert star.is_alive()
        assert not library.item(path).starred
    star.join(60)
    assert library.item(path).starred


def test_starred_results_keep_their_stages(outputs: Path, home: Path) -> None:
    path = put_film(outputs, "film")
    put(outputs, "a")
    library = Library(outputs, home)
    assert library.needed_stages() == set()
    library.star(path)
    assert needed_stages(outputs, home) == stage_names(film_of(prompt="a dog running")[0])
    assert needed_stages(outputs / "elsewhere", home) == set()


def test_a_starred_result_of_another_version_does_not_cost_the_others_their_stages(
    outputs: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library = Library(outputs, home)
    for path in (put(outputs, "a"), put_film(outputs, "film")):
        library.add(path)
        library.star(path)
    other = outputs / "2026-11-20" / "a.png"
    told = other.stat()
    other.write_bytes(other.read_bytes().replace(b"flux_svd", b"flux_sXX"))
    os.utime(other, ns=(told.st_atime_ns, told.st_mtime_ns))
    assert library.item(other).problem == ""
    assert library.needed_stages() == stage_names(film_of(prompt="a dog running")[0])
    assert "a.png" in caplog.text


def test_a_sidecar_of_an_older_version_is_still_read(outputs: Path, home: Path) -> None:
    path = put(outputs, "a")
    told = json.loads((path.parent / "a.png.json").read_text())
    for name in ("bytes", "job", "owner"):
        del told[name]
    (path.parent / "a.png.json").write_text(json.dumps(told))
    assert Library(outputs, home).item(path).problem == ""
    assert make_request(told["request"]).prompt == "a red circle"
