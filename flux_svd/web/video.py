"""The page Video: a prompt, its stages as cards, their keyframes, and the film between them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from flux_svd import storyboard
from flux_svd.artifact import ImageArtifact, VideoArtifact
from flux_svd.errors import Cancelled, FluxSvdError, InvalidRequest
from flux_svd.plan import Plan, keyframes_only
from flux_svd.progress import Progress
from flux_svd.recipe import ImageRecipe, fingerprint
from flux_svd.request import VideoRequest
from flux_svd.web import fields, parts
from flux_svd.web.cards import MAX_STAGES, Card, Hand, figures, undrawn
from flux_svd.web.desk import Desk, Visitor, visitor_of
from flux_svd.web.filmstrip import Key, Way, draw_strip, frames_between
from flux_svd.web.parts import QUIET, Update, esc, show
from flux_svd.web.player import FPS, FRAMES, count_label, film_of, finished, frame, no_film, player, total_words

EXAMPLE = "a yellow star moving from left to right on a black background"
EXAMPLE_SEED = 7
COUNTS = (2, 3, 4, 5)

_IDS = {"seed": "seed_film", "prompt": "film"}  # both pages are in one document, so their fields need ids of their own


@dataclass(frozen=True)
class Drawn:
    """A keyframe that was drawn: its picture as markup and its score in words."""

    address: str
    score: str


@dataclass(frozen=True)
class Board:
    """What a tab remembers: the names of its cards, what was made (by fingerprint), and the last film's player and facts."""

    names: tuple[str, ...]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    ways: dict[str, Way] = field(default_factory=dict)
    player: str = ""
    acts: str = ""


