"""The page Create: one prompt and one button; pictures with their scores; everything else is folded away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from flux_svd.artifact import load_request
from flux_svd.catalog import ModelSpec
from flux_svd.errors import FluxSvdError, UnreadableFile
from flux_svd.pocket.world import unknown_words
from flux_svd.request import ImageRequest, Request
from flux_svd.storyboard import suggest_kind
from flux_svd.web import fields, parts, results
from flux_svd.web.create_job import PictureJob
from flux_svd.web.desk import Desk
from flux_svd.web.parts import QUIET, Update, esc, show
from flux_svd.web.references import References
from flux_svd.web.results import Results

EXAMPLE = "a red circle on a blue background"


class CreatePage:
    """Build the page into the current Blocks context; `work` does what it is for."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        spec = desk.resolve("auto")
        self.results = gr.State(Results())
        self.used_seed = gr.State("")
        self.job = gr.State("")
        self.work = PictureJob(self)
        with gr.Row(elem_id="create"):
            with gr.Column(elem_id="c_ask"):
                self._build_ask()
            with gr.Column(elem_id="c_see", elem_classes="well"):
                self._build_see(spec)
            with gr.Column(elem_id="c_set"):
                self._build_settings(spec)
        self.wish = [
            self.prompt,
            self.shape,
            self.count,
            self.model,
            self.seed,
            self.fresh,
            self.steps,
            self.guidance,
            self.negative,
            self.references.ids,
        ]
        self.form = [*self.wish, self.references.area]
        self._wire()

    def _build_ask(self) -> None:
        self.prompt = gr.Textbox(EXAMPLE, label="Prompt", lines=2, max_lines=8, elem_id="f_prompt", interactive=True)
        self.about = show(elem_id="c_about", elem_classes="hint", clickable=True)
        with gr.Row(elem_id="go"):
            self.start = gr.Button("Generate", variant="primary", elem_id="gen", min_width=0)
            self.stop = gr.Button("Stop", variant="stop", elem_id="stop", elem_classes="stop", visible=False, min_width=0)
        self.line = show(elem_id="c_line", elem_classes="hint")
        self.mark = show(parts.job_mark("", self.desk), elem_id="c_job", elem_classes="hint")

    def _build_see(self, spec: ModelSpec) -> None:
        with gr.Row(elem_id="c_top"):
            self.stat = show(parts.status("Ready", "an example is filled in"), elem_id="stat")
            self.acts = show(elem_id="c_acts", elem_classes="acts", clickable=True)
        self.pic = show(results.empty(*spec.size), elem_id="pic")
        self.row = show(elem_id="c_row", elem_classes="hint", clickable=True)

    def _build_settings(self, spec: ModelSpec) -> None:
        self.shape = gr.Radio(
            fields.shape_choices(spec),
            value="1:1",
            label="Shape",
            elem_id="f_width",
            elem_classes=["seg", "shape"],
            interactive=True,
        )
        self.count = gr.Radio([1, 2, 4], value=1, label="Pictures", elem_id="f_count", elem_classes="seg", interactive=True)
        with gr.Accordion("References", open=False, visible="references" in spec.obeys) as self.references_fold:
            self.references = References(self.desk)
        with gr.Accordion("Settings", open=False, elem_id="c_fold"):
            ready, others = self.desk.image_models()
            self.model = gr.Dropdown(
                fields.model_choices(ready, spec), value="auto", label="Model", elem_id="f_model", interactive=True
            )
            with gr.Row(elem_classes="pair"):
                self.seed = gr.Textbox(
                    label="Seed", placeholder="drawn at random", elem_id="f_seed", interactive=True, max_lines=1, min_width=0
                )
                self.fresh = gr.Checkbox(
                    True, label="New seed each time", elem_id="c_fresh", elem_classes="check", interactive=True, min_width=0
                )
            with gr.Row(elem_classes="pair"):
                self.steps = gr.Textbox(
                    label="Steps", placeholder=str(spec.steps), elem_id="f_steps", interactive=True, max_lines=1, min_width=0
                )
                self.guidance = gr.Textbox(
                    label="Guidance",
                    placeholder=f"{spec.guidance:g}",
                    elem_id="f_guidance",
                    max_lines=1,
                    interactive=True,
                    visible="guidance" in spec.obeys,
                    min_width=0,
                )
            self.negative = gr.Textbox(
                label="Negative prompt",
                placeholder="what to avoid",
                elem_id="f_negative_prompt",
                interactive=True,
                lines=1,
                max_lines=3,
                visible="negative_prompt" in spec.obeys,
            )
            show('<div class="label">Settings of a picture or film made here</div>')
            self.given = gr.File(
                label="Settings of a picture or film made here",
                show_label=False,
                file_types=[".png", ".mp4"],
                type="filepath",
                height=80,
                elem_id="f_file",
                elem_classes="drop",
                interactive=True,
            )
            self.given_note = show(elem_classes="hint")
        if others:
            with gr.Accordion("Other models", open=False):
                show(results.others(others))
        with gr.Accordion("What will happen", open=False):
            self.facts = show(elem_id="c_facts")

    def _wire(self) -> None:
        self.seen = [
            self.stat, self.line, self.pic, self.row, self.acts, self.stop, self.results, self.seed, self.used_seed, self.facts,
            self.job, self.mark,
        ]  # fmt: skip
        begun = self.start.click(self.work.begin, self.wish, self.seen, concurrency_limit=None, trigger_mode="once", **QUIET)
        begun.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)
        self.watch_after(begun.success)
        self.stop.click(self.work.halt, self.job, None, queue=False, api_visibility="private")
        self.row.click(self.pick, self.results, self.seen, **QUIET)
        self.model.change(
            self.choose_model,
            [self.model, self.shape],
            [self.shape, self.steps, self.guidance, self.negative, self.references_fold],
            **QUIET,
        )
        gr.on(
            [self.prompt.change, self.model.change],
            self.read_prompt,
            [self.prompt, self.model],
            self.about,
            trigger_mode="always_last",
            **QUIET,
        )
        self.references.wire().then(self.look_ahead, self.wish, [self.line, self.facts], **QUIET)
        plain = [
            box.change for box in (self.shape, self.count, self.model, self.steps, self.guidance, self.negative, self.prompt)
        ]
        gr.on(
            [*plain, self.seed.change],
            self.look_ahead,
            self.wish,
            [self.line, self.facts],
            trigger_mode="always_last",
            **QUIET,
        )
        gr.on([self.shape.change, self.model.change], self.show_shape, [self.results, *self.wish], self.pic, **QUIET)
        # A seed that no run has put there was typed: it is meant to be used.
        self.seed.change(
            lambda seed, used: False if seed.strip() not in ("", used) else gr.skip(),
            [self.seed, self.used_seed],
            self.fresh,
            **QUIET,
        )

    def watch_after(self, event: Any) -> None:
        """Let the page watch its job whenever `event` has happened; a newer watcher takes over from an older one."""
        watched = event(
            self.work.watch, [self.job, self.results, *self.wish], self.seen, concurrency_limit=None, trigger_mode="multiple",
            **QUIET,
        )  # fmt: skip
        watched.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)

    def look_ahead(self, *wish: Any) -> Update:
        """Show the plan before it is paid for, or what stands against it."""
        try:
            plan = self.desk.plan(fields.image_fields(self.desk, *wish))
        except FluxSvdError as error:
            return {self.line: parts.problem(error), self.facts: ""}
        return {self.line: parts.plan_line(plan, self.desk), self.facts: parts.plan_facts(plan)}

    def show_shape(self, now: Results, *wish: Any) -> Any:
        """Return the empty place in the chosen shape, as long as there is no picture."""
        return gr.skip() if now.pictures else results.empty(*fields.size_of(self.desk, wish))

    def read_prompt(self, prompt: str, model: str) -> str:
        """Return what can be said about the words: a film meant, or words the pocket model does not know."""
        notes = []
        kind, why = suggest_kind(prompt)
        if kind == "video":
            notes.append(
                f'<p class="quiet">This reads like a film (<bdi>{esc(why)}</bdi>). '
                '<button type="button" class="do link" data-do="film">Make a film instead</button></p>'
            )
        if self.desk.resolve(model).pocket:
            unknown = unknown_words(prompt)
            if unknown:
                words = ", ".join(unknown[:12]) + (" …" if len(unknown) > 12 else "")
                notes.append(f'<p class="quiet">The pocket model does not know and ignores: <bdi>{esc(words)}</bdi></p>')
        return "".join(notes)

    def choose_model(self, name: str, shape: str) -> list[Any]:
        spec = self.desk.resolve(name)
        return [
            gr.Radio(choices=fields.shape_choices(spec), value=shape if shape in fields.shapes_of(spec) else "1:1"),
            gr.Textbox(placeholder=str(spec.steps)),
            gr.Textbox(placeholder=f"{spec.guidance:g}", visible="guidance" in spec.obeys),
            gr.Textbox(visible="negative_prompt" in spec.obeys),
            gr.Accordion(visible="references" in spec.obeys),
        ]

    def pick(self, event: gr.EventData, now: Results) -> Update:
        index = int(event._data["i"])
        if not 0 <= index < len(now.pictures):
            return {self.results: now}
        now = replace(now, chosen=index)
        return {**self.drawn(now), self.results: now, self.stat: results.done(now)}

    def restore(self, path: str) -> tuple[Request | None, str]:
        """Return the request in a dropped file and a line that says so, or why not."""
        try:
            request = load_request(Path(path))
        except FluxSvdError as error:
            return None, parts.problem(
                error if not isinstance(error, UnreadableFile) else UnreadableFile("file", Path(path).name, error.allowed)
            )
        return request, '<div role="status" class="quiet">Its settings are back.</div>'

    def filled(self, request: ImageRequest) -> Update:
        """Return the form as this request fills it."""
        known = request.model == "auto" or request.model in {spec.name for spec in self.desk.image_models()[0]}
        name = request.model if known else "auto"
        spec = self.desk.resolve(name)
        references = tuple(one for one in request.references if self.desk.has_picture(one))
        return {
            self.prompt: request.prompt,
            self.model: name,
            self.shape: gr.Radio(
                choices=fields.shape_choices(spec), value=fields.shape_named(spec, request.width, request.height)
            ),
            self.count: request.count if request.count in (1, 2, 4) else 1,
            self.seed: "" if request.seed is None else str(request.seed),
            self.fresh: request.seed is None,
            self.steps: "" if request.steps is None else str(request.steps),
            self.guidance: "" if request.guidance is None else f"{request.guidance:g}",
            self.negative: request.negative_prompt or "",
            self.references.ids: references,
            self.references.area: self.references.drawn(references),
        }

    def drawn(self, now: Results, width: int = 1, height: int = 1) -> Update:
        if not now.pictures:
            return {self.pic: results.empty(width, height), self.row: "", self.acts: ""}
        return {self.pic: results.large(now.large), self.row: results.row(now), self.acts: results.actions(now.large)}
