"""Large models at full size with random weights, on a GPU: what the plans, the fp8 and the compiled blocks are worth.

One command measures row after row, each in a process of its own, the cheap and important ones first, and writes after each part
of a row what it found: a run that is cut keeps what it had, and the same command goes on from there. Random weights take the time
and memory of trained ones; what they draw means nothing. Not yet run on a GPU.

    python -m benchmarks.full_size all --scratch /scratch --out measured --minutes 14
    python -m benchmarks.full_size dev-speed svd-table --scratch /scratch --out measured
    python -m benchmarks.full_size all --scratch /tmp/scratch --out /tmp/measured --tiny      # tries it without a GPU

The weights are written once into --scratch (klein-4B 16 GB, SVD-XT 5 GB, FLUX.1 [dev] 34 GB, klein-9B 35 GB); with --tidy each
model's are removed after its last row. In --out `summary.md` and `summary.json` hold all rows, `svd-table.md` the table.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from flux_svd import files, weights
from flux_svd.catalog import MODELS, ModelSpec


@dataclass(frozen=True)
class Row:
    """What is measured: a plan on a card of a size, the speed of ways to compute, or the table of SVD's working memory.

    Attributes:
        kind: "plan", "speed", "lowered" (a card of this size, exact and with consent) or "table".
        cap: device memory that the whole process is held to; "" is all of it.
    """

    kind: str
    model: str
    cap: str = ""


ROWS = {  # in the order they are measured; the ten of kind "plan" are those whose peaks are held against predictions
    "klein-4b-8gb": Row("plan", "flux2-klein-4b", "8GB"),
    "svd-xt-12gb": Row("plan", "svd-xt", "12GB"),
    "svd-table": Row("table", "svd-xt"),
    "dev-speed": Row("speed", "flux1-dev"),
    "dev-12gb-fp8": Row("lowered", "flux1-dev", "12GB"),
    "dev-12gb": Row("plan", "flux1-dev", "12GB"),
    "klein-4b": Row("plan", "flux2-klein-4b"),
    "klein-4b-12gb": Row("plan", "flux2-klein-4b", "12GB"),
    "dev": Row("plan", "flux1-dev"),
    "dev-24gb": Row("plan", "flux1-dev", "24GB"),
    "dev-8gb": Row("plan", "flux1-dev", "8GB"),
    "klein-9b": Row("plan", "flux2-klein-9b"),
    "klein-9b-12gb": Row("plan", "flux2-klein-9b", "12GB"),
}


def main() -> None:
    arguments = read_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.within:
        measure(arguments.rows[0], arguments)
        return
    wanted = [name for name in ROWS if name in arguments.rows or "all" in arguments.rows]
    deadline = time.monotonic() + arguments.minutes * 60 if arguments.minutes is not None else None
    for at, name in enumerate(wanted):
        begin(name, arguments, deadline)
        write_summary(arguments.out)
        if arguments.tidy and ROWS[name].model not in {ROWS[other].model for other in wanted[at + 1 :]}:
            shutil.rmtree(folder_of(MODELS[ROWS[name].model], arguments), ignore_errors=True)
    print((arguments.out / "summary.md").read_text())


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=[*ROWS, "all"], metavar="row", help=f"all, or some of {', '.join(ROWS)}")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the random weights; kept for the next time")
    parser.add_argument("--out", type=Path, required=True, help="folder for what is measured; whole rows are not repeated")
    parser.add_argument("--minutes", type=float, help="end after so long, in the middle of a row if need be")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of each, after one that is not")
    parser.add_argument("--steps", type=int, default=20, help="of the pictures that are timed against each other")
    parser.add_argument("--tidy", action="store_true", help="remove a model's weights after its last row")
    parser.add_argument("--tiny", action="store_true", help="tiny parts and pictures: tries this on a machine without a GPU")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def begin(name: str, arguments: argparse.Namespace, deadline: float | None) -> None:
    """Measure a row in a process of its own, unless it is whole; what ended it is told in its file."""
    told = files.read_json(arguments.out / f"{name}.json")
    if told.get("whole"):
        return
    left = None if deadline is None else deadline - time.monotonic()
    error = "no time was left"
    if left is None or left > 0:
        command = [sys.executable, "-m", "benchmarks.full_size", name, "--within", "--scratch", str(arguments.scratch)]
        command += ["--out", str(arguments.out), "--runs", str(arguments.runs), "--steps", str(arguments.steps)]
        command += ["--tiny"] if arguments.tiny else []
        try:
            made = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=left)
            error = "" if made.returncode == 0 else made.stderr.strip().rpartition("\n")[2] or f"status {made.returncode}"
        except subprocess.TimeoutExpired:
            error = "time ran out in the middle"
    told = files.read_json(arguments.out / f"{name}.json")
    files.write_json(arguments.out / f"{name}.json", {**told, "whole": not error, "error": error})


def write_summary(out: Path) -> None:
    """Write all rows that are there as one JSON and one table."""
    rows = {name: told for name in ROWS if (told := files.read_json(out / f"{name}.json"))}
    files.write_json(out / "summary.json", rows)
    lines = ["| row | what | measured | wanted | holds |", "|---|---|---|---|---|"]
    for name, told in rows.items():
        for part in told.get("parts", {}).values():
            holds = {None: "", True: "yes", False: "**no**"}[part.get("holds")]
            lines.append(f"| {name} | {part['what']} | {part['measured']} | {part.get('wanted', '')} | {holds} |")
        if told["error"]:
            lines.append(f"| {name} | | not whole: {told['error']} | | |")
    machine = next((told["machine"] for told in rows.values() if "machine" in told), {})
    head = f"{machine.get('device_name', '')}, {machine.get('date', '')}, {machine.get('versions', {})}"
    files.write_atomically(out / "summary.md", (head + "\n\n" + "\n".join(lines) + "\n").encode())


def folder_of(spec: ModelSpec, arguments: argparse.Namespace) -> Path:
    return home_of(arguments) / "models" / spec.name


def home_of(arguments: argparse.Namespace) -> Path:
    return Path(arguments.scratch) / ("tiny" if arguments.tiny else "full")


def write_model(spec: ModelSpec, arguments: argparse.Namespace) -> Path:
    """Write the model with random weights where a session finds it; its tokenizers know bytes alone."""
    from tests import full_size
    from tests.tiny.builders import build_model

    folder = folder_of(spec, arguments)
    if not (folder / "whole").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        build_model(spec.name, folder)  # index, scheduler, tokenizers; the parts are replaced
        for part in () if arguments.tiny else (row.folder for row in spec.components):
            model = full_size.build_random(spec.name, part)
            model.save_pretrained(folder / part, safe_serialization=True)
            del model
            gc.collect()
        (folder / "whole").touch()  # a run that was cut while it wrote begins anew
    weights.accept_licence(spec, home_of(arguments))
    return folder


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Measure one row in this process."""
    from benchmarks import full_size_rows

    row = ROWS[name]
    write_model(MODELS[row.model], arguments)
    full_size_rows.measure(name, row.kind, row.model, row.cap, home_of(arguments), arguments)


if __name__ == "__main__":
    main()
