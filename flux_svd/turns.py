"""Which waiting job is next: highest priority first, owners take turns, and loaded weights are used before others. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

MAX_SKIPS = 3  # how often in a row a job may be passed over to save a swap of weights


@dataclass(frozen=True)
class Waiting:
    """A job that waits; `number` grows with every submission."""

    number: int
    owner: str
    priority: int
    models: frozenset[str]


def choose(
    jobs: Sequence[Waiting], served: Mapping[str, int], warm: Collection[str] = (), skips: int = 0
) -> tuple[Waiting, bool]:
    """Return the next of `jobs` (at least one), and whether another was passed over for it to save a swap.

    Args:
        served: for each owner the number of the turn he had last; who never had one comes first.
        warm: the models the asking worker has loaded.
        skips: how often in a row it has passed over a job already.
    """
    top = max(job.priority for job in jobs)
    order = sorted((job for job in jobs if job.priority == top), key=lambda job: (served.get(job.owner, 0), job.number))
    first = order[0]
    if not warm or first.models <= set(warm) or skips >= MAX_SKIPS:
        return first, False
    ready = next((job for job in order if job.models <= set(warm)), None)
    return (first, False) if ready is None else (ready, True)
