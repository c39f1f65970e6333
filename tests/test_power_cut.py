"""Whatever the moment the power goes, what was promised is there, nothing half-written is taken for whole, and all goes on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from flux_svd import artifact, files
from flux_svd.artifact import JobTag, RunFacts, encode_image
from flux_svd.errors import InvalidRequest
from flux_svd.ledger import Ledger
from flux_svd.library import Library
from flux_svd.recipe import ImageRecipe
from flux_svd.store import Stage, Store
from tests.power_cut import Op, Recorder, after_power_cut
from tests.test_keeping import png
from tests.test_planner import plan_of

PLAN = plan_of()
STAGES = [letter * 64 for letter in "ab"]


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> list[Op]:
    """Record a life: stages kept, a picture given, two results saved, a job submitted."""
    root = tmp_path_factory.mktemp("recorded") / "root"
    recorder = Recorder(root.parent)
    recipe = PLAN.recipes[0]
    assert isinstance(recipe, ImageRecipe)
    data = encode_image(Image.new("RGB", (8, 8)), PLAN.request, recipe)
    run = RunFacts(1.0, "cpu", 0, {"clip_cosine": 0.5})
    with recorder.recording(pytest.MonkeyPatch()):
        store = Store(root / "home")
        for name in STAGES:
            store.keep_stage(name, "npy", name.encode() * 100)
            recorder.promise("stage", name)
        recorder.promise("picture", store.keep_picture(png()))
        for name, job in (("x", None), ("y", JobTag("j", "2026-11-20"))):
            folder = root / "outputs" / "2026-11-20"
            path = artifact.save(data, ".png", folder, PLAN.request, recipe, run, name=name, placement=[], job=job)
            recorder.promise("result", path.relative_to(root).as_posix())
        recorder.promise("job", Ledger(root / "home").submit(PLAN))
    return recorder.ops


def broken(ops: Sequence[Op], root: Path) -> list[str]:
    """Return which promises are broken after a power cut at the end of `ops`, with and without the unflushed names."""
    found = []
    for names_survive in (False, True):
        shutil.rmtree(root, ignore_errors=True)
        promises = after_power_cut(ops, root, names_survive=names_survive)
        found += _broken(promises, root / "root")
    return found


def _broken(promises: list[Op], root: Path) -> list[str]:
    store = Store(root / "home")
    store.reconcile()
    files.remove_leftovers(root / "outputs")
    found = []
    for _, kind, *what in promises:
        if kind == "stage":
            if store.find_stage(what[0], "npy") != Stage(what[0].encode() * 100):
                found.append(f"stage {what}")
        elif kind == "picture":
            try:
                Image.open(store.picture(what[0])).load()
            except (InvalidRequest, OSError):
                found.append("picture")
        elif kind == "result":
            library = Library(root / "outputs", root / "home")
            library.rebuild()
            try:
                if library.item(root / what[0]).problem:
                    found.append(f"result {what}")
            except InvalidRequest:
                found.append(f"result {what}")
            library.close()
        elif kind == "job":
            ledger = Ledger(root / "home")  # the database is not recorded: the job must come back by its file
            if [job.id for job in ledger.jobs()] != what:
                found.append("job")
            ledger.close()
    if list(root.rglob(files.TEMPORARY + "*")):
        found.append("a temporary file")
    return found


def test_after_a_power_cut_at_any_moment_every_promise_is_kept(ops: list[Op], tmp_path: Path) -> None:
    assert len(ops) > 80
    for end in range(len(ops) + 1):
        assert broken(ops[:end], tmp_path / "disk") == [], f"after {ops[:end][-3:]}"


def test_without_any_one_flush_a_promise_is_broken(ops: list[Op], tmp_path: Path) -> None:
    """A flush of a folder that the same folder's next one repeats before anything is promised is left out: it repeats it."""
    tried = 0
    for index, op in enumerate(ops):
        if op[0] not in ("sync", "sync folder"):
            continue
        promised = next((n for n in range(index, len(ops)) if ops[n][0] == "promise"), len(ops))
        if op in ops[index + 1 : promised] or promised == len(ops):
            continue
        without = [*ops[:index], *ops[index + 1 : promised + 1]]
        assert broken(without, tmp_path / "disk") != [], f"flush {index}, {op}, is of no use"
        tried += 1
    assert tried >= 20
