"""The Colab notebook runs whole, on the pocket models, and makes what it promises."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from flux_svd.artifact import load_request
from flux_svd.encode import iterate_film

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "flux_svd_colab.ipynb"


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the notebook after a run with two denoising steps a transition, and the folder it ran in."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    settings = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    settings.source += "\nTRANSITION_STEPS = 2"
    before = dict(os.environ)
    os.environ["FLUX_SVD_HOME"] = str(folder / "home")
    try:
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return notebook, folder


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") for output in outputs)


def test_the_notebook_makes_a_picture_a_film_and_a_score(executed: tuple[Any, Path]) -> None:
    notebook, folder = executed
    pictures = [path for path in folder.glob("outputs/*/*.png") if "keyframe" not in path.name]
    films = list(folder.glob("outputs/*/*.mp4"))
    assert [load_request(path).kind for path in pictures] == ["image"]
    assert len(list(iterate_film(films[0]))) == 45
    assert "'clip_cosine'" in printed(notebook)


def test_the_app_opens_in_the_notebook_without_a_public_link(executed: tuple[Any, Path]) -> None:
    notebook, _ = executed
    shown = str(notebook.cells[-1].outputs)
    assert "127.0.0.1" in shown
    assert "gradio.live" not in shown


def test_the_badge_and_the_install_cell_name_the_same_repository() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert "colab.research.google.com/github/OWNER/flux_svd/blob/main/notebooks/flux_svd_colab.ipynb" in text
    assert "https://github.com/OWNER/flux_svd" in text


def test_no_cell_holds_output_or_a_token() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells)
    assert "hf_" not in NOTEBOOK.read_text("utf-8")
