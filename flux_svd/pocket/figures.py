"""Judged figures: a share or a mean with its n and 95 % interval, as a table and as JSON; knows no model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One judged number. `low` and `high` bound the 95 % interval; `unit` is "share" for shares of n."""

    name: str
    value: float
    n: int
    low: float
    high: float
    unit: str = "share"


def share(name: str, hits: Iterable[bool]) -> Figure:
    """Return the share of hits with its 95 % interval.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", with z = 1.96.
    """
    answers = list(hits)
    n = len(answers)
    if n == 0:
        return Figure(name, math.nan, 0, 0.0, 1.0)
    z2 = 1.96**2
    p = sum(answers) / n
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    reach = 1.96 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Figure(name, p, n, max(0.0, middle - reach), min(1.0, middle + reach))


def mean(name: str, values: Iterable[float], unit: str) -> Figure:
    """Return the mean with its 95 % interval from the standard error (1.96 of them a side)."""
    numbers = [float(value) for value in values if math.isfinite(value)]
    n = len(numbers)
    if n == 0:
        return Figure(name, math.nan, 0, math.nan, math.nan, unit)
    middle = sum(numbers) / n
    spread = math.sqrt(sum((value - middle) ** 2 for value in numbers) / max(1, n - 1))
    reach = 1.96 * spread / math.sqrt(n)
    return Figure(name, middle, n, middle - reach, middle + reach, unit)


def table(title: str, figures: Sequence[Figure]) -> str:
    """Return a table in Markdown, one line a figure."""
    lines = [f"### {title}", "", "| figure | value | n | 95 % interval | unit |", "|---|---|---|---|---|"]
    for one in figures:
        lines.append(f"| {one.name} | {one.value:.3f} | {one.n} | {one.low:.3f} … {one.high:.3f} | {one.unit} |")
    return "\n".join(lines)


def as_json(figures: Sequence[Figure]) -> dict[str, dict[str, Any]]:
    """Return the figures by name, ready for json.dumps; what is not a number becomes null."""
    found = {}
    for one in figures:
        values = {key: value for key, value in asdict(one).items() if key != "name"}
        found[one.name] = {
            key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in values.items()
        }
    return found
