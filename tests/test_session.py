"""Runs: every stage made once, stopped within a step, kept, found again; results named, verified and complete."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flux_svd import device, job
from flux_svd import session as session_module
from flux_svd.artifact import ImageArtifact, VideoArtifact, load_request
from flux_svd.errors import Cancelled, DoesNotFit, InvalidRequest, OutOfMemory, StorageFailed
from flux_svd.library import Library
from flux_svd.plan import Plan, keyframes_only
from flux_svd.progress import Progress
from flux_svd.recipe import ImageRecipe, fingerprint
from flux_svd.request import make_request
from flux_svd.session import Session
from flux_svd.store import Store
from tests.fakes import FakeEngines, fake_session
from tests.waiting import until

Faked = tuple[Session, FakeEngines]


@pytest.fixture
def faked(home: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch) -> Faked:
    return fake_session(home, outputs, monkeypatch)


def plan(session: Session, **fields: Any) -> Plan:
    return session.plan(make_request({"kind": "image", "prompt": "a red circle", "seed": 7, **fields}))


def film(session: Session, *stages: str, **fields: Any) -> Plan:
    return plan(session, kind="video", stages=[{"prompt": text} for text in stages], **fields)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(".writing-")]


def test_every_picture_of_a_plan_is_saved_with_its_request_and_scores(faked: Faked) -> None:
    session, _ = faked
    made = session.run(plan(session, count=3))
    assert len({artifact.path for artifact in made}) == 3
    for artifact in made:
        assert isinstance(artifact, ImageArtifact)
        assert load_request(artifact.path) == artifact.request
        assert artifact.run.scores == {"scorer": "pocket-clip", "clip_cosine": 0.25}


def test_what_is_finished_keeps_its_recipe_when_later_pictures_are_lowered(faked: Faked) -> None:
    session, engines = faked
    wished = plan(session, count=3, consent=True)
    first, finished, last = wished.recipes
    session.run(dataclasses.replace(wished, recipes=(finished,)))
    small = dataclasses.replace(wished.placements[0], stored="fp8")
    left = [1]

    def run_out(kind: str, step: int) -> None:
        if left:
            left.pop()
            short = OutOfMemory("too large")
            short.phase = "denoise"
            raise short

    engines.before_step = run_out
    made = session.run(dataclasses.replace(wished, fallbacks=(small,)))
    lowered = [dataclasses.replace(one, precision="fp8") for one in (first, last) if isinstance(one, ImageRecipe)]
    assert [one.recipe for one in made] == [lowered[0], finished, lowered[1]]
    assert [one.run.reused for one in made] == [0, 1, 0]


def test_a_locked_keyframe_that_was_lowered_stays_what_it_is(faked: Faked) -> None:
    session, engines = faked
    [key] = plan(session).recipes
    assert isinstance(key, ImageRecipe)
    kept = dataclasses.replace(key, precision="fp8", width=160, height=96)
    session.run(dataclasses.replace(plan(session), recipes=(kept,)))
    engines.calls.clear()
    stages = [{"prompt": "a", "lock": fingerprint(kept)}, {"prompt": "b"}]
    [made] = session.run(plan(session, kind="video", stages=stages))
    assert isinstance(made, VideoArtifact)
    assert made.recipe.keyframes[0] == kept
    assert "draw a" not in engines.calls


def test_a_film_draws_all_keyframes_then_fills_the_ways_then_decodes_once(faked: Faked) -> None:
    session, engines = faked
    made = session.run(film(session, "a", "b", "c"))[0]
    assert engines.calls == ["draw a", "draw b", "draw c", "sample", "sample", "decode"]
    assert isinstance(made, VideoArtifact)
    assert made.recipe.frames == 45
    assert [path.exists() for path in made.keyframes] == [True] * 3
    assert made.run.scores["keyframes"] == [0.25] * 3


def test_a_load_between_keyframes_and_ways_counts_ways_and_frames_are_timed(faked: Faked) -> None:
    session, _ = faked
    told: list[Progress] = []
    session.run(film(session, "a", "b", "c"), told.append)
    loads = [(one.of, one.item, one.items) for one in told if one.phase == "load" and one.of]
    assert loads == [("transition", 1, 2), ("transition", 2, 2)]
    assert any(key.endswith("/frame") for key in json.loads((session.store.home / "times.json").read_text()))


def test_changing_one_stage_of_five_makes_one_keyframe_and_two_ways_again(faked: Faked) -> None:
    session, engines = faked
    session.run(film(session, "a", "b", "c", "d", "e"))
    engines.calls.clear()
    made = session.run(film(session, "a", "other", "c", "d", "e"))[0]
    assert engines.calls == ["draw other", "sample", "sample", "decode"]
    assert made.run.reused == 4 + 2


def test_smoothed_joins_make_all_ways_in_one_which_is_found_again(faked: Faked) -> None:
    session, engines = faked
    whole = film(session, "a", "b", "c", smooth_joins=True)
    steps: list[int] = []
    session.run(whole, lambda progress: steps.append(progress.steps) if progress.phase == "animate" else None)
    assert engines.calls == ["draw a", "draw b", "draw c", "sample together", "decode"]
    assert set(steps) == {whole.recipes[0].unet_calls}
    engines.calls.clear()
    for kept in session.store.stages.glob("??/*.mp4*"):
        kept.unlink()
    assert session.run(whole)[0].run.reused == 4
    assert engines.calls == ["decode"]


def test_keyframes_drawn_alone_are_found_by_the_film(faked: Faked) -> None:
    session, engines = faked
    whole = film(session, "a", "b")
    drawn = session.run(keyframes_only(whole))
    assert [type(artifact) for artifact in drawn] == [ImageArtifact, ImageArtifact]
    engines.calls.clear()
    session.run(whole)
    assert engines.calls == ["sample", "decode"]


def test_equal_jobs_give_equal_bytes_under_names_of_their_own(faked: Faked) -> None:
    session, _ = faked
    first, second = (session.run(film(session, "a", "b"))[0].path for _ in range(2))
    assert first != second
    assert first.read_bytes() == second.read_bytes()


def test_a_stop_takes_effect_at_the_next_step_and_keeps_what_is_finished(faked: Faked, outputs: Path) -> None:
    session, engines = faked
    stop = threading.Event()
    engines.before_step = lambda kind, step: stop.set() if (kind, step) == ("animate", 3) else None
    seen: list[Progress] = []
    with pytest.raises(Cancelled):
        session.run(film(session, "a", "b", "c"), seen.append, stop)
    assert max(progress.step for progress in seen if progress.phase == "animate") == 2
    assert not list(outputs.rglob("*.mp4"))
    engines.calls.clear()
    engines.before_step = lambda kind, step: None
    session.run(film(session, "a", "b", "c"))
    assert engines.calls == ["sample", "sample", "decode"]


def test_an_error_in_a_step_leaves_the_session_usable_and_no_partial_file(faked: Faked, outputs: Path, home: Path) -> None:
    session, engines = faked

    def fail(kind: str, step: int) -> None:
        raise RuntimeError("a bug")

    engines.before_step = fail
    with pytest.raises(RuntimeError, match="a bug"):
        session.run(plan(session))
    assert not list(outputs.rglob("*.png"))
    engines.before_step = lambda kind, step: None
    assert session.run(plan(session))
    assert leftovers(outputs) == leftovers(home) == []


def test_a_stream_gives_life_signs_while_an_engine_is_silent(faked: Faked) -> None:
    session, engines = faked
    silent, go_on, signs = threading.Event(), threading.Event(), list[Any]()

    def be_silent(kind: str, step: int) -> None:
        if step == 1:
            silent.set()
            assert go_on.wait(300)  # no step before the third sign of life

    def count(event: Any) -> Any:
        signs.extend([event] if silent.is_set() else [])
        if len(signs) == 3:
            go_on.set()
        return event

    engines.before_step = be_silent
    *_, made = (count(event) for event in session.stream(plan(session)))
    assert isinstance(made, ImageArtifact)


def test_closing_a_stream_stops_its_run_and_frees_the_device(faked: Faked) -> None:
    session, engines = faked
    steps: list[int] = []
    stop = threading.Event()

    def slowly(kind: str, step: int) -> None:
        steps.append(step)
        if step == 3:
            assert stop.wait(300)  # the stream is closed while this step goes on

    engines.before_step = slowly
    stream = session.stream(plan(session, steps=100), stop)
    for event in stream:
        if isinstance(event, Progress) and event.phase == "draw" and event.step == 2:
            break
    stream.close()  # type: ignore[attr-defined]
    assert steps[-1] == 3
    assert session._turns._waiting == collections.deque()
    engines.before_step = lambda kind, step: None
    assert session.run(plan(session, seed=8))


def test_runs_take_turns_in_the_order_they_came(faked: Faked) -> None:
    session, engines = faked
    working, ahead = threading.Semaphore(0), []
    engines.before_step = lambda kind, step: working.acquire(timeout=300) and None
    finished: list[int] = []

    def job(number: int) -> None:
        def hear(progress: Progress) -> None:
            if progress.phase == "wait":
                ahead.append((number, progress.item))

        session.run(plan(session, seed=number, steps=1), hear)
        finished.append(number)

    threads = [threading.Thread(target=job, args=(number,)) for number in range(3)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: len(session._turns._waiting) > number)  # type: ignore[misc]
    for _ in threads:
        working.release()
    for thread in threads:
        thread.join(300)
    assert finished == [0, 1, 2]
    assert (1, 1) in ahead
    assert (2, 2) in ahead


def test_waiting_can_be_stopped(faked: Faked) -> None:
    session, engines = faked
    free, stop = threading.Event(), threading.Event()
    engines.before_step = lambda kind, step: free.wait(300) and None
    first = threading.Thread(target=lambda: session.run(plan(session, steps=1)))
    first.start()
    until(lambda: bool(engines.calls))
    with pytest.raises(Cancelled, match="waiting"):
        session.run(plan(session, seed=8), lambda progress: stop.set() if progress.phase == "wait" else None, stop)
    free.set()
    first.join(300)
    assert not first.is_alive()


def test_steps_taken_here_predict_the_next_plan(faked: Faked) -> None:
    session, engines = faked
    assert plan(session).seconds is None
    engines.before_step = lambda kind, step: time.sleep(0.02)
    session.run(plan(session))
    predicted = plan(session, seed=8).seconds
    assert predicted is not None
    assert predicted > 0.1  # 8 steps of at least 0.02 s


def test_a_plan_for_another_device_is_refused(faked: Faked) -> None:
    session, _ = faked
    planned = plan(session)
    elsewhere = dataclasses.replace(
        planned, placements=tuple(dataclasses.replace(placement, device="mps") for placement in planned.placements)
    )
    with pytest.raises(DoesNotFit, match="plan is for mps"):
        session.run(elsewhere)


def test_an_unknown_reference_is_refused_before_anything_runs(faked: Faked) -> None:
    session, engines = faked
    with pytest.raises(InvalidRequest, match="references"):
        plan(session, references=["0" * 64])
    assert engines.calls == []


def test_unload_releases_the_engines(faked: Faked) -> None:
    session, engines = faked
    session.unload()
    assert engines.calls == ["release"]


def test_what_of_a_prompt_has_no_effect_is_noted_also_when_the_picture_is_found_again(faked: Faked) -> None:
    session, _ = faked
    wish = plan(session, prompt="a red circle beside a zeppelin, " + "very " * 30 + "big")
    for made in (session.run(wish)[0], session.run(wish)[0]):
        unread, unknown = made.run.notes
        assert "pocket-flux reads 32 tokens of a prompt; not read: " in unread
        assert "big" in unread
        assert "ignored: beside, zeppelin, very" in unknown
    assert session.run(plan(session))[0].run.notes == ()


def test_the_predicted_time_leaves_out_what_is_finished(faked: Faked) -> None:
    session, engines = faked
    engines.before_step = lambda kind, step: time.sleep(0.02)  # far longer than decoding, which is done again
    session.run(film(session, "a", "b", "c"))
    assert film(session, "a", "b", "c").seconds == 0
    changed, new = film(session, "a", "b", "other").seconds, film(session, "x", "y", "z").seconds
    assert changed is not None
    assert new is not None
    assert 0 < changed < 0.7 * new  # one keyframe of three and one transition of two


def test_each_finished_transition_is_shown_before_the_next_begins(faked: Faked) -> None:
    session, _ = faked
    wish, heard = film(session, "a", "b", "c"), list[Progress]()
    for _ in ("made", "found again after the film is gone"):
        heard.clear()
        session.run(wish, heard.append)
        shown = [(number, progress) for number, progress in enumerate(heard) if progress.strip is not None]
        assert [progress.item for _, progress in shown] == [1, 2]
        assert shown[0][1].strip == b"strip of (23, 3, 12, 20)"
        assert all(progress.item == 2 for progress in heard[shown[0][0] + 1 :] if progress.phase == "animate")
        session.store.stage_file(fingerprint(wish.recipes[0]), "mp4").unlink()
    assert "strip" not in job.progress_json(shown[0][1]) or json.loads(job.progress_json(shown[0][1]))["strip"] is None


@pytest.mark.parametrize("failing", ["record_levers", "evict"])
def test_what_fails_after_the_results_are_there_is_told_and_costs_no_run(
    failing: str, faked: Faked, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*arguments: object) -> None:
        raise StorageFailed("the ledger was busy")

    session, _ = faked
    monkeypatch.setattr(device if failing == "record_levers" else session.store, failing, fails)
    [made] = session.run(plan(session))
    assert made.path.is_file()
    assert "the ledger was busy" in caplog.text


def test_a_starred_result_of_another_version_fails_no_later_run(faked: Faked, home: Path, outputs: Path) -> None:
    session, _ = faked
    session.store = Store(home, stages_bytes=1)
    [made] = session.run(plan(session))
    library = Library(outputs, home)
    library.star(made.path)
    told = made.path.stat()
    made.path.write_bytes(made.path.read_bytes().replace(b"flux_svd", b"flux_sXX"))
    os.utime(made.path, ns=(told.st_atime_ns, told.st_mtime_ns))
    library.add(made.path)
    [again] = session.run(plan(session, seed=8))
    assert again.path.is_file()
    assert not [path for path in session.store.stages.rglob("*") if path.is_file()]  # it was evicted all the same


@pytest.mark.parametrize("which", ["outputs", "home"])
def test_a_run_into_a_folder_that_cannot_be_used_says_which(which: str, faked: Faked, home: Path, outputs: Path) -> None:
    session, _ = faked
    planned = plan(session)
    folder = outputs if which == "outputs" else home / "locks"
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file")
    with pytest.raises(StorageFailed, match=f"{folder} cannot be used"):
        session.run(planned)


def test_a_long_film_is_thinned_while_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
    most = 0

    def decoded(path: Path) -> Iterator[NDArray[np.uint8]]:
        nonlocal most
        for number in range(1000):
            frame = np.full((8, 8, 3), number % 256, np.uint8)
            alive[number] = frame
            most = max(most, len(alive))
            yield frame

    monkeypatch.setattr(session_module, "iterate_film", decoded)
    film_file = tmp_path / "x.mp4"
    film_file.write_bytes(b"\0\0\0\x08ftypisom")
    shown = session_module._pictures_in(film_file)
    assert [np.asarray(one)[0, 0, 0] for one in shown] == [number % 256 for number in range(0, 1000, 15)]
    assert most < 80


def test_what_is_offered_counts_of_the_gpu_what_the_session_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("flux_svd.device.read_budget", lambda home, vram_bytes=None: asked.append(vram_bytes))
    Session(home=tmp_path, vram_bytes=4 * 2**30).budget()
    assert asked == [4 * 2**30]
