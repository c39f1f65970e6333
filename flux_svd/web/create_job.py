"""What the page Create does with a wish: starts the work, watches it, shows it again after a reload, stops it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.concurrency import run_in_threadpool

from flux_svd import again, presets
from flux_svd.artifact import ImageArtifact
from flux_svd.errors import Cancelled, FluxSvdError
from flux_svd.plan import Plan
from flux_svd.progress import Progress
from flux_svd.request import ImageRequest
from flux_svd.web import fields, parts, results
from flux_svd.web.desk import Visitor, visitor_of
from flux_svd.web.fields import PictureForm
from flux_svd.web.parts import Update
from flux_svd.web.results import Results
from flux_svd.web.watchers import Watchers

if TYPE_CHECKING:
    from flux_svd.web.create import CreatePage


class PictureJob:
    """The work of one page; whoever shows it is the page."""

    def __init__(self, page: CreatePage) -> None:
        self.page, self.desk = page, page.desk
        self._watchers = Watchers()

    def begin(self, request: gr.Request, *wish: Any) -> Update:
        """Start the work and return the page as it then stands; `watch` goes on from there."""
        return self._begun(lambda: fields.image_fields(self.desk, PictureForm(*wish)), visitor_of(request))

    def vary(self, request: gr.Request, event: gr.EventData, now: Results, *wish: Any) -> Update:
        """Start pictures near the large one: with its settings and seed, whatever stands in the form."""
        visitor = visitor_of(request)
        path = self.desk.path_of(now.large.address, visitor) if now.pictures else None
        if path is None:
            return {self.page.stat: parts.not_found(), self.page.job: ""}
        how_far = (presets.VARIATION, presets.VARIATION_FAR)[int(event._data["i"])]
        return self._begun(lambda: {**again.wish_near(path), "variation": how_far}, visitor)

    def enlarge(self, request: gr.Request, event: gr.EventData, now: Results, model: str) -> Iterator[Update]:
        """Make a larger copy of the large picture and show it beside it."""
        page, visitor, scale = self.page, visitor_of(request), int(event._data["i"])
        path = self.desk.path_of(now.large.address, visitor) if now.pictures else None
        if path is None:
            yield {page.stat: parts.not_found()}
            return
        yield {page.stat: parts.status("Enlarging", part=0), page.acts: ""}
        try:
            made = self.desk.enlarge(path, scale)
        except FluxSvdError as error:
            yield {**page.card.drawn(now, model), page.stat: parts.refused(error)}
            return
        after = now.with_copy(results.enlarged(now.large, self.desk.address(made, visitor), scale))
        yield {**page.card.drawn(after, model), page.results: after, page.stat: results.done(after)}

    def _begun(self, wished: Callable[[], dict[str, Any]], visitor: Visitor) -> Update:
        page = self.page
        try:
            plan = self.desk.plan(wished())
            job = self.desk.start(plan, visitor)
        except FluxSvdError as error:
            return {page.stat: parts.not_started(), page.line: parts.problem(error), page.job: ""}
        return {
            **page.planned(plan),
            page.stat: parts.status("Starting", part=0),
            page.stop: gr.Button(visible=True),
            page.acts: "",
            page.job: job,
            page.mark: parts.job_mark(job, self.desk),
        }

    async def watch(self, request: gr.Request, job: str, before: Results, *wish: Any) -> AsyncIterator[Update]:
        """Show the work; the last result stays until the first preview, and comes back when nothing new was finished."""
        page, visitor = self.page, visitor_of(request)
        plan = await run_in_threadpool(self.desk.job_plan, job, visitor) if job else None
        if plan is None:
            yield {page.stop: gr.skip()}  # a generator that says nothing empties the page
            return
        is_newest = self._watchers.begin(visitor.tab)
        made, last, ending = Results(wanted=len(plan.recipes)), Progress("load"), ""
        yield {page.stop: gr.Button(visible=True)}
        try:
            async with aclosing(self.desk.watch(job, visitor)) as items:
                async for item in items:
                    if not is_newest():
                        return
                    if isinstance(item, Progress):
                        last = item
                        yield {page.stat: parts.progress_status(item, "picture"), **self._live(item, plan)}
                    elif isinstance(item, ImageArtifact):
                        shown = (*made.pictures, results.shown(item, self.desk.address(item.path, visitor)))
                        made = replace(made, pictures=shown, seconds=made.seconds + item.run.seconds)
                        newest = replace(made, chosen=len(shown) - 1)
                        yield {page.card.pic: results.stage(newest), page.card.row: results.row(newest)}
            ending = results.done(made)
        except Cancelled:
            ending = parts.status("Stopped", f"at step {last.step} of {last.steps}" if last.steps else "")
        except FluxSvdError as error:
            ending = parts.refused(error)
        if is_newest():
            after = made.after(before) if made.pictures else replace(before, partners=())
            yield {
                **await run_in_threadpool(page.look_ahead, *wish),  # its time is better known now
                **page.card.drawn(after, PictureForm(*wish).model, plan.recipes[0].width, plan.recipes[0].height),
                page.stat: ending,
                page.results: after,
                page.stop: gr.Button(visible=False),
                page.seed: fields.seed_of(plan),
                page.used_seed: fields.seed_of(plan),
            }

    def halt(self, request: gr.Request, job: str) -> None:
        self.desk.stop(job, visitor_of(request))

    def shown_again(self, job: str, plan: Plan, request: ImageRequest) -> Update:
        """Return the form as the job's request fills it, ready for `watch`."""
        page = self.page
        seed = {page.seed: fields.seed_of(plan), page.used_seed: fields.seed_of(plan)}
        return {**page.filled(request), **seed, page.job: job, page.mark: parts.job_mark(job, self.desk)}

    def _live(self, progress: Progress, plan: Plan) -> Update:
        if progress.preview is None:
            return {}
        picture = parts.preview(progress.preview, f"Preview: {plan.request.prompt}")
        return {self.page.card.pic: f'<div class="stage">{picture}</div>'}
