"""A job's address shows it again: after a reload, in another window, on another device of the same owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from flux_svd.request import ImageRequest
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
  for (const mark of marks) if (mark.dataset.job && !mark.dataset.told) {
    mark.dataset.told = 1;
    const url = new URL(location.href);
    url.searchParams.set('job', mark.dataset.job);
    history.replaceState(null, '', url);
  }
};
new MutationObserver(address).observe(document.body, { childList: true, subtree: true });
address();
"""


def connect(blocks: gr.Blocks, desk: Desk, tabs: gr.Tabs, create: CreatePage, video: VideoPage, tab_ids: tuple[str, str]) -> None:
    """Let the page show the job its address names, and watch on when it was asleep; `tab_ids` are those of the two pages."""
    wake = gr.HTML("", apply_default_css=False, js_on_load=_WAKE, elem_id="wake")
    outs = [tabs, create.job, create.mark, create.used_seed, *create.form, video.job, video.mark, *video.fill_outs]

    def from_address(request: gr.Request, board: Board, *wish: Any) -> Update:
        return show_again(str(request.query_params.get("job", "")), request, board, wish)

    def from_event(event: gr.EventData, request: gr.Request, create_job: str, video_job: str, board: Board, *wish: Any) -> Update:
        job = str(event._data["job"])
        return {create.job: gr.skip()} if job in (create_job, video_job) else show_again(job, request, board, wish)

    def show_again(job: str, request: gr.Request, board: Board, wish: Sequence[Any]) -> Update:
        plan = desk.job_plan(job, visitor_of(request)) if job else None
        if plan is None:
            return {create.job: gr.skip()}
        if isinstance(plan.request, ImageRequest):
            return {**create.work.shown_again(job, plan, plan.request), tabs: gr.Tabs(selected=tab_ids[0])}
        return {**video.work.shown_again(job, plan, plan.request, board, wish), tabs: gr.Tabs(selected=tab_ids[1])}

    quick: dict[str, Any] = {**QUIET, "concurrency_limit": None}
    for shown in (
        blocks.load(from_address, video.wish, outs, **quick),
        wake.click(from_event, [create.job, video.job, *video.wish], outs, **quick),
    ):
        ahead = shown.success(*video.looking, **quick)
        create.watch_after(shown.success)
        video.watch_after(ahead.success)


def job_route() -> Route:
    """Return the route /job/ID, which leads to the page that shows the job."""

    async def to_page(request: Request) -> Response:
        return RedirectResponse(f"../?job={request.path_params['job_id']}", 303)

    return Route("/job/{job_id:str}", to_page)
