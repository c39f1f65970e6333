"""What the page Video does with its cards: starts keyframes or the film, watches, shows them again after a reload, stops."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.concurrency import run_in_threadpool

from flux_svd.artifact import Artifact, ImageArtifact, VideoArtifact, load_recipe
from flux_svd.errors import Cancelled, FluxSvdError
from flux_svd.plan import Plan, drawings_of, keyframes_only
from flux_svd.progress import Progress
from flux_svd.recipe import ImageRecipe, Selection, VideoRecipe, candidates_of, drawing_of, fingerprint
from flux_svd.request import VideoRequest
from flux_svd.web import parts
from flux_svd.web.board import Board, Chosen, Drawn, Pair, chosen_of, settle
from flux_svd.web.desk import Visitor, visitor_of
from flux_svd.web.exports import export_form
from flux_svd.web.film_fields import with_seed
from flux_svd.web.film_report import report_list
from flux_svd.web.film_view import fits_cards, ways_of
from flux_svd.web.filmstrip import Way, frames_between
from flux_svd.web.parts import Update, esc
from flux_svd.web.player import film_of, finished, frame, player
from flux_svd.web.watchers import Watchers

if TYPE_CHECKING:
    from flux_svd.web.video import VideoPage

FIELD_IDS = {"seed": "seed_film", "prompt": "film"}  # both pages are in one document, so their fields need ids of their own


@dataclass
class _Watched:
    """What one watcher knows: the plan of its job, the film it is part of, the board as it grows; `found` pictures are drawn."""

    job: Plan
    film: Plan
    board: Board
    visitor: Visitor
    ways: list[Way]
    found: int = 0

    @property
    def makes_film(self) -> bool:
        return isinstance(self.job.recipes[0], VideoRecipe)


class FilmJob:
    """The work of one page; whoever shows it is the page."""

    def __init__(self, page: VideoPage) -> None:
        self.page, self.desk = page, page.desk
        self._watchers = Watchers()

    def begin(self, request: gr.Request, what: str, board: Board, *wish: Any) -> Update:
        """Start what a button on a card or on the strip asked for: "keyframes" or "film"."""
        return self._begin(visitor_of(request), board, wish, whole=what == "film")

    def draw_keyframes(self, request: gr.Request, board: Board, *wish: Any) -> Update:
        """Start the keyframes that are not drawn yet."""
        return self._begin(visitor_of(request), board, wish, whole=False)

    def animate(self, request: gr.Request, board: Board, *wish: Any) -> Update:
        """Start the film, keyframes first where they are missing."""
        return self._begin(visitor_of(request), board, wish, whole=True)

    async def watch(self, request: gr.Request, job: str, board: Board, *wish: Any) -> AsyncIterator[Update]:
        """Show the work: previews, keyframes as each is finished, transitions, the film."""
        page, visitor = self.page, visitor_of(request)
        plan = await run_in_threadpool(self.desk.job_plan, job, visitor) if job else None
        if plan is None:
            yield {page.stop: gr.skip()}  # a generator that says nothing empties the page
            return
        is_newest = self._watchers.begin(visitor.tab)
        try:
            seen = await run_in_threadpool(self._watched, plan, board, wish, visitor)
        except FluxSvdError as error:  # the form is no film of this page any more
            yield {page.stat: parts.refused(error)}
            return
        yield {page.stop: gr.Button(visible=True), **page.told(seen.film), **(self.shown(seen) if seen.makes_film else {})}
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
                **ahead, page.acts: seen.board.acts, page.more: seen.board.more, page.board: seen.board,
                page.stop: gr.Button(visible=False), **({page.stat: ending} if ending else {}),
            }  # fmt: skip

    def halt(self, request: gr.Request, job: str) -> None:
        self.desk.stop(job, visitor_of(request))

    def shown_again(self, job: str, plan: Plan, request: VideoRequest, board: Board, wish: Sequence[Any]) -> Update:
        """Return the page as the job's request fills it, ready for `watch`."""
        page = self.page
        return {**page.fill_from(request, board, wish, plan), page.job: job, page.mark: parts.job_mark(job, self.desk)}

    def _begin(self, visitor: Visitor, board: Board, wish: Sequence[Any], *, whole: bool) -> Update:
        page = self.page
        try:
            plan = page.plan(board, wish)
            # A seed that was drawn is part of the wish from now on, so that it comes back with it.
            if plan.request.seed is None:
                plan = page.plan(board, with_seed(wish, plan.seed))
            todo = plan if whole else _missing(plan, board)
            if not todo.recipes:
                ready = parts.status("Keyframes ready", "nothing has changed")
                return {**page.look_ahead(board, *wish), page.stat: ready, page.job: ""}
            job = self.desk.start(todo, visitor)
        except FluxSvdError as error:
            return {page.stat: parts.not_started(), page.line: parts.problem(error, FIELD_IDS), page.job: ""}
        return {
            page.stat: parts.status("Starting", part=0), page.stop: gr.Button(visible=True), **page.told(plan),
            page.job: job, page.mark: parts.job_mark(job, self.desk), page.seed: str(plan.seed),
        }  # fmt: skip

    def _watched(self, job: Plan, board: Board, wish: Sequence[Any], visitor: Visitor) -> _Watched:
        """Return what is watched. A film is shown as its job has it, unless the user took a candidate: then all stay in sight."""
        film = job
        if not isinstance(job.recipes[0], VideoRecipe) or any(slot.pick for slot in board.slots):
            film = self.page.plan(board, wish, picked=False)
        ways = [] if film_of(film).passes else ways_of(settle(film_of(film), board)[0], board, self.page.finds)
        return _Watched(job, film, board, visitor, [replace(way, redo=False) for way in ways])

    def _after(self, seen: _Watched, item: Progress | Artifact) -> Update:
        if isinstance(item, VideoArtifact):
            seen.board = self._with_film(seen, item)
            return {**self.shown(seen, at_work=False), self.page.stat: finished(item), self.page.board: seen.board}
        if isinstance(item, ImageArtifact):
            seen.board = self._with_keyframe(seen, item)
            return {**self.shown(seen, at_work=False), self.page.board: seen.board}
        update: Update = {self.page.stat: parts.progress_status(item, "keyframe")}
        if item.phase in ("wait", "load", "draw"):
            return update | (self._take_finished(seen) if seen.makes_film else {}) | self._drawing(seen, item)
        if seen.makes_film:
            return update | self._take_finished(seen) | self._animating(seen, item)
        return update

    def _drawing(self, seen: _Watched, item: Progress) -> Update:
        """Return the preview of a keyframe at its card, and large while there is no film."""
        drawn = drawings_of(seen.job)
        if item.preview is None or not drawn or not fits_cards(seen.film, seen.board):
            return {}
        recipe = drawn[min(max(item.item, 1), len(drawn)) - 1]
        film = film_of(seen.film)
        index = next((n for n, key in enumerate(film.keyframes) if recipe in map(drawing_of, candidates_of(key))), None)
        if index is None or index >= len(seen.board.slots):
            return {}
        live = parts.preview(item.preview, f"Preview of keyframe {index + 1}", "pic")
        return {self.page.cards[index].pic: live, **({} if seen.board.player else {self.page.monitor: frame(film, live)})}

    def _animating(self, seen: _Watched, item: Progress) -> Update:
        update: Update = {}
        if item.phase == "animate":
            index = max(item.item, 1) - 1
            if index < len(seen.ways):
                update |= self._moving(seen, item, index)
            if item.preview is not None:
                update[self.page.monitor] = frame(film_of(seen.film), parts.preview(item.preview, "Preview of the film"))
            return update
        if item.phase == "score":  # keyframes are scored before the first transition, the film after the last
            return update
        seen.ways = [self._done(seen, n) for n in range(len(seen.ways))]
        return update | self.shown(seen)

    def _moving(self, seen: _Watched, item: Progress, index: int) -> Update:
        """Return the strip where a transition, counted from 0, is at work or just finished; those before it are finished."""
        before = seen.ways[index]
        is_over = item.steps > 0 and item.step >= item.steps
        if (before.step, before.steps) == (item.step, item.steps) and not item.preview and not is_over:
            return {}
        seen.ways = [self._done(seen, n) if n < index else way for n, way in enumerate(seen.ways)]
        seen.ways[index] = self._done(seen, index) if is_over else before.after(item)
        return self.shown(seen)

    def _done(self, seen: _Watched, index: int) -> Way:
        """Return a transition that is finished, with its kept frames where there are some."""
        way, film = seen.ways[index], settle(film_of(seen.film), seen.board)[0]
        strip = "" if way.state == "done" and way.frames else self.page.finds.strip(film.transitions[index])
        return Way("done", frames=(strip,) if strip else way.frames if way.state == "done" else ())

    def _take_finished(self, seen: _Watched) -> Update:
        """Return the strip and cards anew when a keyframe is finished though its film is not; their scores come with the film."""
        here = sum(bool(self.page.finds.picture(recipe)) for recipe in _drawn_fully(seen))
        if here == seen.found:
            return {}
        seen.found = here
        return self.shown(seen)

    def shown(self, seen: _Watched, *, at_work: bool = True) -> Update:
        """Return strip, cards and monitor; a film whose keyframes are not those of the cards is shown in the monitor alone."""
        if not fits_cards(seen.film, seen.board):
            return {self.page.monitor: seen.board.player} if seen.board.player else {}
        return self.page.shown(seen.film, seen.board, seen.ways if at_work and seen.makes_film else None)

    def _with_keyframe(self, seen: _Watched, made: ImageArtifact) -> Board:
        """Return the board with a keyframe, the candidates it was chosen from, and how like its neighbours it is."""
        scores, board = made.run.scores, seen.board
        rows = scores.get("candidates") or ()
        drawn = {
            fingerprint(made.recipe): self._drawn(made.path, seen, scores, scores.get("clip_cosine"), scores.get("likeness"))
        }
        drawn |= self._candidates(made.candidates, rows, seen, scores)
        chosen = chosen_of(rows, str(scores.get("scorer", "")))
        choices = dict([chosen]) if chosen else {}
        board = replace(board, drawn={**board.drawn, **drawn}, choices={**board.choices, **choices})
        return _with_pairs(board, seen.film, scores.get("pairs") or ())

    def _with_film(self, seen: _Watched, made: VideoArtifact) -> Board:
        board, scores, recipe = seen.board, made.run.scores, made.recipe
        between = [] if recipe.passes else frames_between(made.path, recipe)
        names = tuple(fingerprint(part) for part in recipe.transitions)
        ways = {name: Way("done", frames=frames) for name, frames in zip(names, between, strict=False)}
        own = scores.get("keyframes") or [None] * len(made.keyframes)
        alike = scores.get("likeness") or [None] * len(made.keyframes)
        drawn: dict[str, Drawn] = {}
        for key, path, score, like in zip(recipe.keyframes, made.keyframes, own, alike, strict=True):
            drawn.setdefault(fingerprint(key), self._drawn(path, seen, scores, score, like))
        choices: dict[tuple[str, ...], Chosen] = {}
        for rows in scores.get("choices") or ():
            drawn |= self._candidates(made.candidates, rows, seen, scores)
            chosen = chosen_of(rows, str(scores.get("scorer", "")))
            choices |= dict([chosen]) if chosen else {}
        address = self.desk.address(made.path, seen.visitor)
        settings = json.dumps(made.request.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
        acts = (
            f'<button type="button" class="do" data-copy="{esc(settings)}">Copy settings</button>'
            f'<a class="do" href="{esc(address)}?download" download>Download</a>'
        )
        report = made.run.report or {}
        board = replace(
            board, drawn={**board.drawn, **drawn}, ways={**board.ways, **ways}, choices={**board.choices, **choices},
            made=(names, report), player=player(made, address, self.desk.address(made.keyframes[0], seen.visitor)), acts=acts,
            more=export_form(address, recipe) + report_list(report, recipe.fps),
        )  # fmt: skip
        return _with_pairs(board, seen.film, scores.get("pairs") or ())

    def _drawn(self, path: Path, seen: _Watched, scores: Mapping[str, Any], match: object, likeness: object) -> Drawn:
        alike = f"Likeness {likeness:.2f}" if isinstance(likeness, int | float) else ""
        return Drawn(self.desk.address(path, seen.visitor), parts.match_words(scores, match), alike)

    def _candidates(
        self, paths: Iterable[Path], rows: Iterable[Mapping[str, Any]], seen: _Watched, scores: Mapping[str, Any]
    ) -> dict[str, Drawn]:
        """Return the candidates that were not taken and whose files are still there."""
        told = {str(row["stage"]): row for row in rows}
        found = {}
        for path in paths:
            try:
                name = fingerprint(load_recipe(path))
            except FluxSvdError:
                continue
            if name in told:
                found[name] = self._drawn(path, seen, scores, told[name].get("match"), told[name].get("likeness"))
        return found


def _drawn_fully(seen: _Watched) -> list[ImageRecipe]:
    """Return the pictures of a film as they are named by now: what is drawn after a choice is renamed with it."""
    return [one for key in settle(film_of(seen.film), seen.board)[1] for one in candidates_of(key)]


def _missing(plan: Plan, board: Board) -> Plan:
    """Return the plan that draws what the board does not show yet."""
    todo, film = keyframes_only(plan), film_of(plan)
    settled = dict(zip(map(fingerprint, film.keyframes), settle(film, board)[0].keyframes, strict=True))

    def is_missing(name: str) -> bool:
        return isinstance(settled[name], Selection) or fingerprint(settled[name]) not in board.drawn

    recipes = tuple(recipe for recipe in todo.recipes if is_missing(fingerprint(recipe)))
    return replace(todo, recipes=recipes, seconds=None)


def _with_pairs(board: Board, film: Plan, rows: Iterable[Mapping[str, Any]]) -> Board:
    """Return the board with the likeness of neighbours that a result tells of."""
    prints = [fingerprint(key) for key in settle(film_of(film), board)[0].keyframes]
    pairs = {}
    for row in rows:
        start, end = row["between"]
        if end <= len(prints):
            pairs[prints[start - 1], prints[end - 1]] = Pair(float(row["likeness"]), bool(row["too_far"]))
    return replace(board, pairs={**board.pairs, **pairs})
