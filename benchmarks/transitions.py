"""Which way to fill a transition is best? All of them between the same held-out keyframes of the pocket world.

    python benchmarks/transitions.py [--pairs 40] [--unpinned 10] [--films 20] [--ways WAY ...] [--json FILE] [--table FILE]

Pairs are two keyframes (ends, landing, path, cross-fade); films have three on one straight, even way (joins). Every row is kept
in the JSON file at once, and found again by the next run as long as weights and recipe are the same: a run can be stopped and
continued, and new weights are measured anew. One thread; seconds are of sampling alone, on a machine that may have other
work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from flux_svd import files
from flux_svd.device import cpu_name
from flux_svd.planner import installed_versions
from flux_svd.pocket import judge_transitions as judge
from flux_svd.pocket.figures import Figure, as_json
from flux_svd.pocket.judge_transitions import CROSS_FADE, SMOOTHED, TRUTH, WISHES
from flux_svd.pocket.train import WEIGHTS
from flux_svd.recipe import VideoRecipe, fingerprint

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks"
PAIR_COLUMNS = {
    "calls": "UNet calls",
    "last end, dB over the round trip": "last end over the round trip",
    "the same unpinned": "unpinned last end over the round trip",
    "last step / median": "last step over the median step",
    "lands (≤ 2)": "lands without a jump",
    "distance to the path": "distance to the even straight path",
    "one object": "one object in the middle five frames",
    "colour and shape": "frames with the object's colour and shape",
    "cross-fade": "cross-fade",
    "seconds": "seconds",
}
JOIN_COLUMNS = {
    "calls": "UNet calls of the film",
    "join_ratio": "join_ratio",
    "< 2.5": "join_ratio below 2.5",
    "hold": "hold",
    "0.3 to 3": "hold in 0.3 to 3",
    "both": "both",
    "seconds": "seconds of the film",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of keyframes")
    parser.add_argument("--unpinned", type=int, default=10, help="of these, also without pinned ends")
    parser.add_argument("--films", type=int, default=20, help="films of three keyframes")
    parser.add_argument("--ways", nargs="+", choices=[wish.name for wish in (*WISHES, *SMOOTHED)], help="default: all of them")
    parser.add_argument("--steps", type=int, help="denoising steps (default: what the planner plans)")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=WEIGHTS / "pocket-svd", help="weights to judge")
    parser.add_argument("--json", type=Path, default=DOCS / "transitions.json")
    parser.add_argument("--table", type=Path, default=DOCS / "transitions.md")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(asked.folder, asked.seed, asked.steps, asked.json, asked.table, asked.ways)
    pairs, films = judge.pair_cases(asked.pairs, asked.seed), judge.join_cases(asked.films, asked.seed)
    for number, case in enumerate(pairs):
        bench.judge_pair(number, case, unpinned=number < asked.unpinned)
        print(f"pair {number + 1} of {asked.pairs}: {time.strftime('%H:%M:%S')}", flush=True)
    for number, case in enumerate(films):
        bench.judge_film(number, case)
        print(f"film {number + 1} of {asked.films}: {time.strftime('%H:%M:%S')}", flush=True)
    bench.save()  # with the last rows also where all were found
    print(asked.table.read_text())


class Bench:
    """Rows measured so far, and where they are kept."""

    def __init__(
        self, folder: Path, seed: int, steps: int | None, kept: Path, table: Path, ways: Sequence[str] | None = None
    ) -> None:
        self._ways = ways
        self._seed, self._steps, self._kept, self._table = seed, steps, kept, table
        self._engine = judge.load_engine(folder)
        self._weights = _digest(folder)
        rows = files.read_json(kept).get("rows", [])
        self._shown: set[str] = set()  # what this run asked for
        self._rows = {row["id"]: row for row in rows if row["weights"] == self._weights and row["seed"] == seed}

    def judge_pair(self, number: int, case: judge.FilmCase, *, unpinned: bool) -> None:
        ends = (0, len(case.frames) - 1)
        self._once("pair", TRUTH, number, "", lambda: judge.judge_way(case, judge.true_frames(case)))
        self._once("pair", CROSS_FADE, number, "", lambda: judge.judge_way(case, judge.cross_fade(case, ends)))
        for wish in self._asked(WISHES):
            film = judge.planned_film(wish, 2, judge.seed_of(self._seed, number), self._steps)
            for pinned in (True, False) if unpinned else (True,):
                name = f"{_named(film)}/{'pinned' if pinned else 'free'}"
                measure = _bound(judge.measure_pair, self._engine, case, film, pin_ends=pinned)
                self._once("pair", wish.name, number, name, measure, pinned=pinned)

    def judge_film(self, number: int, case: judge.FilmCase) -> None:
        middle = (len(case.frames) - 1) // 2
        positions = (0, middle, 2 * middle)
        self._once("film", TRUTH, number, "", lambda: judge.judge_joins(judge.true_frames(case), positions))
        self._once("film", CROSS_FADE, number, "", lambda: judge.judge_joins(judge.cross_fade(case, positions), positions))
        for wish in self._asked((*WISHES, *SMOOTHED)):
            film = judge.planned_film(wish, 3, judge.seed_of(self._seed, number), self._steps)
            self._once("film", wish.name, number, _named(film), _bound(judge.measure_film, self._engine, case, film))

    def _asked(self, wishes: Sequence[judge.Wish]) -> list[judge.Wish]:
        return [wish for wish in wishes if self._ways is None or wish.name in self._ways]

    def save(self) -> None:
        """Write rows, figures and the table of this run."""
        figures = {
            kind: {way: make([row for row in self._of(kind) if row["way"] == way]) for way in _ways(self._of(kind))}
            for kind, make in (("pair", judge.pair_figures), ("film", judge.join_figures))
        }
        facts = {
            "date": time.strftime("%Y-%m-%d"),
            "device": cpu_name(),
            "platform": platform.platform(),
            "versions": dict(installed_versions("torch", "diffusers", "transformers")),
            "command": shlex.join(["python", *sys.argv]),
            "kept": self._kept.name,
            "weights": self._weights,
            "seed": self._seed,
        }
        told = {kind: {way: as_json(found) for way, found in ways.items()} for kind, ways in figures.items()}
        lines = ",\n".join(json.dumps(row, sort_keys=True) for row in self._rows.values())
        head = json.dumps({**facts, "figures": told}, indent=1)[:-2]
        files.write_atomically(self._kept, f'{head},\n "rows": [\n{lines}\n]}}\n'.encode())
        files.write_atomically(self._table, _page(figures, facts).encode())

    def _once(self, kind: str, way: str, number: int, recipe: str, measure: Callable[[], judge.Row], **told: Any) -> None:
        name = "/".join((kind, way, str(number), recipe))
        self._shown.add(name)
        if name not in self._rows:
            own = {"id": name, "kind": kind, "way": way, "case": number, "weights": self._weights, "seed": self._seed}
            self._rows[name] = {**own, **told, **measure()}
            self.save()

    def _of(self, kind: str) -> list[judge.Row]:
        """Return the rows of one kind that this run asked for; others stay in the file for a longer run."""
        return [row for name, row in self._rows.items() if row["kind"] == kind and name in self._shown]


def _page(figures: dict[str, dict[str, list[Figure]]], facts: dict[str, Any]) -> str:
    lines = [
        "# Ways to fill a transition",
        "",
        f"`{facts['command']}` wrote this page and {facts['kept']} beside it (intervals, every row) on",
        f"{facts['date']}: {facts['device']}, no GPU, one thread; pocket-svd weights {facts['weights']}, seed {facts['seed']}.",
        "All ways have the same keyframes, held out from training, and begin at the same noise. Means; shares with their n.",
        "",
        "## Two keyframes",
        "",
        *_table(figures["pair"], PAIR_COLUMNS),
        "",
        "Before anything is faded in, the keyframes as the autoencoder gives them back. Ends are in dB over that; 0 is the best.",
        "The path is straight and even; its distance is over the picture's size. A cross-fade of 1 only mixes its ends.",
        "",
        "## Three keyframes on one straight, even way",
        "",
        *_table(figures["film"], JOIN_COLUMNS),
        "",
        "Films as they are encoded. A join_ratio of 1 is a join that bends as little as the rest; a hold of 1 is a step as long",
        "as the others.",
    ]
    return "\n".join(lines) + "\n"


def _table(ways: dict[str, list[Figure]], columns: dict[str, str]) -> list[str]:
    lines = ["| way | n | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for way, found in ways.items():
        by_name = {one.name: one for one in found}
        n = max(one.n for one in found)
        lines.append(f"| {way} | {n} | " + " | ".join(_cell(by_name[name], n) for name in columns.values()) + " |")
    return lines


def _cell(figure: Figure, n: int) -> str:
    """Return the figure, with its own number of cases where that is not the line's."""
    if figure.n == 0:
        return ""
    if figure.unit == "share":
        return f"{figure.value:.2f} of {figure.n}"
    places = {"calls": 0, "of the size": 3}.get(figure.unit, 2)
    return f"{figure.value:.{places}f}" + ("" if figure.n == n else f" (n = {figure.n})")


def _ways(rows: Sequence[judge.Row]) -> list[str]:
    return list(dict.fromkeys(row["way"] for row in rows))


def _named(film: VideoRecipe) -> str:
    """Return the name of how a film is sampled, whatever library versions and end pictures are called."""
    parts = tuple(replace(part, start="", end="", versions=()) for part in film.transitions)
    return fingerprint(replace(film, transitions=parts, keyframes=(), versions=()))[:16]


def _bound(measure: Callable[..., judge.Row], *given: Any, **named: Any) -> Callable[[], judge.Row]:
    return lambda: measure(*given, **named)


def _digest(folder: Path) -> str:
    """Return 12 digits that tell these weights from others."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


if __name__ == "__main__":
    main()
