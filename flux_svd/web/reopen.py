"""How the page begins: with the job its address names, else with what was left in its forms, else with the example.

A job's address shows it again after a reload, in another window, on another device of the same owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from flux_svd.request import ImageRequest
from flux_svd.web import drafts, parts
from flux_svd.web.board import Board
from flux_svd.web.create import CreatePage
from flux_svd.web.desk import Desk, visitor_of
from flux_svd.web.parts import QUIET, Update
from flux_svd.web.video import VideoPage

# Says the job's id to the server again where the page may have lost its stream: after sleep, or when the network is back.
_WAKE = """
let hidden = 0;
const again = () => {
  const marks = [...document.querySelectorAll('[data-job]')].map((mark) => mark.dataset.job).filter(Boolean);
  for (const job of marks) trigger('click', { job: job });
};
document.addEventListener('visibilitychange', () => {
  if (document.hidden) hidden = Date.now();
  else if (hidden && Date.now() - hidden > 20000) again();
});
addEventListener('online', again);
const address = () => {
  const marks = document.querySelectorAll('[data-job]');
  for (const mark of marks) if (!mark.dataset.told) {
    mark.dataset.told = 1;
    const url = new URL(location.href);
    if (mark.dataset.job) url.searchParams.set('job', mark.dataset.job); else url.searchParams.delete('job');
    history.replaceState(null, '', url);
  }
};
new MutationObserver(address).observe(document.body, { childList: true, subtree: true });
address();
"""


def connect(blocks: gr.Blocks, desk: Desk, tabs: gr.Tabs, create: CreatePage, video: VideoPage, tab_ids: tuple[str, str]) -> Any:
    """Let the page begin, and watch on when it was asleep; return the event after which it has begun.

    Args:
        tab_ids: those of the two pages.
    """
    wake = gr.HTML("", apply_default_css=False, js_on_load=_WAKE, elem_id="wake")
    outs = [
        tabs, create.begun, video.begun, create.job, create.mark, create.stat, create.stop, *create.form, video.job, video.mark,
        video.stat, video.stop, *video.fill_outs,
    ]  # fmt: skip

    def begin(request: gr.Request, left: str | None, left_film: str | None, board: Board, *wish: Any) -> Update:
        job, visitor = str(request.query_params.get("job", "")), visitor_of(request)
        form, film = drafts.picture_of(left, visitor.owner), drafts.film_of(left_film, visitor.owner)
        found: Update = {create.begun: True, video.begun: True}
        found |= create.formed(form) if form else {}
        found |= video.drawn_up(film, board) if film else {}
        if not job:
            return found
        gone = {create.stat: parts.status("This job is not here", "the queue shows those that are"), create.mark: parts.NO_JOB}
        return found | {create.stat: parts.status("Ready")} | (show_again(job, request, board, wish) or gone)

    def go_on(
        event: gr.EventData, request: gr.Request, create_job: str, video_job: str, board: Board, *wish: Any
    ) -> Update:
        job = str(event._data["job"])
        shown = {} if job in (create_job, video_job) else show_again(job, request, board, wish)
        return shown or {create.job: gr.skip()}

    def show_again(job: str, request: gr.Request, board: Board, wish: Sequence[Any]) -> Update:
        """Return the page with this job, ready to be watched; nothing where there is no such job of this visitor."""
        plan = desk.job_plan(job, visitor_of(request))
        if plan is None:
            return {}
        page, tab = (create, tab_ids[0]) if isinstance(plan.request, ImageRequest) else (video, tab_ids[1])
        shown = (
            create.work.shown_again(job, plan, plan.request) if isinstance(plan.request, ImageRequest)
            else video.work.shown_again(job, plan, plan.request, board, wish)
        )  # fmt: skip
        opening = {page.stat: parts.status("Opening the job", part=0), page.stop: gr.Button(visible=True)}
        return {**shown, **opening, tabs: gr.Tabs(selected=tab)}

    quick: dict[str, Any] = {**QUIET, "concurrency_limit": None}
    begun = blocks.load(begin, [create.draft, video.draft, *video.wish], outs, js=drafts.READ, **quick)
    woken = wake.click(go_on, [create.job, video.job, *video.wish], outs, **quick)
    for shown in (begun, woken):
        create.watch_after(shown.success)
        video.watch_after(shown.success)
    woken.then(*video.looking, **quick)
    return begun


def job_route() -> Route:
    """Return the route /job/ID, which leads to the page that shows the job."""

    async def to_page(request: Request) -> Response:
        return RedirectResponse(f"../?job={request.path_params['job_id']}", 303)

    return Route("/job/{job_id:str}", to_page)
