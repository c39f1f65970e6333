"""The picture that was made, large, with its candidates under it and what can be done with it above."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gradio as gr

from flux_svd.catalog import ModelSpec
from flux_svd.web import parts, results
from flux_svd.web.desk import Desk
from flux_svd.web.parts import QUIET, Update, show
from flux_svd.web.references import small_given
from flux_svd.web.results import Partner, Results


class PictureCard:
    """Build the card into the current Blocks context; `results` holds what it shows."""

    def __init__(self, desk: Desk, spec: ModelSpec) -> None:
        self.desk = desk
        self.results = gr.State(Results())
        with gr.Row(elem_id="c_top"):
            self.stat = show(parts.status("Ready", "an example is filled in"), elem_id="stat")
            self.acts = gr.HTML(apply_default_css=False, js_on_load=results.ACT, elem_id="c_acts", elem_classes="acts")
        self.pic = show(results.empty(*spec.size), elem_id="pic")
        self.row = show(elem_id="c_row", elem_classes="hint", clickable=True)
        self.parts: list[Any] = [self.stat, self.acts, self.pic, self.row, self.results]

    def wire(self, model: gr.Dropdown) -> None:
        """Connect what is done on the card alone; `model` is the one the form names."""
        self.row.click(self.pick, [self.results, model], self.parts, **QUIET)
        self.acts.click(self.compare, [self.results, model], self.parts, **QUIET)

    def pick(self, event: gr.EventData, now: Results, model: str) -> Update:
        """Make another candidate the large picture, or compare with another partner."""
        index, what = int(event._data["i"]), event._data["do"]
        if what == "beside" and 0 <= index < len(now.partners):
            return self._redrawn(replace(now, beside=index), model)
        if what == "pick" and 0 <= index < len(now.pictures):
            return self._redrawn(replace(now, chosen=index), model)
        return {self.results: now}

    def compare(self, event: gr.EventData, now: Results, model: str) -> Update:
        """Lay the large picture over another one, or show it alone again."""
        what = event._data["do"]
        if not now.pictures or what not in ("compare", "leave"):
            return {self.results: gr.skip()}
        partners = results.partners_of(now, self._references_of(now)) if what == "compare" else ()
        return self._redrawn(replace(now, partners=partners, beside=0), model)

    def drawn(self, now: Results, model: str, width: int = 1, height: int = 1) -> Update:
        """Return the pictures of a run and what can be done with the large one."""
        if not now.pictures:
            return {self.pic: results.empty(width, height), self.row: "", self.acts: ""}
        acts = results.actions(now, self.desk.obeyed(model))
        return {self.pic: results.stage(now), self.row: results.row(now), self.acts: acts}

    def _redrawn(self, now: Results, model: str) -> Update:
        return {**self.drawn(now, model), self.results: now, self.stat: results.done(now)}

    def _references_of(self, now: Results) -> list[Partner]:
        """Return the stored pictures the large one was drawn after, as far as they are here."""
        large = now.large
        ids = [one for one in large.references if self.desk.has_picture(one)]
        return [
            Partner(small_given(self.desk, one, large.height), f"Reference {n}", large.width, large.height)
            for n, one in enumerate(ids, 1)
        ]
