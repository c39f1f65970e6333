"""The card of one stage: its picture and scores, its options, its prompt, seed and length, and the buttons that change it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from flux_svd import storyboard
from flux_svd.web.board import Chosen, Held, Slot
from flux_svd.web.moves import MAX_STAGES, Hand
from flux_svd.web.parts import Update, esc, show


@dataclass(frozen=True)
class Option:
    """One candidate of a keyframe: its small picture ("" before it is drawn), its match to the prompt, whether it is taken."""

    picture: str
    match: float | None
    taken: bool


class Card:
    """One stage: picture, figures, options, prompt, seed, length, buttons. What its buttons do is the page's."""

    def __init__(self, number: int, stage: storyboard.MotionStage | None, total: int) -> None:
        held = Held(Slot(""), stage.prompt if stage else "")
        with gr.Column(elem_classes="card", visible=stage is not None) as self.column:
            self.pic = show(undrawn(5, 3))
            self.head = show(head(number, total, held.slot))
            self.text = gr.Textbox(
                held.prompt,
                label=f"Stage {number} prompt",
                show_label=False,
                container=False,
                lines=2,
                max_lines=4,
                interactive=True,
                elem_id=f"f_stages-{number - 1}-prompt",
            )
            with gr.Row(elem_classes="row2"):
                self.seed = _box("Seed", "as the film", f"f_stages-{number - 1}-seed")
                self.length = _box("Frames to the next", "as the film", f"f_stages-{number - 1}-length", visible=number < total)
            self.foot = show(foot(number, total, held.slot))

    def dealt(self, number: int, hand: Hand, *, loop: bool, four: bool) -> Update:
        """Return this card as one of `hand`, or away."""
        if number > len(hand):
            return {self.column: gr.Column(visible=False)}
        held = hand[number - 1]
        is_drawn = not (held.slot.picture or held.slot.lock)
        return {
            self.column: gr.Column(visible=True),
            self.text: gr.Textbox(held.prompt, interactive=not held.slot.lock),
            self.seed: gr.Textbox(held.seed, interactive=is_drawn),
            self.length: gr.Textbox(held.length, visible=loop or number < len(hand)),
            self.foot: foot(number, len(hand), held.slot, four=four),
        }

    @property
    def parts(self) -> list[Any]:
        return [self.column, self.text, self.seed, self.length, self.foot]


def undrawn(width: int, height: int) -> str:
    return f'<div class="ghost" style="--ratio:{width}/{height}">Not drawn yet</div>'


def head(number: int, total: int, slot: Slot, figures: Sequence[str] = (), *, can_lock: bool = False, options: str = "") -> str:
    """Return the card's number, what is known of its picture, lock and moves; under them its options."""
    words = ["Your picture"] if slot.picture else ["Locked", *figures] if slot.lock else figures
    figs = "".join(f"<span>{esc(one)}</span>" for one in words if one)
    lock = (
        _icon("unlock", number, f"Unlock stage {number}", "i-locked", pressed=True)
        if slot.lock
        else _icon("lock", number, f"Lock stage {number}", "i-open", possible=can_lock)
    )
    return (
        f'<div class="id"><span class="num">{number}</span><span class="figs">{figs}</span>{lock}'
        f"{_icon('left', number, f'Move stage {number} left', 'i-left', possible=number > 1)}"
        f"{_icon('right', number, f'Move stage {number} right', 'i-right', possible=number < total)}</div>{options}"
    )


def foot(number: int, total: int, slot: Slot, *, four: bool = False) -> str:
    """Return the buttons under a card's fields."""
    is_drawn = not (slot.picture or slot.lock)
    is_wide = slot.options or four
    give = (
        _icon("take", number, f"Draw stage {number} instead of your picture", "i-redo")
        if slot.picture
        else _icon("choose", number, f"Use a picture of yours for stage {number}", "i-up", possible=not slot.lock)
    )
    choose = f"Use a picture of yours for stage {number}"
    return (
        '<div class="two">'
        f'<button type="button" class="do edge" data-do="redo" data-i="{number - 1}" aria-label="Redo stage {number}"'
        f"{'' if is_drawn else ' disabled'}>Redo</button>"
        f'<button type="button" class="do edge" data-do="{"fewer" if is_wide else "options"}" data-i="{number - 1}" '
        f'aria-pressed="{str(is_wide).lower()}" '
        f'aria-label="Four options for stage {number}"{"" if is_drawn and not four else " disabled"}>Four options</button></div>'
        f'<div class="tools">{give}'
        f'<input type="file" accept="image/png,image/jpeg,image/webp" data-i="{number - 1}" hidden aria-label="{choose}">'
        f"{_icon('insert', number, f'Insert a stage after stage {number}', 'i-plus', possible=total < MAX_STAGES)}"
        f"{_icon('remove', number, f'Remove stage {number}', 'i-bin', possible=total > 2)}</div>"
    )


def options_row(number: int, options: Sequence[Option], chosen: Chosen | None, *, picked: bool, ratio: str) -> str:
    """Return the candidates of a stage side by side, each a button that takes it, and how one was taken.

    Args:
        picked: the user took one, whatever the scores say.
        ratio: of the pictures, "5/3".
    """
    if not options:
        return ""
    cells = "".join(
        f'<button type="button" data-do="pick" data-i="{number - 1}" data-n="{n}" aria-pressed="{str(one.taken).lower()}" '
        f'aria-label="Option {n} of {len(options)} for stage {number}{_aloud(one.match)}"{"" if one.picture else " disabled"}>'
        f"{_thumb(one.picture)}<bdi data-said>{'–' if one.match is None else f'{one.match:.2f}'}</bdi></button>"
        for n, one in enumerate(options, 1)
    )
    free = (
        f'<button type="button" class="do link" data-do="free" data-i="{number - 1}" '
        f'aria-label="Let the scores choose for stage {number}">Let the scores choose</button>'
    )
    said = f"<span>Your pick</span>{free}" if picked else f"<span>{esc(_how(chosen))}</span>" if chosen else ""
    group = f'<div class="opts" role="group" aria-label="Options of stage {number}" style="--ratio:{ratio}">{cells}</div>'
    return group + (f'<div class="how">{said}</div>' if said else "")


def _how(chosen: Chosen) -> str:
    taken = chosen.pick + 1
    if chosen.tie:
        return f"Too close to call: option {taken} is taken"
    return f"Option {taken} is best by {chosen.margin:.2f}"


def _aloud(match: float | None) -> str:
    return "" if match is None else f", match {match:.2f}"


def _thumb(address: str) -> str:
    return f'<img src="{esc(address)}" alt="" loading="lazy">' if address else '<i class="ghost"></i>'


def _icon(what: str, number: int, words: str, icon: str, *, possible: bool = True, pressed: bool = False) -> str:
    state = ("" if possible else " disabled") + (' aria-pressed="true"' if pressed else "")
    return (
        f'<button type="button" class="do icb {icon}" data-do="{what}" data-i="{number - 1}" aria-label="{esc(words)}"{state}>'
        "</button>"
    )


def _box(label: str, placeholder: str, elem_id: str, *, visible: bool = True) -> gr.Textbox:
    return gr.Textbox(
        "", label=label, placeholder=placeholder, max_lines=1, min_width=0, interactive=True, visible=visible, elem_id=elem_id
    )
