"""The pictures a tab shows: which there are, which one is large, and their markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flux_svd.artifact import ImageArtifact
from flux_svd.catalog import ModelSpec
from flux_svd.memory import format_gib
from flux_svd.web import parts
from flux_svd.web.parts import esc


@dataclass(frozen=True)
class Shown:
    """One picture on the page: where it is, and the words under it."""

    address: str
    prompt: str
    width: int
    height: int
    seed: int
    model: str
    score: str
    facts: str
    settings: str


@dataclass(frozen=True)
class Results:
    """What a tab shows: the pictures of its last run (`wanted` of them), and which one is large."""

    pictures: tuple[Shown, ...] = ()
    chosen: int = 0
    wanted: int = 1
    seconds: float = 0.0

    @property
    def large(self) -> Shown:
        return self.pictures[self.chosen]


def settings_of(made: ImageArtifact) -> dict[str, Any]:
    """Return the request that makes this one picture again, as JSON values."""
    recipe = made.recipe
    values = made.request.model_dump(mode="json", exclude_none=True)
    return {
        **values,
        "model": recipe.model,
        "seed": recipe.seed,
        "steps": recipe.steps,
        "guidance": recipe.guidance,
        "width": recipe.width,
        "height": recipe.height,
        "count": 1,
    }


def empty(width: int, height: int) -> str:
    return (
        f'<div class="stage" style="--ratio:{width}/{height}"><div class="ghost">Your picture, {width} × {height},<br>'
        "appears here after Generate</div></div>"
    )


def large(shown: Shown) -> str:
    return f'<div class="stage">{parts.picture(shown.address, shown.prompt, shown.width, shown.height)}</div>'


def row(now: Results) -> str:
    """Return the candidates; a single picture needs no row."""
    if now.wanted < 2:
        return ""
    cells = []
    for index in range(now.wanted):
        if index >= len(now.pictures):
            cells.append('<div><div class="ghost"></div><div class="sc"></div></div>')
            continue
        one = now.pictures[index]
        cells.append(
            f'<button type="button" data-do="pick" data-i="{index}" aria-pressed="{str(index == now.chosen).lower()}" '
            f'aria-label="Picture {index + 1} of {now.wanted}, {esc(one.score or "no score")}">'
            f'{parts.picture(one.address, "", one.width, one.height)}<div class="sc">{esc(one.score)}</div></button>'
        )
    first = now.pictures[0]
    return f'<div class="cands" style="--ratio:{first.width}/{first.height}">{"".join(cells)}</div>'


def actions(shown: Shown) -> str:
    return (
        '<button type="button" class="do" data-do="seed">Reuse seed</button>'
        f'<button type="button" class="do" data-copy="{esc(shown.settings)}">'
        'Copy<span class="long">&nbsp;settings</span></button>'
        f'<a class="do" href="{esc(shown.address)}?download" download>Download</a>'
        '<button type="button" class="do" data-do="video"><span class="long">Send to&nbsp;</span>Video</button>'
    )


def done(now: Results) -> str:
    if not now.pictures:
        return parts.status("Done")
    words = parts.done_words(now.seconds) if now.chosen == 0 else f"Picture {now.chosen + 1} of {now.wanted}"
    return parts.status(" · ".join([words, now.large.score] if now.large.score else [words]), now.large.facts)


def others(others: list[tuple[ModelSpec, str]]) -> str:
    rows = "".join(
        f"<li><span>{esc(format_gib(spec.bytes_at('bf16')))}</span><bdi>{esc(spec.title)}</bdi><i>{esc(spec.licence.title)}</i>"
        f"<i>{esc(why)}</i></li>"
        for spec, why in others
    )
    return f'<ul class="facts">{rows}</ul>'
