"""Stages survive, are found again, give way by age, and are never taken from those who need them; a device has one owner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flux_svd import files
from flux_svd.errors import Cancelled, DiskFull, InvalidRequest
from flux_svd.lock import DeviceLock
from flux_svd.plan import disk_bytes, plan_from_json, plan_to_json, stage_names
from flux_svd.progress import Progress
from flux_svd.recipe import fingerprint, latents_name
from flux_svd.request import make_request
from flux_svd.store import Stage, Store
from tests.fakes import fake_session
from tests.test_planner import film_of, gpu, plan_of

NAMES = [letter * 64 for letter in "abcdef"]


def filled(home: Path, stages_bytes: int) -> Store:
    """Return a store with six stages of 100 bytes, used in the order of their names."""
    store = Store(home, stages_bytes=stages_bytes)
    for age, name in enumerate(NAMES):
        store.keep_stage(name, "npy", bytes(100))
        os.utime(store.stage_file(name, "npy").with_name(f"{name}.npy.facts"), (age, age))
    return store


def left(store: Store) -> str:
    return "".join(name[0] for name in NAMES if store.find_stage(name, "npy"))


def test_the_longest_unused_stages_go_first(home: Path) -> None:
    store = filled(home, 250)
    assert store.evict() == 400
    assert left(store) == "ef"


def test_a_use_makes_a_stage_young(home: Path) -> None:
    store = filled(home, 250)
    assert store.find_stage(NAMES[0], "npy")
    store.evict()
    assert left(store) == "af"


def test_what_is_needed_or_pinned_is_never_evicted(home: Path) -> None:
    store = filled(home, 0)
    with Store(home).pinned([NAMES[1]]):
        store.evict(lambda: [NAMES[3]])
        assert left(store) == "bd"
    store.evict(lambda: [NAMES[3]])
    assert left(store) == "d"


def test_below_its_share_nothing_is_evicted_or_asked(home: Path) -> None:
    def asked() -> list[str]:
        raise AssertionError("not needed")

    store = filled(home, 600)
    assert store.evict(asked) == 0
    assert left(store) == "abcdef"


def test_an_evicted_stage_leaves_no_file(home: Path) -> None:
    store = filled(home, 0)
    store.evict()
    assert [path for path in store.stages.rglob("*") if path.is_file()] == []


def test_a_stage_keeps_its_facts(home: Path) -> None:
    Store(home).keep_stage(NAMES[0], "mp4", b"film", {"ends": [1.5]})
    assert Store(home).find_stage(NAMES[0], "mp4") == Stage(b"film", {"ends": [1.5]})


@pytest.mark.parametrize("damage", ["data", "sidecar", "no sidecar", "no data"])
def test_a_damaged_stage_is_absent_and_can_be_kept_again(damage: str, home: Path) -> None:
    store = Store(home)
    store.keep_stage(NAMES[0], "npy", b"latents")
    data = store.stage_file(NAMES[0], "npy")
    sidecar = data.with_name(data.name + ".facts")
    if damage.startswith("no "):
        (data if damage == "no data" else sidecar).unlink()
    else:
        (data if damage == "data" else sidecar).write_bytes(b"\xff{")
    assert store.find_stage(NAMES[0], "npy") is None
    store.keep_stage(NAMES[0], "npy", b"latents")
    assert store.find_stage(NAMES[0], "npy") == Stage(b"latents")


DIES_WRITING = """
import sys
from pathlib import Path
from flux_svd import failpoints, files
from flux_svd.store import Store
store = Store(Path(sys.argv[1]))
with store.pinned(["a" * 64]):
    failpoints.arm("kill", 3)
    files.write_atomically(store.home / "x", b"data")
