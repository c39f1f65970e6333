"""Which waiting job is next: highest priority first, owners take turns, and loaded weights are used before others. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MAX_SKIPS = 3  # how often in a row a job may be passed over to save a swap of weights


@dataclass(frozen=True)
class Waiting:
    """A job that waits; `number` grows with every submission, and a higher `rank` goes before its owner's other jobs."""

    number: int
    owner: str
    priority: int
    models: frozenset[str]
    rank: int = 0


def line_up(jobs: Sequence[Waiting], served: Mapping[str, int]) -> list[Waiting]:
    """Return the jobs in the order of their turns: by priority, and within one priority each owner's next job in turn."""
    line: list[Waiting] = []
    for priority in sorted({job.priority for job in jobs}, reverse=True):
        own: dict[str, list[Waiting]] = {}
        for job in sorted((job for job in jobs if job.priority == priority), key=lambda job: job.number):
            own.setdefault(job.owner, []).append(job)
        owners = sorted(own, key=lambda owner: (served.get(owner, 0), own[owner][0].number))
        for mine in own.values():
            mine.sort(key=lambda job: -job.rank)  # a stable sort: those of one rank stay in the order they came
        rounds = itertools.zip_longest(*(own[owner] for owner in owners))
        line += [job for one in rounds for job in one if job is not None]
        last = max(served.values(), default=0)
        served = {**served, **{job.owner: last + n for n, job in enumerate(line, 1)}}
    return line


def choose(
    jobs: Sequence[Waiting], served: Mapping[str, int], warm: Collection[str] = (), skips: int = 0
) -> tuple[Waiting, bool]:
    """Return the next of `jobs` (at least one), and whether another was passed over for it to save a swap.

    Args:
        served: for each owner the number of the turn he had last; who never had one comes first.
        warm: the models the asking worker has loaded.
        skips: how often in a row it has passed over a job already.
    """
    line = line_up(jobs, served)
    first = line[0]
    if not warm or first.models <= set(warm) or skips >= MAX_SKIPS:
        return first, False
    ready = next((job for job in line if job.priority == first.priority and job.models <= set(warm)), None)
    return (first, False) if ready is None else (ready, True)
