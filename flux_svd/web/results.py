"""The pictures a tab shows: which there are, which one is large, what can be done with it, and their markup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flux_svd import again
from flux_svd.artifact import ImageArtifact
from flux_svd.catalog import Control
from flux_svd.upscale import MAX_PIXELS, SCALES
from flux_svd.web import parts
from flux_svd.web.parts import esc

KEPT = 11  # earlier pictures of the session that can be compared with: two rows of the page with the one they go beside

# One area, three kinds of buttons: what is done at once, what starts work, and what makes a larger copy.
ACT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const kind = { vary: 'submit', enlarge: 'expand' }[button.dataset.do] || 'click';
  trigger(kind, { do: button.dataset.do, i: +(button.dataset.i || 0) });
});
"""


@dataclass(frozen=True)
class Shown:
    """One picture on the page: where it is, the words under it, and what it came from.

    Attributes:
        varies: there can be pictures near it.
        references: ids of the stored pictures it was drawn after.
        original: of an enlarged copy.
    """

    address: str
    prompt: str
    width: int
    height: int
    seed: int
    model: str
    score: str
    facts: str
    settings: str
    varies: bool = False
    references: tuple[str, ...] = ()
    original: Shown | None = None


@dataclass(frozen=True)
class Partner:
    """What the large picture can be compared with: a picture of the session, or one it was drawn after."""

    address: str
    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Results:
    """What a tab shows: the pictures of its last run (`wanted` of them), and which one is large.

    Attributes:
        earlier: pictures of the session that were shown before, the newest first.
        partners: what the large picture is compared with while it is; `beside` says which of them is on the left.
    """

    pictures: tuple[Shown, ...] = ()
    chosen: int = 0
    wanted: int = 1
    seconds: float = 0.0
    earlier: tuple[Shown, ...] = ()
    partners: tuple[Partner, ...] = ()
    beside: int = 0

    @property
    def large(self) -> Shown:
        return self.pictures[self.chosen]

    def after(self, before: Results) -> Results:
        """Return these pictures with those that `before` showed among the earlier ones."""
        mine = {one.address for one in self.pictures}
        seen = {one.address: one for one in (*before.pictures, *before.earlier) if one.address not in mine}
        return replace(self, earlier=tuple(seen.values())[:KEPT])

    def with_copy(self, copy: Shown) -> Results:
        """Return these pictures and an enlarged copy, which is the large one then."""
        pictures = (*self.pictures, copy)
        return replace(self, pictures=pictures, wanted=len(pictures), chosen=len(pictures) - 1)


def settings_of(made: ImageArtifact) -> dict[str, Any]:
    """Return the request that makes this one picture again, as JSON values."""
    recipe = made.recipe
    values = again.made_again(made.request, recipe).model_dump(mode="json", exclude_none=True)
    return {**values, "steps": recipe.steps, "guidance": recipe.guidance, "width": recipe.width, "height": recipe.height}


def shown(made: ImageArtifact, address: str) -> Shown:
    """Return a finished picture as the page shows it."""
    recipe = made.recipe
    facts = [f"{recipe.width} × {recipe.height}", f"seed {recipe.seed}"]
    if parts.is_pocket(recipe.model):
        facts.append("made by a pocket model")
    return Shown(
        address=address,
        prompt=recipe.prompt,
        width=recipe.width,
        height=recipe.height,
        seed=recipe.seed,
        model=recipe.model,
        score=parts.match_words(made.run.scores, made.run.scores.get("clip_cosine")),
        facts=" · ".join([*facts, *parts.notes_of(made.run)]),
        settings=json.dumps(settings_of(made), ensure_ascii=False),
        varies=again.can_vary(recipe),
        references=recipe.references,
    )


def enlarged(original: Shown, address: str, scale: int) -> Shown:
    """Return a larger copy of a picture as the page shows it."""
    width, height = original.width * scale, original.height * scale
    facts = f"{width} × {height} · seed {original.seed} · enlarged by interpolation"
    return replace(original, address=address, width=width, height=height, score="", facts=facts, varies=False, original=original)


def partners_of(now: Results, references: Sequence[Partner]) -> tuple[Partner, ...]:
    """Return what the large picture can be compared with: its original, what it was drawn after, its neighbours, earlier ones."""
    large = now.large
    named = [(one, f"Picture {n}") for n, one in enumerate(now.pictures, 1)] + [(one, "Earlier") for one in now.earlier]
    others = [
        _partner(one, " · ".join(filter(None, [name, _caption(one)])))
        for one, name in named
        if one.address not in (large.address, large.original and large.original.address)
    ]
    original = [_partner(large.original, "Before it was enlarged")] if large.original else []
    return (*original, *references, *others)


