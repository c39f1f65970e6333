"""The page Video: a prompt, its stages as cards, their keyframes, and the film between them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from flux_svd import storyboard
from flux_svd.errors import FluxSvdError, InvalidRequest
from flux_svd.plan import Plan
from flux_svd.recipe import fingerprint
from flux_svd.request import VideoRequest
from flux_svd.web import fields, parts
from flux_svd.web.board import Board, Slot
from flux_svd.web.cards import MAX_STAGES, Card, Hand, figures, undrawn
from flux_svd.web.desk import Desk
from flux_svd.web.filmstrip import Key, Way, draw_strip
from flux_svd.web.parts import QUIET, Update, esc, show
from flux_svd.web.player import FPS, FRAMES, count_label, film_of, no_film, total_words
from flux_svd.web.references import small_given
from flux_svd.web.video_job import FIELD_IDS, FilmJob

EXAMPLE = "a yellow star moving from left to right on a black background"
EXAMPLE_SEED = 7
COUNTS = (2, 3, 4, 5)


class VideoPage:
    """Build the page into the current Blocks context; `work` does what it is for."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        stages = storyboard.write_stages(EXAMPLE, 3)
        self.board = gr.State(Board(tuple(Slot(stage.name) for stage in stages)))
        self.job = gr.State("")
        self.work = FilmJob(self)
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
            with gr.Column(elem_id="v_board"):
                with gr.Row(elem_classes="head"):
                    show("<h2>Stages</h2>")
                    self.add = gr.Button("Add stage", elem_id="v_add", elem_classes="edge", size="md", min_width=0)
                with gr.Row(elem_classes="cards"):
                    self.cards = [Card(n + 1, stages[n] if n < len(stages) else None, len(stages)) for n in range(MAX_STAGES)]
        self.wish = [
            self.board,
            self.film,
            self.seed,
            self.frames,
            self.fps,
            self.model,
            *(card.text for card in self.cards),
            *(card.seed for card in self.cards),
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

    def _build_settings(self) -> None:
        spec = self.desk.resolve("auto")
        with gr.Accordion("Settings", open=False, elem_id="v_fold"):
            self.model = gr.Dropdown(
                fields.model_choices(self.desk.image_models()[0], spec),
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
        self.card_outs = [self.board, self.add, *(part for card in self.cards for part in card.parts)]
        self.work_outs = [
            *self.plan_outs, self.board, self.stat, self.acts, self.stop, self.job, self.mark,
            *(card.seed for card in self.cards),
        ]  # fmt: skip
        self.fill_outs = [self.film, self.count, self.seed, self.fps, self.frames, *self.card_outs]

        def rearrange(button: Any, change: Callable[..., Update]) -> None:
            button(change, self.wish, self.card_outs, **at_once).then(self.look_ahead, self.wish, self.plan_outs, **at_once)

        def work(event: Any, begin: Callable[..., Update]) -> None:
            begun = event(begin, self.wish, self.work_outs, concurrency_limit=None, trigger_mode="once", **QUIET)
            begun.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)
            self.watch_after(begun.success)

        gr.on([self.write.click, self.count.input], self.write_stages, [self.count, *self.wish], self.card_outs, **at_once).then(
            self.look_ahead, self.wish, self.plan_outs, **at_once
        )
        rearrange(self.add.click, self.add_stage)
        for index, card in enumerate(self.cards):
            rearrange(card.left.click, self._mover(index, -1))
            rearrange(card.right.click, self._mover(index, 1))
            rearrange(card.remove.click, self._remover(index))
            rearrange(card.head.click, self._picturer(index))
            reseeded = card.redo.click(self._reseeder(index), None, card.seed, trigger_mode="once", **at_once)
            work(reseeded.success, self.work.draw_keyframes)
        work(self.draw.click, self.work.draw_keyframes)
        work(self.start.click, self.work.animate)
        self.stop.click(self.work.halt, self.job, None, queue=False, api_visibility="private")
        self.again.click(lambda: str(secrets.randbelow(2**32)), None, self.seed, **at_once)
        boxes = [self.film, self.frames, self.fps, *(box for card in self.cards for box in (card.text, card.seed))]
        gr.on(
            [*(box.change for box in boxes), self.seed.change, self.model.change],
            self.look_ahead,
            self.wish,
            self.plan_outs,
            trigger_mode="always_last",
            **at_once,
        )

    def watch_after(self, event: Any) -> None:
        """Let the page watch its job whenever `event` has happened; a newer watcher takes over from an older one."""
        watched = event(
            self.work.watch, [self.job, *self.wish], self.work_outs, concurrency_limit=None, trigger_mode="multiple", **QUIET
        )
        watched.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)

    def write_stages(self, count: int, board: Board, film: str, *rest: str) -> Update:
        """Write the stages of `film` anew; free, so nothing asks twice."""
        if not film.strip():
            return {self.board: board}
        return self._deal([(Slot(stage.name), stage.prompt, "") for stage in storyboard.write_stages(film, int(count))], board)

    def add_stage(self, board: Board, *wish: str) -> Update:
        hand = self._hand(board, wish)
        return self._deal([*hand, (Slot("New"), hand[-1][1], hand[-1][2])][:MAX_STAGES], board)

    def look_ahead(self, board: Board, *wish: str) -> Update:
        """Show the plan of the film as the cards stand, or what stands against it."""
        try:
            plan = self.plan(board, wish)
        except FluxSvdError as error:
            return {self.line: parts.problem(error, FIELD_IDS), self.facts: ""}
        return {**self.told(plan), **self.shown(plan, board)}

    def fill(self, prompt: str, seed: str, board: Board) -> Update:
        """Return the page as a picture sent here fills it: the prompt's stages, all from the picture's seed."""
        hand: Hand = [(Slot(stage.name), stage.prompt, seed) for stage in storyboard.write_stages(prompt, 3)]
        return {**self._deal(hand, board), self.film: prompt, self.count: 3}

    def fill_from(self, request: VideoRequest, board: Board, plan: Plan | None = None) -> Update:
        """Return the page as the request of a film made here fills it; with its plan, with the seed and names that one took."""
        stages = request.stages or ()
        told = [stage.name for stage in plan.stages] if plan else []
        names = told if len(told) == len(stages) else [f"Stage {n}" for n in range(1, len(stages) + 1)]
        seed = plan.seed if plan else request.seed
        hand: Hand = [
            (Slot(names[n], stage.picture or ""), stage.prompt, "" if stage.seed is None else str(stage.seed))
            for n, stage in enumerate(stages)
        ]
        if not hand:
            written = storyboard.write_stages(request.prompt, request.keyframes or 3)
            hand = [(Slot(stage.name), stage.prompt, "") for stage in written]
        return {
            **self._deal(hand[:MAX_STAGES], board),
            self.film: request.prompt,
            self.fps: str(request.fps),
            self.frames: str(request.frames_per_transition or ""),
            self.seed: "" if seed is None else str(seed),
        }

    def _mover(self, index: int, by: int) -> Callable[..., Update]:
        def move(board: Board, *wish: str) -> Update:
            hand = self._hand(board, wish)
            if 0 <= index + by < len(hand):
                hand[index], hand[index + by] = hand[index + by], hand[index]
            return self._deal(hand, board)

        return move

    def _remover(self, index: int) -> Callable[..., Update]:
        def remove(board: Board, *wish: str) -> Update:
            hand = self._hand(board, wish)
            return self._deal([*hand[:index], *hand[index + 1 :]] if len(hand) > 2 else hand, board)

        return remove

    def _picturer(self, index: int) -> Callable[..., Update]:
        """Return what gives one card a picture of the user's, or takes it away again."""

        def picture(event: gr.EventData, board: Board, *wish: str) -> Update:
            given = str(event._data["id"]) if event._data["do"] == "give" else ""
            hand = self._hand(board, wish)
            if index >= len(hand) or (given and not self.desk.has_picture(given)):
                return {self.board: board}
            slot, text, seed = hand[index]
            hand[index] = replace(slot, picture=given), text, seed
            return self._deal(hand, board)

        return picture

    def _reseeder(self, index: int) -> Callable[[], str]:
        """Return what gives one keyframe a seed of its own; the others are found finished."""
        return lambda: str(secrets.randbelow(2**32))

    def _hand(self, board: Board, wish: Sequence[str]) -> Hand:
        texts, seeds = wish[-2 * MAX_STAGES : -MAX_STAGES], wish[-MAX_STAGES:]
        return [(slot, texts[n], seeds[n]) for n, slot in enumerate(board.slots)]

    def _deal(self, hand: Hand, board: Board) -> Update:
        found: Update = {
            self.board: replace(board, slots=tuple(slot for slot, _, _ in hand)),
            self.add: gr.Button(interactive=len(hand) < MAX_STAGES),
        }
        for number, card in enumerate(self.cards, 1):
            found.update(card.dealt(number, hand))
        return found

    def plan(self, board: Board, wish: Sequence[str]) -> Plan:
        film, seed, frames, fps, model = wish[:5]
        hand = self._hand(board, wish)
        stages = [(text, own, slot.picture) for slot, text, own in hand]
        plan = self.desk.plan(fields.video_fields(film, seed, frames, fps, model, stages))
        if len(film_of(plan).keyframes) != len(hand):  # every keyframe needs a card here
            longest = f"at most {storyboard.MAX_TRAINED_FRAMES}, or another stage between"
            raise InvalidRequest("frames_per_transition", frames, longest)
        return plan

    def told(self, plan: Plan) -> Update:
        return {
            self.line: parts.plan_line(plan, self.desk),
            self.facts: parts.plan_facts(plan),
            self.short: f'<div class="small">{esc(total_words(plan))}</div>',
        }

    def shown(self, plan: Plan, board: Board, ways: Sequence[Way] | None = None) -> Update:
        """Return strip, cards and monitor as the plan stands; while transitions are at work the monitor is theirs."""
        film = film_of(plan)
        found: Update = {}
        keys = []
        for index, (slot, recipe, stage) in enumerate(zip(board.slots, film.keyframes, plan.stages, strict=True)):
            one, card = board.drawn.get(fingerprint(recipe)), self.cards[index]
            alt = f"Keyframe {index + 1}: {stage.prompt}"
            given = small_given(self.desk, slot.picture, 306) if slot.picture else ""
            address = given or (one.address if one else "")
            markup = parts.picture(address, alt, film.width, film.height, "pic") if address else ""
            keys.append(Key(slot.name, markup))
            ratio = f'style="--ratio:{film.width}/{film.height}"'  # a given picture is cut to it
            found[card.pic] = f"<div {ratio}>{markup}</div>" if markup else undrawn(film.width, film.height)
            found[card.head] = figures(index + 1, one.score if one else "", given=bool(given))
        done = sum(fingerprint(way) in board.ways for way in film.transitions)
        pocket = "made by pocket models" if parts.is_pocket(plan.model) else ""
        words = f"{done} of {len(film.transitions)} transitions done" if done else pocket
        head = (
            f'<div class="sumup"><div class="total">{esc(total_words(plan))}</div><span class="quiet">{esc(words)}</span></div>'
        )
        now = ways or [board.ways.get(fingerprint(way), Way()) for way in film.transitions]
        found[self.strip] = head + draw_strip(keys, now, film.width, film.height)
        if board.player:
            found[self.monitor] = board.player
        elif ways is None:
            found[self.monitor] = no_film(film)
        return found
