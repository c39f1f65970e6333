"""The page Library: its frame as markup, and what leads from a result to the other pages. `static/library.js` fills it."""

from __future__ import annotations

import gradio as gr

from flux_svd.web.parts import esc

_KINDS = (("", "All"), ("image", "Pictures"), ("video", "Films"))
_ORDERS = (("new", "Newest"), ("best", "Best match"))
_MANY = (("compare", "Compare"), ("star", "Star"), ("zip", "Download"), ("delete", "Move to trash"))

# Runs once, when the page is first shown; what is chosen there comes back as a click event.
_SCRIPT = "window.fluxLibrary(element, (told) => trigger('click', told));"


def build_library() -> gr.HTML:
    """Build the page into the current Blocks context and return it; its clicks carry `do` and `id`."""
    return gr.HTML(frame(), apply_default_css=False, js_on_load=_SCRIPT, elem_id="lib")


def frame() -> str:
    kinds = "".join(
        f'<label><input type="radio" name="lib_kind" value="{value}"{"" if value else " checked"}><span>{words}</span></label>'
        for value, words in _KINDS
    )
    orders = "".join(f'<option value="{value}">{words}</option>' for value, words in _ORDERS)
    many = "".join(f'<button type="button" class="do" data-many="{what}">{words}</button>' for what, words in _MANY)
    more = (
        _field("Model", '<select name="lib_model"><option value="">All</option></select>')
        + _field("From day", '<input type="date" name="lib_since">')
        + _field("To day", '<input type="date" name="lib_until">')
        + _field("Match at least", '<input type="number" name="lib_score" min="0" max="1" step="0.01" placeholder="0.25">')
        + '<label class="tick"><input type="checkbox" id="lib_starred"><span>Starred only</span></label>'
    )
    return (
        '<h2 class="vh">Library</h2><div id="lib_f" role="search">'
        + _field("Search", '<input type="search" name="lib_words" placeholder="Words from the prompt" maxlength="400">')
        + f'<fieldset class="seg"><legend class="label">Show</legend><div class="wrap">{kinds}</div></fieldset>'
        + _field("Order", f'<select name="lib_order">{orders}</select>')
        + '<div class="tools"><button type="button" class="do edge" id="lib_select" aria-pressed="false">Select</button>'
        '<button type="button" class="do edge" id="lib_trash" aria-pressed="false">Trash</button></div>'
        f'<details class="more"><summary>More filters</summary><div class="fields">{more}</div></details></div>'
        '<p id="lib_note" class="small" role="status"></p>'
        '<div id="lib_chosen" role="toolbar" aria-label="Selected results" hidden><span id="lib_count"></span>'
        f'{many}<button type="button" class="do">Done</button></div>'
        '<div id="lib_grid" class="well"></div><div id="lib_end"></div>'
        '<dialog id="lib_sheet" aria-labelledby="lib_title"></dialog>'
    )


def _field(words: str, box: str) -> str:
    return f'<label class="field"><span class="label">{esc(words)}</span>{box}</label>'
