"""The house's import rule: a room uses only rooms on lower floors or its own; heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "flux_svd"
FLOORS = {
    "motions": 1, "formats": 1, "grammar": 2, "outlines": 2, "timeline": 3, "export": 4, "containers": 4, "report": 8,
    "selection": 3, "keyframes": 4, "passes": 3, "densify": 4,
    "cli_border": 11, "cli_films": 11, "cli_images": 11, "cli_make": 11, "cli_models": 11,
    "presets": 1, "upscale": 6, "methods": 2, "again": 4,
    "storing": 1, "ways": 2, "placing": 2, "fitting": 3, "choosing": 3, "ladder": 3, "versions": 3, "drawing": 3, "measuring": 9,
    "cli_measure": 11,
    "redact": 0, "errors": 0, "progress": 0, "failpoints": 0, "request": 1, "catalog": 1, "files": 1, "pictures": 1, "memory": 2,
    "storyboard": 2, "recipe": 2, "plan": 3, "job": 3, "turns": 3, "schema": 3, "planner": 3, "artifact": 3, "device": 4,
    "store": 4, "lock": 4, "database": 4, "standing": 4, "ledger": 4, "results": 4, "library": 4, "trash": 4, "encode": 4,
    "weights": 4, "engines": 5, "metrics": 6, "training": 7, "pocket": 8, "clock": 8, "judging": 8, "saving": 8,
    "run": 8, "session": 8, "api": 9, "worker": 9, "replay": 9, "web": 11, "cli_jobs": 11, "cli": 12,
}  # fmt: skip
TORCH_ROOMS = {"engines", "metrics", "training", "pocket"}
OWNERS = {
    **dict.fromkeys(["torch", "torchvision", "diffusers", "transformers", "peft", "open_clip"], TORCH_ROOMS),
    "gradio": {"web"},
    "fastapi": {"web"},
    "starlette": {"web"},
    "uvicorn": {"web"},
    "ray": {"batch"},
    "spaces": set(),  # only app.py
}
# Facts of the pocket world (its words, its weights' folder) are light and may be read from everywhere above.
FREE = {"__init__", "__main__"}


def imports_of(source: str) -> Iterator[str]:
    """Yield every module that the source imports, inside functions too, but not under TYPE_CHECKING (no import happens)."""
    tree = ast.parse(source)
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node not in typing_only:
            assert node.level == 0, "imports name the whole path"
            module = node.module or ""
            yield from ([f"{module}.{name.name}" for name in node.names] if module == "flux_svd" else [module])


def breaches(room: str, source: str) -> list[str]:
    """Return what in `source`, a module of `room`, breaks the rule."""
    found = []
    for name in imports_of(source):
        top, _, rest = name.partition(".")
        if top in OWNERS and room not in OWNERS[top]:
            found.append(f"{room} imports {top}")
        if top == "flux_svd" and rest:
            other = rest.split(".")[0]
            if other in FLOORS and other != room and FLOORS[other] > FLOORS[room]:
                found.append(f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})")
    return found


def modules() -> list[tuple[str, Path]]:
    """Return (room, file) of every module of the package."""
    return [(path.relative_to(PACKAGE).with_suffix("").parts[0], path) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda value: str(value))
def test_a_room_uses_only_lower_floors_and_its_own_libraries(room: str, path: Path) -> None:
    if room in FREE:
        return
    assert room in FLOORS, f"{room} has no floor yet: give it one"
    assert breaches(room, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("planner", "import torch"),
        ("planner", "def later():\n    import diffusers"),
        ("request", "from flux_svd.planner import make_plan"),
        ("request", "from flux_svd import planner"),
        ("session", "from flux_svd.web.serve import run_app"),
        ("engines", "import gradio"),
        ("web", "import spaces"),
    ],
)
def test_a_planted_import_is_found(room: str, source: str) -> None:
    assert breaches(room, source)


def test_app_py_alone_knows_spaces() -> None:
    assert "spaces" in set(imports_of((PACKAGE.parent / "app.py").read_text("utf-8")))


@pytest.mark.parametrize(
    "command",
    [
        "import sys; sys.argv = ['flux-svd', '--help']; from flux_svd.cli import main; main()",
        "from flux_svd.cli import main; main(['plan', 'video', 'a dog running', '--json'])",
        "from flux_svd.cli import main; main(['models', '--json'])",
        "import flux_svd.session",
        "import flux_svd.web.serve",
    ],
)
def test_light_commands_import_no_torch(command: str, tmp_path: Path) -> None:
    probe = f"import sys\ntry:\n    exec({command!r})\nexcept SystemExit:\n    pass\nassert 'torch' not in sys.modules, 'torch'"
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "FLUX_SVD_HOME": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