class VideoPage:
    """Build the page into the current Blocks context."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        stages = storyboard.write_stages(EXAMPLE, 3)
        self.board = gr.State(Board(tuple(stage.name for stage in stages)))
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
        work_outs = [*self.plan_outs, self.board, self.stat, self.acts, self.stop, *(card.seed for card in self.cards)]

        def rearrange(button: Any, change: Callable[..., Update]) -> None:
            button(change, self.wish, self.card_outs, **at_once).then(self.look_ahead, self.wish, self.plan_outs, **at_once)

        def work(button: gr.Button, run: Callable[..., Iterator[Update]]) -> None:
            button.click(
                run,
                self.wish,
                work_outs,
                api_visibility="private",
                show_progress="hidden",
                concurrency_limit=None,
                trigger_mode="once",
            ).failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)

        gr.on([self.write.click, self.count.input], self.write_stages, [self.count, *self.wish], self.card_outs, **at_once).then(
            self.look_ahead, self.wish, self.plan_outs, **at_once
        )
        rearrange(self.add.click, self.add_stage)
        for index, card in enumerate(self.cards):
            rearrange(card.left.click, self._mover(index, -1))
            rearrange(card.right.click, self._mover(index, 1))
            rearrange(card.remove.click, self._remover(index))
            work(card.redo, self._redoer(index))
        work(self.draw, self.draw_keyframes)
        work(self.start, self.animate)
        self.stop.click(self.halt, None, None, queue=False, api_visibility="private")
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

    def write_stages(self, count: int, board: Board, film: str, *rest: str) -> Update:
        """Write the stages of `film` anew; free, so nothing asks twice."""
        if not film.strip():
            return {self.board: board}
        return self._deal([(stage.name, stage.prompt, "") for stage in storyboard.write_stages(film, int(count))], board)

    def add_stage(self, board: Board, *wish: str) -> Update:
        hand = self._hand(board, wish)
        return self._deal([*hand, ("New", hand[-1][1], hand[-1][2])][:MAX_STAGES], board)

    def look_ahead(self, board: Board, *wish: str) -> Update:
        """Show the plan of the film as the cards stand, or what stands against it."""
        try:
            plan = self._plan(board, wish)
        except FluxSvdError as error:
            return {self.line: parts.problem(error, _IDS), self.facts: ""}
        return {**self._told(plan), **self._shown(plan, board)}

    def fill(self, prompt: str, seed: str, board: Board) -> Update:
        """Return the page as a picture sent here fills it: the prompt's stages, all from the picture's seed."""
        stages = storyboard.write_stages(prompt, 3)
        return {**self._deal([(stage.name, stage.prompt, seed) for stage in stages], board), self.film: prompt, self.count: 3}

    def fill_from(self, request: VideoRequest, board: Board) -> Update:
        """Return the page as the request of a film made here fills it."""
        stages = request.stages or ()
        hand: Hand = [
            (f"Stage {n}", stage.prompt, "" if stage.seed is None else str(stage.seed)) for n, stage in enumerate(stages, 1)
        ]
        if not hand:
            hand = [(stage.name, stage.prompt, "") for stage in storyboard.write_stages(request.prompt, request.keyframes or 3)]
        return {
            **self._deal(hand[:MAX_STAGES], board),
            self.film: request.prompt,
            self.fps: str(request.fps),
            self.frames: str(request.frames_per_transition or ""),
            self.seed: "" if request.seed is None else str(request.seed),
        }

    def halt(self, request: gr.Request) -> None:
        self.desk.stop(visitor_of(request))

    def draw_keyframes(self, request: gr.Request, board: Board, *wish: str) -> Iterator[Update]:
        """Draw the keyframes that are not drawn yet."""
        yield from self._work(visitor_of(request), board, wish, whole=False)

    def animate(self, request: gr.Request, board: Board, *wish: str) -> Iterator[Update]:
        """Make the film, keyframes first where they are missing."""
        yield from self._work(visitor_of(request), board, wish, whole=True)

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

    def _redoer(self, index: int) -> Callable[..., Iterator[Update]]:
        """Return what draws one keyframe anew, from a seed of its own; the others are found finished."""

        def redo(request: gr.Request, board: Board, *wish: str) -> Iterator[Update]:
            changed = list(wish)
            changed[-MAX_STAGES + index] = seed = str(secrets.randbelow(2**32))
            yield {self.cards[index].seed: seed}
            yield from self._work(visitor_of(request), board, changed, whole=False)

        return redo

    def _hand(self, board: Board, wish: Sequence[str]) -> Hand:
        texts, seeds = wish[-2 * MAX_STAGES : -MAX_STAGES], wish[-MAX_STAGES:]
        return [(name, texts[n], seeds[n]) for n, name in enumerate(board.names)]

    def _deal(self, hand: Hand, board: Board) -> Update:
        found: Update = {
            self.board: replace(board, names=tuple(name for name, _, _ in hand)),
            self.add: gr.Button(interactive=len(hand) < MAX_STAGES),
        }
        for number, card in enumerate(self.cards, 1):
            found.update(card.dealt(number, hand))
        return found

    def _plan(self, board: Board, wish: Sequence[str]) -> Plan:
        film, seed, frames, fps, model = wish[:5]
        hand = self._hand(board, wish)
        plan = self.desk.plan(fields.video_fields(film, seed, frames, fps, model, [(text, own) for _, text, own in hand]))
        if len(film_of(plan).keyframes) != len(hand):  # every keyframe needs a card here
            longest = f"at most {storyboard.MAX_TRAINED_FRAMES}, or another stage between"
            raise InvalidRequest("frames_per_transition", frames, longest)
        return plan

    def _told(self, plan: Plan) -> Update:
        return {
            self.line: parts.plan_line(plan, self.desk),
            self.facts: parts.plan_facts(plan),
            self.short: f'<div class="small">{esc(total_words(plan))}</div>',
        }

    def _shown(self, plan: Plan, board: Board, ways: Sequence[Way] | None = None) -> Update:
        """Return strip, cards and monitor as the plan stands; while transitions are at work the monitor is theirs."""
        film = film_of(plan)
        found: Update = {}
        keys = []
        for index, (name, recipe, stage) in enumerate(zip(board.names, film.keyframes, plan.stages, strict=True)):
            one, card = board.drawn.get(fingerprint(recipe)), self.cards[index]
            alt = f"Keyframe {index + 1}: {stage.prompt}"
            markup = parts.picture(one.address, alt, film.width, film.height, "pic") if one else ""
            keys.append(Key(name, markup))
            found[card.pic] = markup or undrawn(film.width, film.height)
            found[card.head] = figures(index + 1, one.score if one else "")
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

    def _work(self, visitor: Visitor, board: Board, wish: Sequence[str], *, whole: bool) -> Iterator[Update]:
        try:
            plan = self._plan(board, wish)
        except FluxSvdError as error:
            yield {self.stat: parts.not_started(), self.line: parts.problem(error, _IDS)}
            return
        yield {self.stat: parts.status("Starting", part=0), self.stop: gr.Button(visible=True), **self._told(plan)}
        try:
            for update in self._draw_missing(plan, board, visitor):
                board = update.get(self.board, board)
                yield update
            ending = parts.status("Keyframes ready", "each is cheap to redo; Animate makes the film")
            if whole:
                for update in self._make_film(plan, board, visitor):
                    board = update.get(self.board, board)
                    yield update
                ending = ""
        except Cancelled:
            ending = parts.status("Stopped", "finished parts are kept")
        except FluxSvdError as error:
            ending = parts.refused(error)
        told: Update = {self.stat: ending} if ending else {}
        plan = self._plan(board, wish)  # its time is better known now
        told |= self._told(plan)
        yield {**self._shown(plan, board), **told, self.acts: board.acts, self.board: board, self.stop: gr.Button(visible=False)}

    def _draw_missing(self, plan: Plan, board: Board, visitor: Visitor) -> Iterator[Update]:
        keyframes = enumerate(film_of(plan).keyframes)
        drawn_here = {index: recipe for index, recipe in keyframes if isinstance(recipe, ImageRecipe)}
        missing = [index for index, recipe in drawn_here.items() if fingerprint(recipe) not in board.drawn]
        if not missing:
            return
        todo = replace(keyframes_only(plan), recipes=tuple(drawn_here[index] for index in missing), seconds=None)
        for item in self.desk.run(todo, visitor):
            if isinstance(item, Progress):
                index = missing[max(item.item, 1) - 1] if item.phase != "wait" else missing[0]
                update: Update = {self.stat: parts.progress_status(item, "keyframe")}
                if item.preview is not None:
                    live = parts.preview(item.preview, f"Preview of keyframe {index + 1}", "pic")
                    update |= {self.cards[index].pic: live}
                    if not board.player:
                        update |= {self.monitor: frame(film_of(plan), live)}
                yield update
            elif isinstance(item, ImageArtifact):
                score = parts.match_words(item.run.scores, item.run.scores.get("clip_cosine"))
                drawn = {**board.drawn, fingerprint(item.recipe): Drawn(self.desk.address(item.path, visitor), score)}
                board = replace(board, drawn=drawn)
                yield {**self._shown(plan, board), self.board: board}

    def _make_film(self, plan: Plan, board: Board, visitor: Visitor) -> Iterator[Update]:
        film = film_of(plan)
        ways = [board.ways.get(fingerprint(way), Way()) for way in film.transitions]
        yield self._shown(plan, board, ways)
        for item in self.desk.run(plan, visitor):
            if isinstance(item, Progress):
                update: Update = {self.stat: parts.progress_status(item, "keyframe")}
                if item.phase == "animate":
                    index = max(item.item, 1) - 1
                    ways = [replace(way, state="done") if n < index else way for n, way in enumerate(ways)]
                    if (ways[index].step, ways[index].steps) != (item.step, item.steps) or item.preview:
                        ways[index] = ways[index].after(item)
                        update |= self._shown(plan, board, ways)
                    if item.preview is not None:
                        update[self.monitor] = frame(film_of(plan), parts.preview(item.preview, "Preview of the film"))
                elif item.phase in ("decode", "encode"):
                    ways = [replace(way, state="done") for way in ways]
                    update |= self._shown(plan, board, ways)
                yield update
            elif isinstance(item, VideoArtifact):
                board = self._with_film(board, item, visitor)
                yield {**self._shown(plan, board), self.stat: finished(item), self.board: board}

    def _with_film(self, board: Board, made: VideoArtifact, visitor: Visitor) -> Board:
        between = frames_between(made.path, made.recipe)
        ways = {
            fingerprint(part): Way("done", frames=frames) for part, frames in zip(made.recipe.transitions, between, strict=True)
        }
        address = self.desk.address(made.path, visitor)
        shown = player(made, address, self.desk.address(made.keyframes[0], visitor))
        settings = json.dumps(made.request.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
        acts = (
            f'<button type="button" class="do" data-copy="{esc(settings)}">Copy settings</button>'
            f'<a class="do" href="{esc(address)}?download" download>Download</a>'
        )
        return replace(board, ways={**board.ways, **ways}, player=shown, acts=acts)
