"""The queue over the page's edge: its frame as markup. `static/queue.js` fills it from the routes for programs."""

from __future__ import annotations

import gradio as gr

from flux_svd.web.look import STATIC

_SCRIPT = "window.fluxQueue(element);"


def build_drawer() -> gr.HTML:
    """Build the queue, closed, into the current Blocks context."""
    style = (STATIC / "queue.css").read_text("utf-8")
    frame = (
        f'<style>{style}</style><aside id="jobs" role="region" aria-label="Queue" tabindex="-1" hidden><header><h2>Queue</h2>'
        '<button type="button" class="do" data-close>Close</button></header><div role="alert" class="small bad"></div><ul></ul>'
        "</aside>"
    )
    return gr.HTML(frame, apply_default_css=False, js_on_load=_SCRIPT, elem_id="drawer")


def opener(words: str, *, lasting: bool) -> str:
    """Return how busy this machine is, as the bar tells it; where jobs outlive the page, it opens the queue."""
    told = f'<span class="queue" role="status" aria-label="Queue">{words}</span>'
    if not lasting:
        return told
    return f'<button type="button" class="queue-button" data-queue aria-expanded="false" aria-controls="jobs">{told}</button>'
