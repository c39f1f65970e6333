"""The page Create: one prompt and one button; pictures with their scores; everything else is folded away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from flux_svd import again
from flux_svd.catalog import ModelSpec
from flux_svd.errors import FluxSvdError, UnreadableFile
from flux_svd.plan import Plan
from flux_svd.pocket.world import unknown_words
from flux_svd.presets import Preset
from flux_svd.recipe import VideoRecipe, candidates_of
from flux_svd.request import ImageRequest, Request
from flux_svd.storyboard import suggest_kind
from flux_svd.web import drafts, fields, parts, results
from flux_svd.web.create_job import PictureJob
from flux_svd.web.desk import Desk, visitor_of
from flux_svd.web.efforts import USUAL, effort_choices
from flux_svd.web.extras import Extras
from flux_svd.web.fields import COUNTS, SQUARE, PictureForm
from flux_svd.web.parts import QUIET, Update, esc, show
from flux_svd.web.picture_card import PictureCard
from flux_svd.web.references import References
from flux_svd.web.results import Results

EXAMPLE = "a red circle on a blue background"


class CreatePage:
    """Build the page into the current Blocks context; `work` does what it is for."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        spec = desk.resolve("auto")
        self.used_seed = gr.State("")
        self.job = gr.State("")
        self.begun = gr.State(False)  # its change looks ahead as typing does, so that what was typed last is told last
        self.work = PictureJob(self)
        with gr.Row(elem_id="create"):
            with gr.Column(elem_id="c_ask"):
                self._build_ask()
            with gr.Column(elem_id="c_see", elem_classes="well"):
                self.card = PictureCard(desk, spec)
            with gr.Column(elem_id="c_set"):
                self._build_settings(spec)
        self.wish = [
            self.prompt,
            self.shape,
            self.count,
            self.model,
            self.effort,
            self.seed,
            self.fresh,
            self.steps,
            self.guidance,
            self.negative,
            self.references.ids,
            self.extras.fields,
        ]  # in the order of `PictureForm`
        self.results, self.stat, self.acts = self.card.results, self.card.stat, self.card.acts
        told = [self.line, self.facts, self.effort, self.stat, self.draft]
        self.looking = (self.look_again, [self.stat, *self.wish], told)
        self.form = [*self.wish, self.used_seed, self.references.area, self.extras.area]
        self._wire()

    def _build_ask(self) -> None:
        self.prompt = gr.Textbox(EXAMPLE, label="Prompt", lines=2, max_lines=8, elem_id="f_prompt", interactive=True)
        self.about = show(elem_id="c_about", elem_classes="hint", clickable=True)
        self.extras = Extras()
        with gr.Row(elem_id="go"):
            self.start = gr.Button("Generate", variant="primary", elem_id="gen", min_width=0)
            self.stop = gr.Button("Stop", variant="stop", elem_id="stop", elem_classes="stop", visible=False, min_width=0)
        self.line = show(elem_id="c_line", elem_classes="hint")
        self.mark = show(parts.job_mark("", self.desk), elem_id="c_job", elem_classes="hint")
        self.draft = show(elem_id="c_draft")

    def _build_settings(self, spec: ModelSpec) -> None:
        self.effort = gr.Radio(
            effort_choices(self.desk, PictureForm(EXAMPLE, SQUARE, 1, "auto", USUAL, "", True, "", "", "", (), {}), None),
            value=USUAL,
            label="Quality, and what it takes here",
            elem_id="f_preset",
            elem_classes="seg",
            interactive=True,
        )
        self.shape = gr.Radio(
            fields.shape_choices(spec),
            value=SQUARE,
            label="Shape",
            elem_id="f_width",
            elem_classes=["seg", "shape"],
            interactive=True,
        )
        self.count = gr.Radio(COUNTS, value=1, label="Pictures", elem_id="f_count", elem_classes="seg", interactive=True)
        obeyed = self.desk.obeyed("auto")
        with gr.Accordion("References", open=False, visible="references" in obeyed) as self.references_fold:
            self.references = References(self.desk)
        with gr.Accordion("Settings", open=False, elem_id="c_fold"):
            self.model = gr.Dropdown(
                fields.model_choices(self.desk.image_models(), spec), value="auto", label="Model", elem_id="f_model",
                interactive=True,
            )  # fmt: skip
            self.others = show(
                '<button type="button" class="do link" data-do="models">Other models</button>', elem_id="c_models", clickable=True
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
                    label="Steps",
                    placeholder=str(fields.steps_of(spec, USUAL)),
                    elem_id="f_steps",
                    interactive=True,
                    max_lines=1,
                    min_width=0,
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
        with gr.Accordion("What will happen", open=False):
            self.facts = show(elem_id="c_facts")

    def _wire(self) -> None:
        self.seen = [
            *self.card.parts, self.line, self.stop, self.seed, self.used_seed, self.facts, self.job, self.mark, self.effort,
        ]  # fmt: skip
        begun = self.start.click(self.work.begin, self.wish, self.seen, concurrency_limit=None, trigger_mode="once", **QUIET)
        begun.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)
        self.watch_after(begun.success)
        varied = self.acts.submit(self.work.vary, [self.results, *self.wish], self.seen, trigger_mode="once", **QUIET)
        self.watch_after(varied.success)
        enlarged = self.acts.expand(self.work.enlarge, [self.results, self.model], self.seen, trigger_mode="once", **QUIET)
        for event in (varied, enlarged):
            event.failure(parts.failed, None, [self.stat, self.stop], queue=False, **QUIET)
        self.stop.click(self.work.halt, self.job, None, queue=False, api_visibility="private")
        self.card.wire(self.model)
        self.acts.click(
            self.reuse,
            [self.results, self.references.ids],
            [self.seed, self.fresh, self.references.ids, self.references.area, self.references_fold, self.stat],
            **QUIET,
        ).then(*self.looking, **QUIET)
        self.model.change(
            self.choose_model,
            [self.model, self.shape, self.effort, self.results],
            [self.shape, self.steps, self.guidance, self.negative, self.references_fold, self.acts],
            **QUIET,
        )
        self.effort.input(self.choose_effort, [self.effort, self.model], self.steps, **QUIET)
        gr.on(
            [self.prompt.change, self.model.change, self.references.ids.change, self.begun.change],
            self.read_prompt,
            [self.prompt, self.model, self.references.ids],
            self.about,
            trigger_mode="always_last",
            **QUIET,
        )
        for area in (self.references, self.extras):
            area.wire().then(*self.looking, **QUIET)
        boxes = (self.shape, self.count, self.model, self.steps, self.guidance, self.negative, self.prompt, self.effort)
        gr.on(
            [*(box.change for box in boxes), self.seed.change, self.begun.change],
            *self.looking,
            trigger_mode="always_last",
            **QUIET,
        )
        resized = [self.shape.change, self.model.change, self.effort.change]
        gr.on(resized, self.show_shape, [self.results, *self.wish], self.card.pic, **QUIET)
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
        """Show the plan before it is paid for, or what stands against it, and what each effort would cost."""
        form = PictureForm(*wish)
        try:
            plan = self.desk.plan(fields.image_fields(self.desk, form))
        except FluxSvdError as error:
            efforts = gr.Radio(choices=effort_choices(self.desk, form, None))
            return {self.line: parts.problem(error), self.facts: "", self.effort: efforts}
        return {**self.planned(plan), self.effort: gr.Radio(choices=effort_choices(self.desk, form, plan))}

    def look_again(self, request: gr.Request, stat: str, *wish: Any) -> Update:
        """Look ahead, and keep the form; where a plan can be made, what was said of an earlier wish is forgotten."""
        ahead = {**self.look_ahead(*wish), self.draft: drafts.mark(PictureForm(*wish), visitor_of(request).owner)}
        after = parts.after_plan(stat) if ahead[self.facts] else stat
        return ahead if after == stat else {**ahead, self.stat: after}

    def planned(self, plan: Plan) -> Update:
        """Return what is told of a plan: size, steps, time and memory, and every decision."""
        first = plan.recipes[0]
        size = ""
        if not isinstance(first, VideoRecipe):
            [recipe, *_] = candidates_of(first)
            size = f'<div class="quiet">{recipe.width} × {recipe.height} · {recipe.steps} steps</div>'
        return {self.line: size + parts.plan_line(plan, self.desk), self.facts: parts.plan_facts(plan)}

    def show_shape(self, now: Results, *wish: Any) -> Any:
        """Return the empty place in the chosen shape, as long as there is no picture."""
        form = PictureForm(*wish)
        size = fields.size_of(self.desk.resolve(form.model), form.preset, form.shape)
        return gr.skip() if now.pictures else results.empty(*size)

    def read_prompt(self, prompt: str, model: str, references: tuple[str, ...]) -> str:
        """Return what can be said about the words: a film meant, or words the pocket model does not know."""
        notes = []
        kind, why = suggest_kind(prompt)
        if kind == "video":
            notes.append(
                f'<p class="quiet">This reads like a film (<bdi>{esc(why)}</bdi>). '
                '<button type="button" class="do link" data-do="film">Make a film instead</button></p>'
            )
        spec = self.desk.resolve(model, len(references))
        if spec.pocket:
            unknown = unknown_words(prompt, edits="references" in spec.obeys)
            if unknown:
                words = ", ".join(unknown[:12]) + (" …" if len(unknown) > 12 else "")
                notes.append(f'<p class="quiet">The pocket model does not know and ignores: <bdi>{esc(words)}</bdi></p>')
        return "".join(notes)

    def choose_model(self, name: str, shape: str, effort: Preset | None, now: Results) -> list[Any]:
        """Show what the model obeys. A shape it has stays unsaid: settings that are coming back may just be filling it in."""
        spec, obeyed = self.desk.resolve(name), self.desk.obeyed(name)
        choices = fields.shape_choices(spec, shape)
        other = {} if shape in dict(choices).values() else {"value": SQUARE}
        return [
            gr.Radio(choices=choices, **other),
            gr.Textbox(placeholder=str(fields.steps_of(spec, effort))),
            gr.Textbox(placeholder=f"{spec.guidance:g}", visible="guidance" in spec.obeys),
            gr.Textbox(visible="negative_prompt" in spec.obeys),
            gr.Accordion(visible="references" in obeyed),
            results.actions(now, obeyed) if now.pictures else "",
        ]

    def choose_effort(self, effort: Preset, model: str) -> Any:
        """Return the field of steps as the effort fills it; what is typed after that goes before it."""
        return gr.Textbox("", placeholder=str(fields.steps_of(self.desk.resolve(model), effort)))

    def reuse(self, request: gr.Request, event: gr.EventData, now: Results, references: tuple[str, ...]) -> Update:
        """Take the large picture's seed, or the picture itself as one to draw after."""
        what = event._data["do"]
        if now.pictures and what == "seed":
            return {self.seed: str(now.large.seed), self.fresh: False}
        if not now.pictures or what != "reference":
            return {self.seed: gr.skip()}
        path = self.desk.path_of(now.large.address, visitor_of(request))
        if path is None:
            return {self.stat: parts.not_found(passing=2)}
        try:
            added = self.references.added(references, self.desk.keep_picture(path))
        except FluxSvdError as error:
            return {self.stat: parts.refused(error, passing=2)}
        return {**added, self.references_fold: gr.Accordion(open=True), self.stat: parts.status("Added as a reference")}

    def restore(self, path: str) -> tuple[Request | None, str]:
        """Return the request that makes a dropped file again and a line that says so, or why not."""
        try:
            request = again.request_of(Path(path))
        except FluxSvdError as error:
            return None, parts.problem(
                error if not isinstance(error, UnreadableFile) else UnreadableFile("file", Path(path).name, error.allowed)
            )
        return request, '<div role="status" class="quiet">Its settings are back.</div>'

    def filled(self, request: ImageRequest) -> Update:
        """Return the form as this request fills it, and what of it could not come back."""
        name, lost = self.desk.model_or_best(request.model)
        spec = self.desk.resolve(name)
        extra = fields.extra_of(request, spec)
        if "start" in extra and not self.desk.has_picture(extra["start"]):
            lost.append("The picture it began at is not on this machine.")
            extra = {name: value for name, value in extra.items() if name not in ("start", "strength")}
        form = PictureForm(
            request.prompt, fields.shape_named(spec, request), request.count, name, request.preset,
            "" if request.seed is None else str(request.seed), request.seed is None,
            "" if request.steps is None else str(request.steps), "" if request.guidance is None else f"{request.guidance:g}",
            request.negative_prompt or "", request.references, extra,
        )  # fmt: skip
        return self.formed(form, lost)

    def formed(self, form: PictureForm, lost: Sequence[str] = ()) -> Update:
        """Return the page with this form; `lost` says what of it could not come back."""
        name, also_lost = self.desk.model_or_best(form.model)
        spec = self.desk.resolve(name)
        references = tuple(one for one in form.references if self.desk.has_picture(one))
        missing = len(form.references) - len(references)
        said = [*lost, *also_lost, *([f"References that are not on this machine: {missing}."] if missing else [])]
        shapes = fields.shape_choices(spec, form.shape)
        return {
            self.prompt: form.prompt,
            self.model: name,
            self.shape: gr.Radio(choices=shapes, value=form.shape if form.shape in dict(shapes).values() else SQUARE),
            self.count: gr.Radio(choices=sorted({*COUNTS, form.count}), value=form.count),
            self.effort: form.preset,
            self.seed: form.seed,
            self.fresh: form.fresh,
            self.used_seed: form.seed if form.fresh else "",  # else it would count as typed
            self.steps: gr.Textbox(form.steps, placeholder=str(fields.steps_of(spec, form.preset))),
            self.guidance: form.guidance,
            self.negative: form.negative,
            **self.references.shown(references),
            **self.extras.filled(form.extra, said),
        }