def empty(width: int, height: int) -> str:
    return (
        f'<div class="stage" style="--ratio:{width}/{height}"><div class="ghost">Your picture, {width} × {height},<br>'
        "appears here after Generate</div></div>"
    )


def stage(now: Results) -> str:
    """Return the large picture, beside another one while they are compared."""
    large = now.large
    if not now.partners:
        return f'<div class="stage">{parts.picture(large.address, large.prompt, large.width, large.height)}</div>'
    left = now.partners[now.beside]
    return (
        f'<div class="stage"><div class="cmp" style="--at:50%;--ratio:{large.width}/{large.height}">'
        f"{parts.picture(left.address, left.name, left.width, left.height)}"
        f"{parts.picture(large.address, large.prompt, large.width, large.height, 'top')}<i></i>"
        '<input type="range" min="0" max="100" value="50" aria-label="Where the pictures meet"></div></div>'
    )


def row(now: Results) -> str:
    """Return the candidates, a single picture needs no row; or what the large picture can be compared with."""
    if now.partners:
        cells = [
            f'<button type="button" data-do="beside" data-i="{index}" aria-pressed="{_is(index == now.beside)}" '
            f'aria-label="Compare with: {esc(one.name)}">'
            f'{parts.picture(parts.thumb_address(one.address), "", one.width, one.height)}'
            f'<div class="sc">{esc(one.name)}</div></button>'
            for index, one in enumerate(now.partners)
        ]
    elif now.wanted < 2:
        return ""
    else:
        cells = [_candidate(now, index) for index in range(now.wanted)]
    return f'<div class="cands" style="--ratio:{now.large.width}/{now.large.height}">{"".join(cells)}</div>'


def actions(now: Results, obeyed: frozenset[Control]) -> str:
    """Return what can be done with the large picture; `obeyed` is what the model the form names obeys."""
    large = now.large
    if now.partners:
        return '<button type="button" class="do" data-do="leave">Done</button>'
    near = (("Slightly", 0), ("Widely", 1)) if large.varies else ()
    pixels = large.width * large.height
    larger = [scale for scale in SCALES if not large.original and pixels * scale**2 <= MAX_PIXELS]
    can_compare = large.original or large.references or len(now.pictures) > 1 or now.earlier
    return "".join(
        [
            _menu("Vary", "".join(_button("vary", words, index) for words, index in near)),
            _menu(
                "Enlarge",
                "".join(
                    _button("enlarge", f"{scale}× · {scale * large.width} × {scale * large.height}", scale) for scale in larger
                ),
            ),
            _button("compare", "Compare") if can_compare else "",
            f'<a class="do" href="{esc(large.address)}?download" download>Download</a>',
            '<button type="button" class="do" data-do="video"><span class="long">Send to Video</span>'
            '<span class="brief">To Video</span></button>',
            _menu(
                "More",
                (_button("reference", "Use as reference") if "references" in obeyed else "")
                + _button("seed", "Reuse seed")
                + f'<button type="button" class="do" data-copy="{esc(large.settings)}">Copy settings</button>',
            ),
        ]
    )


def done(now: Results) -> str:
    if not now.pictures:
        return parts.status("Done")
    if now.partners:
        return parts.status("Compare", f"left: {now.partners[now.beside].name}")
    words = parts.done_words(now.seconds) if now.chosen == 0 else f"Picture {now.chosen + 1} of {now.wanted}"
    return parts.status(" · ".join([words, now.large.score] if now.large.score else [words]), now.large.facts)


def _candidate(now: Results, index: int) -> str:
    if index >= len(now.pictures):
        return '<div><div class="ghost"></div><div class="sc"></div></div>'
    one = now.pictures[index]
    words = _caption(one)
    return (
        f'<button type="button" data-do="pick" data-i="{index}" aria-pressed="{_is(index == now.chosen)}" '
        f'aria-label="Picture {index + 1} of {now.wanted}, {esc(words or "no score")}">'
        f'{parts.picture(one.address, "", one.width, one.height)}<div class="sc">{esc(words)}</div></button>'
    )


def _menu(name: str, items: str) -> str:
    """Return a small menu, or nothing where it would be empty."""
    return f'<details class="menu"><summary class="do">{name}</summary><div>{items}</div></details>' if items else ""


def _button(what: str, words: str, index: int = 0) -> str:
    return f'<button type="button" class="do" data-do="{what}" data-i="{index}">{esc(words)}</button>'


def _partner(one: Shown, name: str) -> Partner:
    return Partner(one.address, name, one.width, one.height)


def _caption(one: Shown) -> str:
    return f"{one.width} × {one.height}" if one.original else one.score


def _is(claim: bool) -> str:
    return str(claim).lower()
