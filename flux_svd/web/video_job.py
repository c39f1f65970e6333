"""What the page Video does with its cards: starts keyframes or the film, watches, shows them again after a reload, stops."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gradio as gr
from PIL import Image
from starlette.concurrency import run_in_threadpool

from flux_svd.artifact import Artifact, ImageArtifact, VideoArtifact
from flux_svd.errors import Cancelled, FluxSvdError
from flux_svd.plan import Plan, keyframes_only
from flux_svd.progress import Progress
from flux_svd.recipe import ImageRecipe, VideoRecipe, fingerprint
from flux_svd.request import VideoRequest
from flux_svd.web import parts
from flux_svd.web.board import Board, Drawn
from flux_svd.web.desk import Visitor, visitor_of
from flux_svd.web.filmstrip import Way, frames_between
from flux_svd.web.parts import Update, esc
from flux_svd.web.player import film_of, finished, frame, player
from flux_svd.web.watchers import Watchers

if TYPE_CHECKING:
    from flux_svd.web.video import VideoPage

FIELD_IDS = {"seed": "seed_film", "prompt": "film"}  # both pages are in one document, so their fields need ids of their own
_THUMB_HEIGHT = 384  # pixels, of a keyframe that is finished before its film


@dataclass
class _Watched:
    """What one watcher knows: the plan of its job, the film it is part of, and the board as it grows."""

    job: Plan
    film: Plan
    board: Board
    visitor: Visitor
    ways: list[Way]

    @property
    def makes_film(self) -> bool:
        return isinstance(self.job.recipes[0], VideoRecipe)


class FilmJob:
    """The work of one page; whoever shows it is the page."""

    def __init__(self, page: VideoPage) -> None:
        self.page, self.desk = page, page.desk
        self._watchers = Watchers()

    def draw_keyframes(self, request: gr.Request, board: Board, *wish: str) -> Update:
        """Start the keyframes that are not drawn yet."""
        return self._begin(visitor_of(request), board, wish, whole=False)

    def animate(self, request: gr.Request, board: Board, *wish: str) -> Update:
        """Start the film, keyframes first where they are missing."""
        return self._begin(visitor_of(request), board, wish, whole=True)

    async def watch(self, request: gr.Request, job: str, board: Board, *wish: str) -> AsyncIterator[Update]:
        """Show the work: previews, keyframes as each is finished, transitions, the film."""
        page, visitor = self.page, visitor_of(request)
        plan = await run_in_threadpool(self.desk.job_plan, job, visitor) if job else None
        if plan is None:
            yield {page.stop: gr.skip()}  # a generator that says nothing empties the page
            return
        is_newest = self._watchers.begin(visitor.tab)
        seen = await run_in_threadpool(self._watched, plan, board, wish, visitor)
        yield {page.stop: gr.Button(visible=True), **(self.shown(seen) if seen.makes_film else {})}
        ending = "" if seen.makes_film else parts.status("Keyframes ready", "each is cheap to redo; Animate makes the film")
        try:
            async with aclosing(self.desk.watch(job, visitor)) as items:
                async for item in items:
                    if not is_newest():
                        return
                    yield await run_in_threadpool(self._after, seen, item)
        except Cancelled:
            ending = parts.status("Stopped", "finished parts are kept")
        except FluxSvdError as error:
            ending = parts.refused(error)
        if is_newest():
            ahead = await run_in_threadpool(page.look_ahead, seen.board, *wish)  # its time is better known now
            yield {
                **ahead, page.acts: seen.board.acts, page.board: seen.board, page.stop: gr.Button(visible=False),
                **({page.stat: ending} if ending else {}),
            }  # fmt: skip

    def halt(self, request: gr.Request, job: str) -> None:
        self.desk.stop(job, visitor_of(request))

    def shown_again(self, job: str, plan: Plan, request: VideoRequest, board: Board) -> Update:
        """Return the page as the job's request fills it, ready for `watch`."""
        page = self.page
        return {**page.fill_from(request, board, plan), page.job: job, page.mark: parts.job_mark(job, self.desk)}

    def _begin(self, visitor: Visitor, board: Board, wish: Sequence[str], *, whole: bool) -> Update:
        page = self.page
        try:
            plan = page.plan(board, wish)
            todo = plan if whole else _missing(plan, board)
            if not todo.recipes:
                return {page.stat: parts.status("Keyframes ready", "nothing has changed"), page.job: ""}
            job = self.desk.start(todo, visitor)
        except FluxSvdError as error:
            return {page.stat: parts.not_started(), page.line: parts.problem(error, FIELD_IDS), page.job: ""}
        return {
            page.stat: parts.status("Starting", part=0), page.stop: gr.Button(visible=True), **page.told(plan),
            page.job: job, page.mark: parts.job_mark(job, self.desk),
        }  # fmt: skip

    def _watched(self, job: Plan, board: Board, wish: Sequence[str], visitor: Visitor) -> _Watched:
        film = job
        if not isinstance(job.recipes[0], VideoRecipe):
            film = self.page.plan(board, wish)
        ways = [board.ways.get(fingerprint(way), Way()) for way in film_of(film).transitions]
        return _Watched(job, film, board, visitor, ways)

    def _after(self, seen: _Watched, item: Progress | Artifact) -> Update:
        if isinstance(item, VideoArtifact):
            seen.board = self._with_film(seen.board, item, seen.visitor)
            return {**self.shown(seen, at_work=False), self.page.stat: finished(item), self.page.board: seen.board}
        if isinstance(item, ImageArtifact):
            score = parts.match_words(item.run.scores, item.run.scores.get("clip_cosine"))
            drawn = Drawn(self.desk.address(item.path, seen.visitor), score)
            seen.board = replace(seen.board, drawn={**seen.board.drawn, fingerprint(item.recipe): drawn})
            return {**self.shown(seen, at_work=False), self.page.board: seen.board}
        update: Update = {self.page.stat: parts.progress_status(item, "keyframe")}
        if item.phase in ("wait", "load", "draw"):
            return update | (self._take_finished(seen) if seen.makes_film else {}) | self._drawing(seen, item)
        if seen.makes_film:
            return update | self._take_finished(seen) | self._animating(seen, item)
        return update

    def _drawing(self, seen: _Watched, item: Progress) -> Update:
        """Return the preview of a keyframe at its card, and large while there is no film."""
        drawn = _drawn_in(seen.job)
        if item.preview is None or not drawn:
            return {}
        recipe = drawn[min(max(item.item, 1), len(drawn)) - 1]
        film = film_of(seen.film)
        index = next((n for n, key in enumerate(film.keyframes) if key == recipe), None)
        if index is None or index >= len(self.page.cards):
            return {}
        live = parts.preview(item.preview, f"Preview of keyframe {index + 1}", "pic")
        return {self.page.cards[index].pic: live, **({} if seen.board.player else {self.page.monitor: frame(film, live)})}

    def _animating(self, seen: _Watched, item: Progress) -> Update:
        update: Update = {}
        if item.phase == "animate":
            index = max(item.item, 1) - 1
            before = seen.ways[index]
            seen.ways = [replace(way, state="done") if n < index else way for n, way in enumerate(seen.ways)]
            if (before.step, before.steps) != (item.step, item.steps) or item.preview:
                seen.ways[index] = before.after(item)
                update |= self.shown(seen)
            if item.preview is not None:
                update[self.page.monitor] = frame(film_of(seen.film), parts.preview(item.preview, "Preview of the film"))
        else:
            seen.ways = [replace(way, state="done") for way in seen.ways]
            update |= self.shown(seen)
        return update

    def _take_finished(self, seen: _Watched) -> Update:
        """Return the keyframes that are finished though their film is not, as small pictures; their scores come with the film."""
        new: dict[str, Drawn] = {}
        for recipe in _drawn_in(seen.film):
            name = fingerprint(recipe)
            data = None if name in seen.board.drawn else self.desk.finished_picture(recipe)
            if data is not None:
                with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                    new[name] = Drawn(parts.small_picture(picture, _THUMB_HEIGHT), "")
        if not new:
            return {}
        seen.board = replace(seen.board, drawn={**seen.board.drawn, **new})
        return {**self.shown(seen), self.page.board: seen.board}

    def shown(self, seen: _Watched, *, at_work: bool = True) -> Update:
        """Return strip, cards and monitor; a film with more keyframes than there are cards is shown in the monitor alone."""
        if len(film_of(seen.film).keyframes) != len(seen.board.slots):
            return {self.page.monitor: seen.board.player} if seen.board.player else {}
        return self.page.shown(seen.film, seen.board, seen.ways if at_work and seen.makes_film else None)

    def _with_film(self, board: Board, made: VideoArtifact, visitor: Visitor) -> Board:
        between = frames_between(made.path, made.recipe)
        ways = {
            fingerprint(part): Way("done", frames=frames) for part, frames in zip(made.recipe.transitions, between, strict=True)
        }
        scores = made.run.scores.get("keyframes") or [None] * len(made.keyframes)
        drawn = {
            fingerprint(key): Drawn(self.desk.address(path, visitor), parts.match_words(made.run.scores, score))
            for key, path, score in zip(made.recipe.keyframes, made.keyframes, scores, strict=True)
        }
        address = self.desk.address(made.path, visitor)
        shown = player(made, address, self.desk.address(made.keyframes[0], visitor))
        settings = json.dumps(made.request.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
        acts = (
            f'<button type="button" class="do" data-copy="{esc(settings)}">Copy settings</button>'
            f'<a class="do" href="{esc(address)}?download" download>Download</a>'
        )
        return replace(board, drawn={**board.drawn, **drawn}, ways={**board.ways, **ways}, player=shown, acts=acts)


def _drawn_in(plan: Plan) -> list[ImageRecipe]:
    """Return the pictures a plan draws, in the order it draws them."""
    found = [key for recipe in plan.recipes for key in (recipe.keyframes if isinstance(recipe, VideoRecipe) else (recipe,))]
    return list(dict.fromkeys(key for key in found if isinstance(key, ImageRecipe)))


def _missing(plan: Plan, board: Board) -> Plan:
    """Return the plan that draws what the board does not show yet."""
    todo = keyframes_only(plan)
    recipes = tuple(recipe for recipe in todo.recipes if fingerprint(recipe) not in board.drawn)
    return replace(todo, recipes=recipes, seconds=None)
