"""Workers: what they claim they finish, what is asked they do, and their death costs a job one attempt at most."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from flux_svd import files
from flux_svd import worker as worker_module
from flux_svd.artifact import Artifact
from flux_svd.device import count_devices, environment_for, read_budget
from flux_svd.errors import BadOutput, InvalidRequest, OutOfMemory, StorageFailed
from flux_svd.ledger import Ledger
from flux_svd.plan import Plan, keyframes_only
from flux_svd.progress import Progress
from flux_svd.request import make_request
from flux_svd.results import load_artifacts
from flux_svd.session import Session
from flux_svd.worker import Watchdog, Worker, keep_worker, supervise
from tests.fake_worker import counting_session
from tests.fakes import FakeEngines
from tests.waiting import until

ROOT = Path(__file__).parent.parent


@pytest.fixture
def room(home: Path, outputs: Path) -> tuple[Worker, FakeEngines]:
    session, engines = counting_session(home, outputs)
    return Worker(Ledger(home), session, name="w", beat_seconds=0.05), engines


def film(session: Session, seed: int = 7, **fields: Any) -> Plan:
    return session.plan(make_request({"kind": "video", "prompt": "a dog", "seed": seed, **fields}))


def long_film(session: Session) -> Plan:
    """Return a film that is not done by itself while a test goes on: half a minute of steps at 0.05 s each."""
    return film(session, transition_steps=150)


def picture(session: Session, seed: int = 7) -> Plan:
    return session.plan(make_request({"kind": "image", "prompt": "a dog", "seed": seed}))


def computed(home: Path) -> list[str]:
    return (home / "computed").read_text().splitlines()


def command(home: Path, outputs: Path, name: str, step_seconds: float, device_number: int = 0) -> list[str]:
    return [sys.executable, "-m", "tests.fake_worker", str(home), str(outputs), name, str(step_seconds), str(device_number)]


def told_to_stop(worker: Worker) -> list[threading.Event]:
    """Return a list that will hold, from its run on, the event by which each job of this worker is told to stop."""
    run, told = worker.session.run, list[threading.Event]()

    def call(plan: Plan, hear: Callable[[Progress], None], stop: threading.Event, *rest: Any) -> tuple[Artifact, ...]:
        told.append(stop)
        return run(plan, hear, stop, *rest)

    worker.session.run = call  # type: ignore[method-assign, assignment]
    return told


Room = tuple[Worker, FakeEngines]


def test_a_job_becomes_results_of_its_name_in_the_library(room: Room) -> None:
    worker, _ = room
    job = worker.ledger.submit(film(worker.session), owner="ann")
    assert worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert told.state == "done"
    assert [Path(path).suffix for path in told.results] == [".png"] * 3 + [".mp4"]
    items = worker.library(worker.session.output_dir).search()
    assert {str(item.path) for item in items} == set(told.results)
    assert {(item.owner, item.job) for item in items} == {("ann", job)}
    assert all(job in item.path.name for item in items)
    assert not worker.run_next(threading.Event())


def test_a_job_carried_out_twice_leaves_one_result_of_the_same_bytes(room: Room) -> None:
    worker, _ = room
    worker.ledger.submit(film(worker.session))
    late = worker.ledger.claim("late")
    assert late
    made = worker.session.run(late.plan, job=late.tag)
    before = {path: path.read_bytes() for path in worker.session.output_dir.rglob("*") if path.suffix in (".png", ".mp4")}
    worker.ledger.release("late", "gone")
    worker.run_next(threading.Event())
    after = {path: path.read_bytes() for path in worker.session.output_dir.rglob("*") if path.suffix in (".png", ".mp4")}
    assert before == after
    assert len(after) == 4
    assert not worker.ledger.finish(late, [made[0].path])


def test_results_go_where_the_job_was_given(room: Room, tmp_path: Path) -> None:
    worker, _ = room
    job = worker.ledger.submit(picture(worker.session), outputs=tmp_path / "mine")
    worker.run_next(threading.Event())
    assert Path(worker.ledger.job(job).results[0]).is_relative_to(tmp_path / "mine")
    assert worker.library(tmp_path / "mine").count() == 1
    assert not worker.session.output_dir.exists()


def test_pictures_of_one_job_that_begin_with_the_same_words_and_share_a_seed_are_results_apart(room: Room) -> None:
    worker, _ = room
    stages = [{"prompt": "a dog " * 20 + end} for end in ("sits", "runs", "sleeps")]
    whole = worker.session.plan(make_request({"kind": "video", "prompt": "a dog", "seed": 7, "stages": stages}))
    job = worker.ledger.submit(keyframes_only(whole))
    worker.run_next(threading.Event())
    results = [Path(path) for path in worker.ledger.job(job).results]
    assert len({path.read_bytes() for path in results}) == 3


@pytest.mark.parametrize(("wish", "state"), [("cancel", "cancelled"), ("pause", "paused")])
def test_what_is_asked_of_a_running_job_happens_at_its_next_step_and_finished_stages_stay(
    wish: str, state: str, room: Room, home: Path
) -> None:
    worker, engines = room
    job, told = worker.ledger.submit(film(worker.session)), told_to_stop(worker)

    def ask(kind: str, step: int) -> None:
        if (kind, step) == ("animate", 2):
            getattr(worker.ledger, wish)(job)
            assert told[-1].wait(300)

    engines.before_step = ask
    worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == state
    assert worker.ledger.job(job).progress.step < 8
    engines.before_step = lambda kind, step: None
    (worker.ledger.retry if wish == "cancel" else worker.ledger.resume)(job)
    worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == "done"
    assert sum(line.startswith("draw") for line in computed(home)) == 3


def test_progress_and_a_preview_can_be_watched_while_the_job_runs(
    room: Room, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = room
    job = worker.ledger.submit(picture(worker.session))
    seen: list[tuple[Progress, bytes]] = []

    def run(plan: Plan, hear: Callable[[Progress], None], *rest: object) -> tuple[()]:
        hear(Progress("draw", step=3, steps=8, preview=b"webp"))
        until(lambda: worker.ledger.job(job).progress.step == 3)
        seen.append((worker.ledger.job(job).progress, (home / "previews" / f"{job}.webp").read_bytes()))
        return ()

    monkeypatch.setattr(worker.session, "run", run)
    worker.run_next(threading.Event())
    assert seen == [(Progress("draw", step=3, steps=8), b"webp")]
    assert list((home / "previews").iterdir()) == []


def test_a_full_disk_pauses_the_job_and_says_how_much_is_missing(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, _ = room
    job = worker.ledger.submit(film(worker.session))
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 0, "total": 1, "used": 1})())
        worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert (told.state, told.failures) == ("paused", 0)
    assert "MiB more" in told.reason
    worker.ledger.resume(job)
    worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == "done"


def test_an_error_of_ours_ends_the_job_and_a_bug_also_the_worker(room: Room) -> None:
    worker, engines = room
    job = worker.ledger.submit(picture(worker.session))

    def raises(error: Exception) -> Callable[[str, int], None]:
        def fail(kind: str, step: int) -> None:
            raise error

        return fail

    engines.before_step = raises(BadOutput("not finite at step 3"))
    assert worker.run_next(threading.Event())
    assert (worker.ledger.job(job).state, worker.ledger.job(job).reason) == ("failed", "not finite at step 3")
    worker.ledger.retry(job)
    engines.before_step = raises(RuntimeError("CUDA error: unspecified launch failure\nmore"))
    for _ in range(3):
        with pytest.raises(RuntimeError):
            worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert told.state == "quarantined"
    assert told.reason == "3 attempts failed; the last: RuntimeError: CUDA error: unspecified launch failure"


def test_storage_that_fails_once_costs_an_attempt_and_not_the_job(room: Room, home: Path) -> None:
    worker, engines = room
    job = worker.ledger.submit(film(worker.session))

    def once(kind: str, step: int) -> None:
        if (kind, step) == ("animate", 2):
            engines.before_step = lambda kind, step: None
            raise StorageFailed("the ledger was busy for 10 seconds")

    engines.before_step = once
    worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert (told.state, told.failures, told.reason) == ("queued", 1, "the ledger was busy for 10 seconds")
    worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == "done"
    assert sum(line.startswith("draw") for line in computed(home)) == 3


def test_a_finished_job_whose_end_could_not_be_noted_is_done_by_the_next_attempt(
    room: Room, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, _ = room
    job = worker.ledger.submit(picture(worker.session))

    def busy(*arguments: Any) -> bool:
        raise StorageFailed("the ledger was busy for 10 seconds")

    with monkeypatch.context() as patched:
        patched.setattr(worker.ledger, "finish", busy)
        worker.run_next(threading.Event())
    worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert (told.state, len(told.results)) == ("done", 1)
    assert len(computed(home)) == 1


def test_storage_that_fails_while_a_worker_is_watched_does_not_end_its_supervisor(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(*arguments: Any, **named: Any) -> Any:
        raise StorageFailed("the ledger was busy for 10 seconds")

    monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.01)
    ledger, starts = Ledger(home), home / "starts"
    monkeypatch.setattr(ledger, "jobs", busy)
    monkeypatch.setattr(ledger, "release", busy)
    script = (
        f"import pathlib, sys, time; p = pathlib.Path({str(starts)!r}); time.sleep(0.5); "
        "n = len(p.read_text()) if p.exists() else 0; p.write_text('x' * (n + 1)); sys.exit(n == 0)"
    )
    supervise([sys.executable, "-c", script], ledger, "w", threading.Event(), first_wait_seconds=0.01)
    assert starts.read_text() == "xx"  # the first failed, and another was started
    assert "not watched" in caplog.text
    assert "taken back only" in caplog.text


def test_a_lost_lease_stops_the_run(room: Room) -> None:
    worker, engines = room
    job, told = worker.ledger.submit(picture(worker.session)), told_to_stop(worker)

    def lose(kind: str, step: int) -> None:
        if step == 2:
            worker.ledger.release("w", "thought dead")
            assert told[-1].wait(300)

    engines.before_step = lose
    worker.run_next(threading.Event())
    assert worker.ledger.job(job).state == "queued"
    assert worker.library(worker.session.output_dir).count() == 0


def test_sigterm_ends_a_worker_at_its_next_step_and_costs_the_job_no_attempt(room: Room, home: Path, outputs: Path) -> None:
    ledger = room[0].ledger
    job = ledger.submit(long_film(room[0].session))
    child = subprocess.Popen(command(home, outputs, "child", 0.05), cwd=ROOT)
    until(lambda: ledger.job(job).progress.phase == "animate")
    child.send_signal(signal.SIGTERM)
    assert child.wait(300) == 0
    assert (ledger.job(job).state, ledger.job(job).failures) == ("queued", 0)
    assert "draw" in "".join(computed(home))


def test_a_supervisor_starts_a_killed_worker_again_and_the_job_is_finished_by_the_next(
    room: Room, home: Path, outputs: Path
) -> None:
    ledger = room[0].ledger
    job = ledger.submit(film(room[0].session))
    (home / "hold-animate").touch()

    def kill_the_first() -> None:
        until(lambda: ledger.job(job).progress.phase == "animate")
        ours = [child for child in psutil.Process().children() if str(home) in child.cmdline()]
        ours[0].kill()
        (home / "hold-animate").unlink()

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    supervise(command(home, outputs, "child", 0.02), ledger, "child", threading.Event(), first_wait_seconds=0.1)
    killer.join()
    told = ledger.job(job)
    assert (told.state, told.attempt, told.failures) == ("done", 2, 1)
    assert any("ended by signal 9" in what for _, what in ledger.events(job))
    assert sum(line.startswith("draw") for line in computed(home)) == 3


def test_a_supervisor_that_is_told_to_stop_stops_its_worker(room: Room, home: Path, outputs: Path) -> None:
    ledger = room[0].ledger
    job = ledger.submit(long_film(room[0].session))
    stop = threading.Event()
    supervisor = threading.Thread(target=supervise, args=(command(home, outputs, "child", 0.05), ledger, "child", stop))
    supervisor.start()
    until(lambda: ledger.job(job).progress.phase == "animate")
    stop.set()
    supervisor.join(300)
    assert not supervisor.is_alive()
    assert (ledger.job(job).state, ledger.job(job).failures) == ("queued", 0)


SUPERVISES = """
import sys, threading
from pathlib import Path
from flux_svd.artifact import Artifact
from flux_svd.ledger import Ledger
from flux_svd.worker import supervise
supervise(sys.argv[2:], Ledger(Path(sys.argv[1])), "child", threading.Event())
"""


def test_a_worker_whose_supervisor_is_gone_stops_and_gives_its_job_back(room: Room, home: Path, outputs: Path) -> None:
    ledger = room[0].ledger
    job = ledger.submit(long_film(room[0].session))
    arguments = [str(home), *command(home, outputs, "child", 0.05)]
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISES, *arguments], cwd=ROOT)
    until(lambda: ledger.job(job).progress.phase == "animate")
    supervisor.kill()
    supervisor.wait()
    until(lambda: ledger.job(job).state == "queued")
    assert ledger.job(job).failures == 0


def test_ctrl_c_in_a_terminal_reaches_the_supervisor_alone(room: Room, tmp_path: Path) -> None:
    tell = f"import os; open({str(tmp_path / 'told')!r}, 'w').write(str(os.getpgrp() == os.getpid()))"
    supervise([sys.executable, "-c", tell], room[0].ledger, "child", threading.Event())
    assert (tmp_path / "told").read_text() == "True"


HANGS = """
import sys, threading
from flux_svd import worker as module
from tests import fake_worker
module.PATIENCE_SECONDS = 0.5
sleep = fake_worker.time.sleep
fake_worker.time.sleep = lambda seconds: threading.Event().wait()
fake_worker.main()
"""


def test_a_worker_whose_step_hangs_after_a_cancel_ends_itself(room: Room, home: Path, outputs: Path) -> None:
    ledger = room[0].ledger
    job = ledger.submit(picture(room[0].session))
    arguments = command(home, outputs, "child", 1)[3:]
    child = subprocess.Popen([sys.executable, "-c", HANGS, *arguments], cwd=ROOT)
    until(lambda: (home / "computed").exists())  # it draws: no cancel is seen before the end of the first step
    ledger.cancel(job)
    assert child.wait(300) == worker_module.STUCK_EXIT
    assert ledger.job(job).state == "cancelled"


def test_the_watchdog_complains_when_a_step_takes_five_times_the_median() -> None:
    now = [0.0]
    watchdog = Watchdog(lambda: now[0])
    for step in range(6):
        now[0] += 4.0
        watchdog.hear(Progress("draw", 1, 3, step, 8))
    now[0] += 19
    assert watchdog.complaint() == ""
    now[0] += 2
    assert watchdog.complaint() == "no step for 21 s; one takes 4 s as a rule"
    watchdog.hear(Progress("decode"))
    now[0] += 500
    assert watchdog.complaint() == ""
    now[0] += 200
    assert watchdog.complaint() == "no sign of progress for 12 minutes"


def test_the_watchdog_does_not_mind_quick_steps_that_pause_for_a_moment() -> None:
    now = [0.0]
    watchdog = Watchdog(lambda: now[0])
    for step in range(6):
        now[0] += 0.1
        watchdog.hear(Progress("draw", 1, 3, step, 8))
    now[0] += 9
    assert watchdog.complaint() == ""
    now[0] += 2
    assert watchdog.complaint()


def test_pictures_of_a_job_are_results_as_soon_as_each_is_done_and_stay_after_a_cancel(room: Room) -> None:
    worker, engines = room
    plan = worker.session.plan(make_request({"kind": "image", "prompt": "a dog", "seed": 7, "count": 3}))
    job, told_of = worker.ledger.submit(plan), told_to_stop(worker)
    seen: list[int] = []

    def look(kind: str, step: int) -> None:
        if step == 1:
            seen.append(len(worker.ledger.job(job).results))
            if len(seen) == 3:
                worker.ledger.cancel(job)
                assert told_of[-1].wait(300)

    engines.before_step = look
    worker.run_next(threading.Event())
    told = worker.ledger.job(job)
    assert seen == [0, 1, 2]
    assert (told.state, len(told.results)) == ("cancelled", 2)
    assert all(Path(path).is_file() for path in told.results)
    worker.ledger.retry(job)
    assert worker.ledger.job(job).results == ()
    engines.before_step = lambda kind, step: None
    worker.run_next(threading.Event())
    assert len(set(worker.ledger.job(job).results)) == 3


def test_a_worker_that_is_silent_after_a_cancel_is_killed_and_the_next_goes_on(
    room: Room, home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(worker_module, "LEASE_SECONDS", 1e6)  # so that nothing but the cancel can be the reason
    ledger = room[0].ledger
    first, second = (ledger.submit(picture(room[0].session, seed)) for seed in (7, 8))
    (home / "hold-draw").touch()
    supervisor = threading.Thread(
        target=supervise, args=(command(home, outputs, "child", 0.05), ledger, "child", threading.Event()),
        kwargs={"first_wait_seconds": 0.1},
    )  # fmt: skip
    supervisor.start()
    until(lambda: ledger.job(first).progress.phase == "draw")
    [child] = [child for child in psutil.Process().children() if str(home) in child.cmdline()]
    child.suspend()  # nothing in it can see the cancel
    (home / "hold-draw").unlink()
    ledger.cancel(first)
    until(lambda: ledger.job(second).state == "done")
    supervisor.join(300)
    assert ledger.job(first).state == "cancelled"
    assert not child.is_running()


def test_out_of_memory_and_bad_pictures_are_counted(room: Room) -> None:
    worker, engines = room
    for error in (OutOfMemory("too large"), BadOutput("not finite"), BadOutput("constant")):

        def fails(kind: str, step: int, error: Exception = error) -> None:
            raise error

        engines.before_step = fails
        worker.ledger.submit(picture(worker.session))
        worker.run_next(threading.Event())
    # once before the rung below, and once there
    assert {"out of memory": 2, "bad output": 2, "ended failed": 3}.items() <= worker.ledger.tallies().items()


def test_a_plan_for_another_device_is_no_lack_of_memory(room: Room) -> None:
    worker, _ = room
    plan = picture(worker.session)
    foreign = tuple(dataclasses.replace(row, device="cuda") for row in plan.placements)
    job = worker.ledger.submit(dataclasses.replace(plan, placements=foreign))
    worker.run_next(threading.Event())
    assert "the plan is for cuda" in worker.ledger.job(job).reason
    assert "out of memory" not in worker.ledger.tallies()


@pytest.mark.parametrize(("times", "state"), [(1, "done"), (9, "failed")])
def test_memory_that_ran_out_is_counted_each_time_also_where_the_job_goes_on(times: int, state: str, room: Room) -> None:
    worker, engines = room
    left = list(range(times))

    def fails(kind: str, step: int) -> None:
        if left:
            left.pop()
            short = OutOfMemory("too large")
            short.phase = "denoise"
            raise short

    engines.before_step = fails
    job = worker.ledger.submit(picture(worker.session))
    worker.run_next(threading.Event())
    told = worker.ledger.tallies()
    met = times - len(left)
    assert worker.ledger.job(job).state == state
    assert (told["out of memory"], told["out of memory, mended"]) == (met, met if state == "done" else met - 1)
    assert met == 1 if state == "done" else met >= 2


# One process for each device.


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An nvidia-smi that tells of two different GPUs."""
    told = tmp_path / "bin" / "nvidia-smi"
    told.parent.mkdir()
    told.write_text(
        '#!/bin/sh\nif [ "$1" = -L ]; then echo "GPU 0: small (UUID: GPU-a)"; echo "GPU 1: large (UUID: GPU-b)"; exit; fi\n'
        'case "$*" in *--id=1*) echo "large, 80000, 79000, 9.0";; *--id=0*) echo "small, 8000, 7000, 7.5";; '
        '*) echo "small, 8000, 7000, 7.5"; echo "large, 80000, 79000, 9.0";; esac\n'
    )
    told.chmod(0o755)
    monkeypatch.setenv("PATH", f"{told.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_worker_process_sees_its_device_alone_before_it_loads_anything(
    two_gpus: None, room: Room, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands_in = tmp_path / "python"
    stands_in.write_text(f'#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER $FLUX_SVD_HOME $*" > {tmp_path}/told\n')
    stands_in.chmod(0o755)
    monkeypatch.setattr(worker_module.sys, "executable", str(stands_in))
    keep_worker(room[0].ledger, threading.Event(), number=1, until_empty=True)
    command = "-m flux_svd worker --alone worker-1 --device 1 --until-empty"
    assert (tmp_path / "told").read_text() == f"1 PCI_BUS_ID {home} {command}\n"
    with pytest.raises(InvalidRequest, match="0 to 1"):
        keep_worker(room[0].ledger, threading.Event(), number=2)


@pytest.mark.parametrize(
    ("visible", "number", "sees", "name"), [(None, 1, "1", "small"), ("1", 0, "1", "large"), ("1,0", 1, "0", "large")]
)
def test_a_device_is_counted_among_those_the_process_was_given(
    two_gpus: None, home: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, number: int, sees: str, name: str
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment_for(number)["CUDA_VISIBLE_DEVICES"] == sees
    assert read_budget(home).device_name == name
    assert count_devices() == (1 if visible == "1" else 2)


def test_a_process_that_was_given_no_gpu_works_without(two_gpus: None, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert (read_budget(home).device, count_devices(), environment_for(0)) == ("cpu", 1, {})


def test_a_patient_supervisor_takes_over_where_another_ends(room: Room, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, stop, began = room[0].ledger, threading.Event(), threading.Event()
    monkeypatch.setattr(worker_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(worker_module, "supervise", lambda *arguments, **options: began.set())
    files.make_folder(home / "locks")
    with FileLock(home / "locks" / "worker-0.lock", thread_local=False):
        with pytest.raises(StorageFailed, match="runs already"):
            keep_worker(ledger, stop)
        waiting = threading.Thread(target=keep_worker, args=(ledger, stop), kwargs={"patient": True})
        waiting.start()
        assert not began.wait(0.2)
    assert began.wait(300)
    waiting.join(300)


@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_a_job_made_is_read_back_from_its_files_as_it_was_made(kind: str, room: Room) -> None:
    worker, _ = room
    wish = {"kind": kind, "prompt": "a dog", "seed": 7, "best_of": 2, **({"count": 2} if kind == "image" else {"keyframes": 2})}
    plan = worker.session.plan(make_request(wish))
    job = worker.ledger.submit(plan)
    made: list[Artifact] = []
    run = worker.session.run
    worker.session.run = lambda *rest: made.extend(run(*rest)) or tuple(made)  # type: ignore[method-assign, assignment]
    worker.run_next(threading.Event())
    read = load_artifacts([Path(path) for path in worker.ledger.job(job).results])
    assert [one.path for one in read] == [one.path for one in made]
    assert [one.candidates for one in read] == [one.candidates for one in made]
    assert all(one.candidates for one in read)
    assert [one.recipe for one in read] == [one.recipe for one in made]
    if kind == "video":
        assert [one.keyframes for one in read] == [one.keyframes for one in made]  # type: ignore[union-attr]
