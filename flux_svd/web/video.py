"""The page Video: a prompt, its stages as cards, their keyframes, and the film between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from flux_svd import storyboard
from flux_svd.errors import FluxSvdError, InvalidRequest
from flux_svd.plan import Plan
from flux_svd.request import VideoRequest
from flux_svd.web import drafts, fields, moves, parts
from flux_svd.web.board import Board, settle
from flux_svd.web.buttons import Buttons, relays
from flux_svd.web.cards import Card
from flux_svd.web.desk import Desk, visitor_of
from flux_svd.web.drafts import FilmDraft
from flux_svd.web.extras import Extras
from flux_svd.web.filling import Filling
from flux_svd.web.film_fields import FilmWish, extra_of, hand_of, read_form, video_fields
from flux_svd.web.film_view import fits_cards, view
from flux_svd.web.filmstrip import Way
from flux_svd.web.finds import Finds
from flux_svd.web.moves import MAX_STAGES, Hand
from flux_svd.web.parts import QUIET, Update, esc, show
from flux_svd.web.player import FPS, FRAMES, count_label, film_of, total_words
from flux_svd.web.video_job import FIELD_IDS, FilmJob

EXAMPLE = "a yellow star moving from left to right on a black background"
EXAMPLE_SEED = 7
COUNTS = (2, 3, 4, 5)
HAD_BACK = "Undo brings back what was there"


class VideoPage:
    """Build the page into the current Blocks context; `work` does what it is for."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.finds = Finds(desk)
        stages = storyboard.write_stages(EXAMPLE, 3)
        self.board = gr.State(Board(tuple(held.slot for held in moves.written(EXAMPLE, 3))))
        self.job = gr.State("")
        self.begun = gr.State(False)  # as on Create
        self.intent = gr.State("")
        self.work, self.buttons = FilmJob(self), Buttons(self)
        with gr.Column(elem_id="video"):
            with gr.Column(elem_id="v_ask"):
                self._build_ask()
            with gr.Column(elem_id="v_set"):
                self._build_settings()
            with gr.Column(elem_id="v_see", elem_classes="well"):
                self.monitor = show(elem_id="v_mon")
                with gr.Row(elem_classes="under"):
                    self.stat = show(parts.status("Ready"), elem_id="v_stat")
                    self.acts = show(elem_id="v_acts", elem_classes="acts")
            self.strip = show(elem_id="v_film", elem_classes="well")
            self.more = show(elem_id="v_more")
            with gr.Column(elem_id="v_board"):
                with gr.Row(elem_classes="head"):
                    show("<h2>Stages</h2>")
                    self.undo = gr.Button(
                        "Undo", elem_id="v_undo", elem_classes="edge", size="md", min_width=0, visible=False
                    )
                    self.add = gr.Button("Add stage", elem_id="v_add", elem_classes="edge", size="md", min_width=0)
                with gr.Row(elem_classes="cards"):
                    self.cards = [Card(n + 1, stages[n] if n < len(stages) else None, len(stages)) for n in range(MAX_STAGES)]
            self.arranger, self.maker = relays()
        self.wish = [
            self.board,
            self.film,
            self.seed,
            self.frames,
            self.fps,
            self.model,
            *self.filling.fields,
            self.extras.fields,
            *(card.text for card in self.cards),
            *(card.seed for card in self.cards),
            *(card.length for card in self.cards),
        ]
        self._wire()

    def _build_ask(self) -> None:
        self.film = gr.Textbox(EXAMPLE, label="Film", lines=3, max_lines=6, elem_id="f_film", interactive=True)
        self.count = gr.Radio(
            [(count_label(n), n) for n in COUNTS],
            value=3,
            label="Keyframes, with length",
            elem_id="f_keyframes",
            elem_classes="seg",
            interactive=True,
        )
        with gr.Row(elem_classes="pair"):
            self.write = gr.Button("Plan", elem_id="v_plan", elem_classes="edge", size="md", min_width=0)
            self.draw = gr.Button("Keyframes", elem_id="v_keys", elem_classes="edge", size="md", min_width=0)
        with gr.Row(elem_id="v_go"):
            self.short = show(elem_classes="ph")
            self.start = gr.Button("Animate", variant="primary", elem_id="anim", min_width=0)
            self.stop = gr.Button("Stop", variant="stop", elem_id="v_stop", elem_classes="stop", visible=False, min_width=0)
        self.line = show(elem_id="v_line", elem_classes="hint")
        self.mark = show(parts.job_mark("", self.desk), elem_id="v_job", elem_classes="hint")
        self.draft = show(elem_id="v_draft")

    def _build_settings(self) -> None:
        spec = self.desk.resolve("auto")
        self.extras = Extras("v_extra")
        with gr.Accordion("Settings", open=False, elem_id="v_fold"):
            self.model = gr.Dropdown(
                fields.model_choices(self.desk.image_models(), spec),
                value="auto",
                label="Model of the keyframes",
                elem_id="v_model",
                interactive=True,
            )
            with gr.Row(elem_classes="pair"):
                self.seed = gr.Textbox(
                    str(EXAMPLE_SEED), label="Seed", elem_id="f_seed_film", max_lines=1, min_width=0, interactive=True
                )
                self.again = gr.Button("New seed", elem_id="v_seed", elem_classes="edge", size="md", min_width=0)
            with gr.Row(elem_classes="pair"):
                self.frames = gr.Textbox(
                    label="Frames a transition",
                    placeholder=str(FRAMES),
                    elem_id="f_frames_per_transition",
                    max_lines=1,
                    min_width=0,
                    interactive=True,
                )
                self.fps = gr.Textbox(
                    label="Frames a second", placeholder=str(FPS), elem_id="f_fps", max_lines=1, min_width=0, interactive=True
                )
        self.filling = Filling(self.desk)
        with gr.Accordion("What will happen", open=False):
            self.facts = show(elem_id="v_facts")

    def _wire(self) -> None:
        at_once = {**QUIET, "concurrency_limit": None}
        self.plan_outs = [
            self.line,
            self.facts,
            self.strip,
            self.short,
            self.monitor,
            *(part for card in self.cards for part in (card.head, card.pic)),
        ]
        self.looking = (self.look_again, [self.stat, *self.wish], [*self.plan_outs, self.stat, self.draft])
        self.card_outs = [self.board, self.add, self.undo, *(part for card in self.cards for part in card.parts)]
        self.work_outs = [
            *self.plan_outs, self.board, self.stat, self.acts, self.more, self.stop, self.job, self.mark, self.seed,
        ]  # fmt: skip
        self.fill_outs = [
            self.film, self.count, self.model, self.seed, self.fps, self.frames, *self.filling.fields, self.extras.fields,
            self.extras.area, *self.card_outs,
        ]  # fmt: skip

        def rearrange(event: Any, change: Callable[..., Update]) -> None:
            event(change, self.wish, [*self.card_outs, self.stat], **at_once).then(*self.looking, **at_once)

        def work(event: Any, begin: Callable[..., Update], *also: Any) -> None:
            begun = event(begin, [*also, *self.wish], self.work_outs, concurrency_limit=None, trigger_mode="once", **QUIET)
            begun.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)
            self.watch_after(begun.success)

        rearrange(self.write.click, lambda board, *wish: self.write_stages(len(board.slots), board, *wish))
        self.count.input(self.write_stages, [self.count, *self.wish], [*self.card_outs, self.stat], **at_once).then(
            *self.looking, **at_once
        )
        self.undo.click(self.take_back, self.wish, self.fill_outs, **at_once).then(*self.looking, **at_once)
        rearrange(self.add.click, lambda board, *wish: self._with_hand(board, wish, moves.append))
        rearrange(self.arranger.click, self.buttons.arrange)
        for tick in (self.filling.loop, self.filling.four):
            rearrange(tick.input, lambda board, *wish: self._with_hand(board, wish, lambda hand: hand))
        self.extras.wire().then(*self.looking, **at_once)
        prepared = self.maker.click(
            self.buttons.prepare, self.wish, [self.intent, *self.card_outs], trigger_mode="once", **at_once
        )
        work(prepared.success, self.work.begin, self.intent)
        work(self.draw.click, self.work.draw_keyframes)
        work(self.start.click, self.work.animate)
        self.stop.click(self.work.halt, self.job, None, queue=False, api_visibility="private")
        self.again.click(moves.new_seed, None, self.seed, **at_once)
        boxes = [self.film, self.frames, self.fps, *(box for card in self.cards for box in (card.text, card.seed, card.length))]
        gr.on(
            [*(box.change for box in (*boxes, *self.filling.fields)), self.seed.change, self.model.change, self.begun.change],
            *self.looking,
            trigger_mode="always_last",
            **at_once,
        )

    def watch_after(self, event: Any) -> None:
        """Let the page watch its job whenever `event` has happened; a newer watcher takes over from an older one."""
        watched = event(
            self.work.watch, [self.job, *self.wish], self.work_outs, concurrency_limit=None, trigger_mode="multiple", **QUIET
        )
        watched.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)

    def write_stages(self, count: int, board: Board, film: str, *rest: Any) -> Update:
        """Write the stages of `film` anew, but for those that are the user's own; what else was set on cards can be had back."""
        if not film.strip():
            return {self.board: board}
        form, before = read_form(board, (film, *rest))
        hand = moves.written(film, int(count))
        hand[: len(before)] = [old if old.is_own else new for old, new in zip(before, hand, strict=False)]
        is_lossy = any(not old.is_blank and old not in hand for old in before)
        if not is_lossy:
            return self.deal(hand, board, form)
        told = parts.status("Stages written anew", HAD_BACK)
        return {**self.deal(hand, _remembering(board, (film, *rest)), form), self.stat: told}

    def take_back(self, board: Board, *wish: Any) -> Update:
        """Return the page as it was before its film was replaced; the same once more brings that film again."""
        if board.before is None:
            return {self.board: board}
        slots, values = board.before
        form, hand = read_form(replace(board, slots=slots), values)
        return self.formed(form, hand, _remembering(board, wish))

    def look_ahead(self, board: Board, *wish: Any) -> Update:
        """Show the plan of the film as the cards stand, or what stands against it."""
        try:
            plan = self.plan(board, wish, picked=False)
            settled = replace(plan, recipes=(settle(film_of(plan), board)[0],))  # what was made is found under these names
            plan = replace(plan, seconds=self.desk.seconds(settled))
        except FluxSvdError as error:
            return {self.line: parts.problem(error, FIELD_IDS), self.facts: ""}
        return {**self.told(plan), **self.shown(plan, board)}

    def look_again(self, request: gr.Request, stat: str, board: Board, *wish: Any) -> Update:
        """Look ahead, and keep the form; where a plan can be made, what was said of an earlier wish is forgotten."""
        form, hand = read_form(board, wish)
        draft = drafts.mark(FilmDraft(form, tuple(hand)), visitor_of(request).owner)
        ahead = {**self.look_ahead(board, *wish), self.draft: draft}
        after = parts.after_plan(stat) if ahead[self.facts] else stat
        return ahead if after == stat else {**ahead, self.stat: after}

    def fill(self, prompt: str, board: Board, wish: Sequence[Any]) -> Update:
        """Return the page with the stages of a prompt; the film that stood in the form as `wish` can be had back."""
        hand, board = moves.written(prompt, 3), self._remembered(board, wish)
        return {**self.deal(hand, board), **self.extras.filled({}), self.film: prompt, self.count: 3}

    def take_picture(self, film: VideoRequest, board: Board, wish: Sequence[Any]) -> Update:
        """Return the page with a film's first picture: as that film where the example stands, else on the first free card."""
        form, hand = read_form(board, wish)
        if self._is_example(form, hand) or not film.stages:
            return {**self.fill_from(film, board, wish), self.stat: parts.status("Ready")}
        hand, place = moves.give(hand, film.stages[0].picture or "", film.stages[0].prompt)
        if place < 0:
            return {self.stat: parts.status("No stage is free", "remove one, or the picture on one", passing=2)}
        return {
            **self.deal(hand, _remembering(board, wish), form),
            self.stat: parts.status(f"Picture put into stage {place + 1}", HAD_BACK),
        }

    def fill_from(self, request: VideoRequest, board: Board, wish: Sequence[Any], plan: Plan | None = None) -> Update:
        """Return the page as the request of a film made here fills it; with its plan, with the seed and names that one took.

        The film that stood in the form as `wish` can be had back.
        """
        board = self._remembered(board, wish)
        seed = plan.seed if plan else request.seed
        model, lost = self.desk.model_or_best(request.model)
        filled = self.filling.filled(request)
        four = bool(filled[self.filling.four])
        hand = hand_of(request, plan)[:MAX_STAGES]
        if four:
            hand = [replace(held, slot=replace(held.slot, options=False)) for held in hand]
        return {
            **self.deal(hand, board, loop=request.loop, four=four),
            **filled,
            **self.extras.filled(extra_of(request), lost),
            self.model: model,
            self.film: request.prompt,
            self.fps: str(request.fps),
            self.frames: str(request.frames_per_transition or ""),
            self.seed: "" if seed is None else str(seed),
        }

    def drawn_up(self, draft: FilmDraft, board: Board) -> Update:
        """Return the page as it was left; pictures and models that are gone since stay out."""
        model, _ = self.desk.model_or_best(draft.form.model)
        hand = [
            held if self.desk.has_picture(held.slot.picture) else replace(held, slot=replace(held.slot, picture=""))
            for held in draft.hand
        ]
        return self.formed(replace(draft.form, model=model), hand, board)

    def formed(self, form: FilmWish, hand: Hand, board: Board) -> Update:
        """Return the page with this form and these cards."""
        filling = (form.method, form.loop, form.colours, form.smooth, form.four)
        return {
            **self.deal(hand, board, form),
            **dict(zip(self.filling.fields, filling, strict=True)),
            **self.extras.filled(form.extra),
            self.film: form.film,
            self.count: len(hand) if len(hand) in COUNTS else gr.skip(),
            self.model: form.model,
            self.seed: form.seed,
            self.frames: form.frames,
            self.fps: form.fps,
        }

    def plan(self, board: Board, wish: Sequence[Any], *, picked: bool = True) -> Plan:
        """Return the plan of the film as the cards stand.

        Args:
            picked: see `video_fields`.

        Raises:
            InvalidRequest, ModelUnavailable, DoesNotFit: as they say; so is a film with more keyframes than cards.
        """
        form, hand = read_form(board, wish)
        plan = self.desk.plan(video_fields(form, hand, picked=picked))
        if film_of(plan).passes:
            one_by_one = "a model that makes transitions one by one; films made in one pass are for the command line"
            raise InvalidRequest("video_model", film_of(plan).model, one_by_one)
        if not fits_cards(plan, board):  # every keyframe needs a card here
            longest = f"at most {storyboard.MAX_TRAINED_FRAMES}, or another stage between"
            own = next((n for n, held in enumerate(hand) if _is_long(held.length)), None)
            raise InvalidRequest(*("frames_per_transition", form.frames) if own is None
                                 else (f"stages.{own}.length", hand[own].length), longest)  # fmt: skip
        return plan

    def told(self, plan: Plan) -> Update:
        return {
            self.line: parts.plan_line(plan, self.desk),
            self.facts: parts.plan_facts(plan),
            self.short: f'<div class="small">{esc(total_words(plan))}</div>',
        }

    def shown(self, plan: Plan, board: Board, ways: Sequence[Way] | None = None) -> Update:
        """Return strip, cards and monitor as the plan stands; while transitions are at work the monitor is theirs."""
        seen = view(plan, board, self.desk, self.finds, ways)
        found: Update = {self.strip: seen.strip}
        for card, pic, head in zip(self.cards, seen.pics, seen.heads, strict=False):
            found |= {card.pic: pic, card.head: head}
        return found if seen.monitor is None else {**found, self.monitor: seen.monitor}

    def deal(self, hand: Hand, board: Board, form: FilmWish | None = None, *, loop: bool = False, four: bool = False) -> Update:
        """Return the cards as this hand; loop and four options as the form has them, or as said."""
        loop, four = (form.loop, form.four) if form else (loop, four)
        found: Update = {
            self.board: replace(board, slots=tuple(held.slot for held in hand)),
            self.add: gr.Button(interactive=len(hand) < MAX_STAGES),
            self.undo: gr.Button(visible=board.before is not None),
        }
        for number, card in enumerate(self.cards, 1):
            found.update(card.dealt(number, hand, loop=loop, four=four))
        return found

    def _is_example(self, form: FilmWish, hand: Hand) -> bool:
        return form.film == EXAMPLE and hand == moves.written(EXAMPLE, 3)

    def _remembered(self, board: Board, wish: Sequence[Any]) -> Board:
        """Return the board that remembers the film of the form, unless that is the example as it came."""
        form, hand = read_form(board, wish)
        return board if self._is_example(form, hand) else _remembering(board, wish)

    def _with_hand(self, board: Board, wish: Sequence[Any], change: Callable[[Hand], Hand]) -> Update:
        form, hand = read_form(board, wish)
        return self.deal(change(hand), board, form)


def _remembering(board: Board, wish: Sequence[Any]) -> Board:
    return replace(board, before=(board.slots, tuple(wish)))


def _is_long(length: str) -> bool:
    return length.strip().isdigit() and int(length) > storyboard.MAX_TRAINED_FRAMES
