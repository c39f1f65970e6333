"""What buttons on the cards and on the strip of the page Video do: changes of the cards alone, or changes that start work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from flux_svd.errors import FluxSvdError
from flux_svd.recipe import fingerprint
from flux_svd.request import VideoRequest
from flux_svd.web import moves, parts
from flux_svd.web.board import Board, settle
from flux_svd.web.film_fields import FilmWish, changed, read_form, video_fields
from flux_svd.web.film_view import drawn_of
from flux_svd.web.moves import Hand
from flux_svd.web.parts import Update
from flux_svd.web.player import film_of

if TYPE_CHECKING:
    from flux_svd.web.video import VideoPage

_ARRANGE = ("left", "right", "insert", "remove", "lock", "unlock", "give", "take", "pick", "free", "fewer", "midpoint")
_MAKE = ("redo", "options", "way")


class Buttons:
    """The buttons of one page; whoever shows the cards is the page."""

    def __init__(self, page: VideoPage) -> None:
        self.page, self.desk = page, page.desk

    def arrange(self, event: gr.EventData, board: Board, *wish: Any) -> Update:
        """Do what a button on a card or on the strip asks for, where it changes the cards alone."""
        told = event._data
        what, index = str(told["do"]), int(told["i"])
        form, hand = read_form(board, wish)
        if not 0 <= index < len(hand):
            return {self.page.board: board}
        try:
            return self.page.deal(self._arranged(what, index, told, form, hand, board), board, form)
        except FluxSvdError as error:
            return {self.page.board: board, self.page.stat: parts.refused(error, passing=2)}

    def prepare(self, event: gr.EventData, board: Board, *wish: Any) -> Update:
        """Change the cards as a button asks for that starts work, and say what is to be made: "keyframes" or "film"."""
        what, index = str(event._data["do"]), int(event._data["i"])
        form, hand = read_form(board, wish)
        index = min(max(index, 0), len(hand) - 1)
        if what == "way":
            return {self.page.intent: "film", **self.page.deal(moves.redo_way(hand, index), board, form)}
        if what == "redo":
            return {self.page.intent: "keyframes", **self.page.deal(moves.redo(hand, index), board, form)}
        return {self.page.intent: "keyframes", **self.page.deal(changed(hand, index, options=True, pick=0), board, form)}

    def _arranged(self, what: str, index: int, told: Any, form: FilmWish, hand: Hand, board: Board) -> Hand:
        if what in ("left", "right"):
            return moves.move(hand, index, -1 if what == "left" else 1)
        if what == "insert":
            return moves.insert(hand, index)
        if what == "remove":
            return moves.remove(hand, index)
        if what == "midpoint":
            request = self.desk.plan(video_fields(form, hand)).request
            assert isinstance(request, VideoRequest)
            return moves.insert_midpoint(hand, index, request)
        if what == "give":
            given = str(told["id"])
            changes = {"picture": given, "lock": "", "pick": 0} if self.desk.has_picture(given) else {}
            return changed(hand, index, **changes)
        if what == "lock":
            return changed(hand, index, lock=self._drawn_at(index, form, hand, board))
        if what == "pick":
            return changed(hand, index, pick=int(told["n"]))
        plain: dict[str, dict[str, Any]] = {
            "take": {"picture": ""}, "unlock": {"lock": ""}, "free": {"pick": 0}, "fewer": {"options": False, "pick": 0},
        }  # fmt: skip
        return changed(hand, index, **plain[what])

    def _drawn_at(self, index: int, form: FilmWish, hand: Hand, board: Board) -> str:
        """Return the fingerprint of the keyframe a card shows, or "" where none is drawn."""
        film, _ = settle(film_of(self.desk.plan(video_fields(form, hand, picked=False))), board)
        keyframe = film.keyframes[index]
        return fingerprint(keyframe) if drawn_of(board, self.page.finds, keyframe) else ""


def relays() -> tuple[gr.HTML, gr.HTML]:
    """Build what hears the buttons, for both kinds of changes; each fires a click event that says which button, and where."""
    return _relay("v_do", _ARRANGE), _relay("v_make", _MAKE)


def _relay(elem_id: str, kinds: Sequence[str]) -> gr.HTML:
    script = f"window.fluxFilm(element.closest('#video'), {list(kinds)}, (told) => trigger('click', told));"
    return gr.HTML("", apply_default_css=False, js_on_load=script, elem_id=elem_id)
