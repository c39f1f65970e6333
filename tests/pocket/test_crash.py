"""A film by the pocket models, killed at five points through the real command line: the same bytes come out."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILM = ["video", "a yellow circle", "--seed", "7", "--steps", "2", "--transition-steps", "2", "--frames-per-transition", "3"]
STAGES = ["--stage", "a yellow circle on the left", "--stage", "a yellow circle", "--stage", "a yellow circle on the right"]


def flux_svd(folder: Path, *arguments: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FLUX_SVD_HOME": str(folder / "home"), "FLUX_SVD_FAILPOINT": failpoint}
    command = [sys.executable, "-m", "flux_svd", *arguments, "--json"]
    folder.mkdir(exist_ok=True)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)


def results(folder: Path) -> list[str]:
    found = (path for path in (folder / "outputs").rglob("*") if path.suffix in (".png", ".mp4"))
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in found)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_pocket_film_killed_at_five_points_has_the_bytes_of_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = flux_svd(tmp_path / "unbroken", *FILM, *STAGES)
    assert unbroken.returncode == 0, unbroken.stderr
    expected = results(tmp_path / "unbroken")
    assert len(expected) == 4
    for point in (25, 55, 85, 115, 145):
        folder = tmp_path / str(point)
        job = json.loads(flux_svd(folder, *FILM, *STAGES, "--detach").stdout)["job"]
        work = ("worker", "--alone", "worker-0", "--until-empty")
        assert flux_svd(folder, *work, failpoint=f"kill@{point}").returncode == -9
        assert json.loads(flux_svd(folder, "jobs", "show", job).stdout)["jobs"][0]["state"] == "running"
        # As its supervisor does; else the lease would have to run out.
        again = flux_svd(folder, "worker", "--until-empty")
        assert again.returncode == 0, again.stderr
        if json.loads(flux_svd(folder, "jobs", "show", job).stdout)["jobs"][0]["state"] != "done":
            pytest.fail(again.stderr)
        assert results(folder) == expected, f"point {point}"
