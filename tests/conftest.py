"""Shared by all tests: a data folder and an output folder of their own, no network, one thread."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

# What takes longest begins first, so that no process of a parallel run is left alone with it at the end.
LONGEST_FILES = (
    "tests/e2e/test_create.py", "tests/e2e/test_video.py", "tests/e2e/test_queue.py", "tests/e2e/test_shell.py",
    "tests/e2e/test_layout.py", "tests/tiny/test_out_of_memory.py", "tests/pocket/test_judged_films.py",
    "tests/pocket/test_whole.py", "tests/test_export.py", "tests/pocket/test_resume.py", "tests/test_web.py",
    "tests/pocket/test_warm.py", "tests/tiny/test_levers.py", "tests/pocket/test_long_films.py", "tests/test_sweep.py",
    "tests/tiny/test_flux.py", "tests/test_placing.py", "tests/tiny/test_inbetween.py", "tests/tiny/test_single_file.py",
    "tests/test_routes.py", "tests/pocket/test_training.py", "tests/test_notebook.py", "tests/test_worker.py",
    "tests/test_many_workers.py", "tests/test_serving.py", "tests/test_cli.py", "tests/test_cli_jobs.py",
)  # fmt: skip
assert all((Path(__file__).parents[1] / name).is_file() for name in LONGEST_FILES)
PATIENCE_SECONDS = 300.0  # httpx gives up after 5 s, which a loaded machine may need for a page

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
for what in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, what, PATIENCE_SECONDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONGEST_FILES)}
    for item in items:
        if item.nodeid.startswith("tests/e2e/"):  # a browser on a crowded machine: once more, and the closing line counts it
            item.add_marker(pytest.mark.flaky(reruns=1))
    items.sort(key=lambda item: ranks.get(item.nodeid.partition("::")[0], len(ranks)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "home"


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    return tmp_path / "outputs"
