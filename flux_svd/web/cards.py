"""The card of one stage: its picture and score, buttons to move and remove it, its prompt and its seed."""

from __future__ import annotations

from typing import Any

import gradio as gr

from flux_svd import storyboard
from flux_svd.web.board import Slot
from flux_svd.web.parts import Update, esc, show

MAX_STAGES = 8  # cards on the page: 155 frames at 23 a transition; the command line takes more

Hand = list[tuple[Slot, str, str]]
"""The cards in use: slot, prompt, seed of each."""

# Sends a chosen or dropped picture to our own route and tells the page its id; runs once, when the card is first shown.
_UPLOAD = """
const send = async (file) => {
  const answer = await (await fetch('pictures/upload', { method: 'POST', body: file })).json();
  if (answer.id) trigger('click', { do: 'give', id: answer.id });
  else element.querySelector('.figs').textContent = answer.error || answer.detail;
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (button.dataset.do === 'choose') element.querySelector('input').click();
  else trigger('click', { do: 'take' });
});
element.addEventListener('change', (event) => { if (event.target.files[0]) send(event.target.files[0]); });
const card = element.closest('.card');
card.addEventListener('dragover', (event) => { event.preventDefault(); });
card.addEventListener('drop', (event) => {
  if (!event.dataTransfer.files[0]) return;
  event.preventDefault();
  send(event.dataTransfer.files[0]);
});
"""


class Card:
    """One stage: picture, figures, moving, prompt, seed."""

    def __init__(self, number: int, stage: storyboard.MotionStage | None, total: int) -> None:
        with gr.Column(elem_classes="card", visible=stage is not None) as self.column:
            self.pic = show(undrawn(5, 3))
            with gr.Row(elem_classes="top"):
                self.head = gr.HTML(figures(number, ""), apply_default_css=False, js_on_load=_UPLOAD)
                self.left = _icon(f"Move stage {number} left", "i-left", number > 1)
                self.right = _icon(f"Move stage {number} right", "i-right", number < total)
                self.remove = _icon(f"Remove stage {number}", "i-bin", total > 2)
            self.text = gr.Textbox(
                stage.prompt if stage else "",
                label=f"Stage {number} prompt",
                show_label=False,
                container=False,
                lines=2,
                max_lines=4,
                interactive=True,
                elem_id=f"f_stages-{number - 1}-prompt",
            )
            with gr.Row(elem_classes="row2"):
                self.seed = gr.Textbox(
                    "",
                    label="Seed",
                    placeholder="as the film",
                    max_lines=1,
                    min_width=0,
                    interactive=True,
                    elem_id=f"f_stages-{number - 1}-seed",
                )
                self.redo = gr.Button("Redo", elem_classes=["edge", "redo"], size="md", min_width=0)

    def dealt(self, number: int, hand: Hand) -> Update:
        """Return this card as one of `hand`, or away."""
        if number > len(hand):
            return {self.column: gr.Column(visible=False)}
        _, prompt, seed = hand[number - 1]
        return {
            self.column: gr.Column(visible=True),
            self.text: prompt,
            self.seed: seed,
            self.left: gr.Button(interactive=number > 1),
            self.right: gr.Button(interactive=number < len(hand)),
            self.remove: gr.Button(interactive=len(hand) > 2),
        }

    @property
    def parts(self) -> list[Any]:
        return [self.column, self.text, self.seed, self.left, self.right, self.remove]


def undrawn(width: int, height: int) -> str:
    return f'<div class="ghost" style="--ratio:{width}/{height}">Not drawn yet</div>'


def figures(number: int, score: str, *, given: bool = False) -> str:
    """Return the card's number, what is known of its picture, and the button that gives a picture or takes it away."""
    words = f"Draw stage {number} instead of your picture" if given else f"Use a picture of yours for stage {number}"
    what, icon = ("take", "i-redo") if given else ("choose", "i-up")
    return (
        f'<div class="id"><span class="num">{number}</span><span class="figs">{"Your picture" if given else esc(score)}</span>'
        f'<button type="button" class="do icb {icon}" data-do="{what}" aria-label="{words}"></button>'
        f'<input type="file" accept="image/png,image/jpeg,image/webp" hidden aria-label="{words}"></div>'
    )


def _icon(words: str, icon: str, possible: bool) -> gr.Button:
    return gr.Button(words, size="md", elem_classes=["icb", icon], interactive=possible, min_width=0)