"""


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not(home: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES_WRITING, str(home)], check=False, timeout=60)
    assert died.returncode == -9
    with files.written_temporarily(home, b"mine") as mine:
        assert len(list(home.glob(files.TEMPORARY + "*"))) == 2
        assert Store(home).reconcile() == 2  # a file and a pin
        assert mine.read_bytes() == b"mine"
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_a_run_takes_no_more_disk_than_its_share(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, _ = fake_session(home, outputs, monkeypatch)
    session.store.stages_bytes = 0
    session.run(session.plan(make_request({"kind": "image", "prompt": "a", "seed": 1})))
    assert list(session.store.stages.rglob("*.png")) == []
    assert len(list(outputs.rglob("*.png"))) == 1


def test_the_same_film_again_computes_nothing(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engines = fake_session(home, outputs, monkeypatch)
    plan = session.plan(make_request({"kind": "video", "prompt": "a dog", "seed": 1}))
    first = session.run(plan)[0]
    engines.calls.clear()
    monkeypatch.setattr(engines, "scorer", lambda model: pytest.fail("scored again"))
    second = session.run(plan)[0]
    assert engines.calls == []
    assert second.run.reused == 3 + 1
    assert (second.run.scores, second.run.ends) == (first.run.scores, first.run.ends)
    assert second.path.read_bytes() == first.path.read_bytes()


def test_a_film_without_room_is_refused_before_it_begins(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, engines = fake_session(home, outputs, monkeypatch)
    plan = session.plan(make_request({"kind": "video", "prompt": "a dog"}))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": disk_bytes(plan) - 3 * 2**20})())
    with pytest.raises(DiskFull, match=r"free at least 3\.0 MiB more"):
        session.run(plan)
    assert engines.calls == []


@pytest.mark.parametrize("plan", [plan_of(), film_of()[0], plan_of(guidance=3), plan_of(gpu(24), count=3)])
def test_a_plan_survives_json_exactly(plan: object) -> None:
    assert plan_from_json(plan_to_json(plan)) == plan  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("seed"),
        lambda v: v["recipes"][0].pop("steps"),
        lambda v: v["placements"][0].update(x=1),
        lambda v: v["request"].update(steps=10**9),
    ],
)
def test_a_plan_of_another_version_is_refused(change: Callable[[dict[str, object]], None]) -> None:
    values = json.loads(plan_to_json(plan_of()))
    change(values)
    with pytest.raises((ValueError, InvalidRequest)):
        plan_from_json(json.dumps(values))


def test_a_film_names_its_keyframes_transitions_and_itself() -> None:
    plan, film = film_of()
    parts = {fingerprint(part) for part in film.keyframes} | {fingerprint(part) for part in film.transitions}
    assert stage_names(plan) == parts | {fingerprint(film), latents_name(film)}


HOLDS = """
import sys, threading
from pathlib import Path
from flux_svd.lock import DeviceLock
with DeviceLock(Path(sys.argv[1]), "cpu-0", "the app").held(print, threading.Event()):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_device_has_one_owner_and_who_waits_hears_for_whom(home: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLDS, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    told: list[str] = []

    def hear(note: str) -> None:
        told.append(note)
        threading.Timer(0.5, other.kill).start()  # its right ends with it

    began = time.monotonic()
    with DeviceLock(home, "cpu-0", "the command line").held(hear, threading.Event()):
        assert time.monotonic() - began >= 0.5
    assert other.wait(10) == -9
    assert told[0].startswith(f"waiting for the app, process {other.pid}, since ")
    with DeviceLock(home, "cpu-1", "the command line").held(told.append, threading.Event()):
        assert len(told) == 1


def test_a_run_reports_that_it_waits_for_another_process_and_can_be_stopped(
    home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, engines = fake_session(home, outputs, monkeypatch)
    plan = session.plan(make_request({"kind": "image", "prompt": "a"}))
    stop, seen = threading.Event(), []

    def hear(progress: Progress) -> None:
        seen.append(progress)
        stop.set()

    with DeviceLock(home, "cpu-0", "the app").held(pytest.fail, stop), pytest.raises(Cancelled, match="the app"):
        session.run(plan, hear, stop)
    assert (seen[0].phase, seen[0].note[:19]) == ("wait", "waiting for the app")
    assert engines.calls == []


def test_a_scratch_folder_goes_with_its_block_or_with_the_next_sweep_after_its_process_died(home: Path) -> None:
    with files.scratch_folder(home / "scratch") as work:
        (work / "half.mp4").write_bytes(b"x")
        assert files.remove_leftovers(home) == 0
        assert (work / "half.mp4").exists()
    assert list((home / "scratch").iterdir()) == []
    code = (
        "import os; from pathlib import Path; from flux_svd import files\n"
        f"with files.scratch_folder(Path({str(home / 'scratch')!r})) as work:\n"
        "    (work / 'half.mp4').write_bytes(b'x'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert len(list((home / "scratch").iterdir())) == 2
    assert Store(home).reconcile() == 1
    assert list((home / "scratch").iterdir()) == []


def test_a_process_killed_while_it_encodes_leaves_nothing_behind_after_the_next_sweep(home: Path, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    slow = tmp_path / "ffmpeg"
    slow.write_text(f'#!/bin/sh\nfor last; do :; done\necho half > "$last"\ntouch {tmp_path}/began\nexec sleep 60\n')
    slow.chmod(0o755)
    code = (
        "import numpy; from pathlib import Path; from flux_svd.encode import encode_film; from flux_svd.store import Store\n"
        f"encode_film(numpy.zeros((9, 64, 64, 3), 'u1'), fps=12, crf=18, scratch=Store(Path({str(home)!r})).scratch)"
    )
    env = {**os.environ, "IMAGEIO_FFMPEG_EXE": str(slow), "TMPDIR": str(tmp_path / "tmp")}
    child = subprocess.Popen([sys.executable, "-c", code], env=env, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "began").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert list(home.rglob("*.mp4"))
    Store(home).reconcile()
    assert list((home / "scratch").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
