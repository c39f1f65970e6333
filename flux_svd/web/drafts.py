"""What stands in the two forms, as the browser keeps it for the next visit: packed, and checked on the way back.

It lies in the storage of the browser alone. Of another user, of another version or damaged, it counts as none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter

from flux_svd.errors import InvalidRequest
from flux_svd.request import make_request
from flux_svd.web import extras
from flux_svd.web.board import Held
from flux_svd.web.fields import PictureForm
from flux_svd.web.filling import NAMES
from flux_svd.web.film_fields import FilmWish
from flux_svd.web.moves import MAX_STAGES
from flux_svd.web.parts import esc

VERSION = 1
READ = "(create, video, ...rest) => [...window.fluxDrafts.read(), ...rest]"
"""What the browser does before it asks the server for the beginning of the page; see `page.js`."""

Form = TypeVar("Form")


@dataclass(frozen=True)
class FilmDraft:
    """The page Video: its form and its cards in use."""

    form: FilmWish
    hand: tuple[Held, ...]


def mark(form: PictureForm | FilmDraft, owner: str) -> str:
    """Return what hands a form to the page's script, with whose it is."""
    values = {name: "" if value is None and name != "preset" else value for name, value in asdict(form).items()}
    told = json.dumps({"version": VERSION, "owner": owner, "form": values}, ensure_ascii=False)
    return f'<i data-draft="{"create" if isinstance(form, PictureForm) else "video"}" data-kept="{esc(told)}" hidden></i>'


def picture_of(kept: str | None, owner: str) -> PictureForm | None:
    """Return the form of Create that was kept for this owner, or None."""
    form = _unpacked(PictureForm, kept, owner)
    told = {"count": form.count, **form.extra} if form else {}
    return form if form and _is_known(form.extra, {"kind": "image", **told}) else None


def film_of(kept: str | None, owner: str) -> FilmDraft | None:
    """Return the form and the cards of Video that were kept for this owner, or None."""
    draft = _unpacked(FilmDraft, kept, owner)
    if draft is None or draft.form.method not in NAMES or not 2 <= len(draft.hand) <= MAX_STAGES:
        return None
    return draft if _is_known(draft.form.extra, {"kind": "video", **draft.form.extra}) else None


def _unpacked(kind: type[Form], kept: str | None, owner: str) -> Form | None:
    try:
        told = json.loads(kept or "null")
        if not isinstance(told, dict) or (told.get("version"), told.get("owner")) != (VERSION, owner):
            return None
        return TypeAdapter(kind).validate_python(told.get("form"))
    except (ValueError, RecursionError):  # no JSON, or no such form
        return None


def _is_known(extra: Mapping[str, Any], wish: Mapping[str, Any]) -> bool:
    """Return whether the fields that have no place in the form are such, and with values that a request takes."""
    try:
        make_request({"prompt": "a picture", **wish})
    except InvalidRequest:
        return False
    return set(extra) <= set(extras.NAMES)
