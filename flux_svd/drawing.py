"""What is drawn, and how: the recipes of pictures and keyframes, each decision noted. Loads nothing."""

from __future__ import annotations

from flux_svd import memory, presets
from flux_svd.catalog import ModelSpec
from flux_svd.choosing import check_controls
from flux_svd.errors import InvalidRequest
from flux_svd.fitting import Fit, choose_precision, fit_picture
from flux_svd.memory import Budget
from flux_svd.plan import Decision, Inventory
from flux_svd.recipe import ImageRecipe
from flux_svd.request import ImageRequest, VideoRequest
from flux_svd.storing import KINDS, LOWERED
from flux_svd.versions import installed_versions
from flux_svd.ways import with_encoder, with_file


def image_recipes(
    request: ImageRequest | VideoRequest, spec: ModelSpec, prompts: list[tuple[str, int]], width: int, height: int,
    budget: Budget, inventory: Inventory, notes: list[Decision], references: int,
) -> tuple[tuple[ImageRecipe, ...], Fit]:
    """Return the recipe of each (prompt, seed) as this model draws it, and where it does; why goes to `notes`.

    Args:
        references: how many pictures each is drawn after.

    Raises:
        InvalidRequest: the model does not obey all of the wish.
        DoesNotFit: no placement fits the budget.
    """
    check_controls(request, spec)
    _note_references(request, spec, width, height, notes)
    filled = presets.PRESETS[request.preset].get(spec.name, {}) if request.preset else {}
    steps = request.steps if request.steps is not None else filled.get("steps", spec.steps)
    why = "as asked" if request.steps else f"preset {request.preset}" if "steps" in filled else f"the default of {spec.name}"
    notes.append(Decision("steps", str(steps), why))
    curve = () if request.guidance_curve is None else presets.curve_of_steps(request.guidance_curve, steps)
    guidance = curve[0] if curve else request.guidance if request.guidance is not None else spec.guidance
    if curve:
        through = " → ".join(f"{knot:g}" for knot in request.guidance_curve or ())
        notes.append(Decision("guidance", through, "from the first step to the last, as asked"))
    elif spec.guidance_kind != "none":
        notes.append(Decision("guidance", f"{guidance:g}", "as asked" if request.guidance is not None
                              else f"the default of {spec.name}"))
    if request.cfg_scale is not None:
        notes.append(Decision("cfg scale", f"{request.cfg_scale:g}", "away from the negative prompt; steps take twice as long"))
    if request.step_cache is not None:
        notes.append(Decision("step cache", f"{request.step_cache:g}", "lossy: blocks are skipped where a step changes less"))
    if request.model_file is not None:
        own = f"a transformer of your own stands in for {spec.name}'s"
        if request.model_file in dict(inventory.gguf):
            own += ", its weights as they are in the file" + ("" if "gguf" in budget.tried else ": untried here")
            if request.compiled:
                raise InvalidRequest("compiled", True, "not with a .gguf file")
        notes.append(Decision("model file", request.model_file[:12], own))
    if request.text_encoder is not None:
        own = f"one of your own stands in for {spec.name}'s; pictures differ"
        notes.append(Decision("text encoder", request.text_encoder[:12], own))
    if request.attention != "native":
        notes.append(Decision("attention", request.attention, "as asked; pixels differ slightly from native"))
    if request.compiled:
        notes.append(Decision("compiled", "yes", "as asked; the first picture takes minutes more, pixels differ slightly"))
    precision, why = choose_precision(spec, budget)
    placing: list[Decision] = []
    fit = fit_picture(with_own(spec, request, inventory), precision, (width, height), references, budget, placing)
    for kind in LOWERED:
        if kind == fit.placement.stored:
            rounded = "compiled, its activations are rounded too; " if request.compiled else ""
            why = f"the transformer's weights, which the request allows; {rounded}in {precision} nothing fits that has run here"
            precision = kind
    notes += [Decision("precision", precision, why), *placing]
    notes.append(Decision("attention slicing", "no effect", "FLUX transformers compute attention without the full matrix"))
    library = KINDS[fit.placement.stored].library if fit.placement.stored else ""
    versions = installed_versions("torch", "diffusers", "transformers", *filter(None, [library]))
    recipes = tuple(
        ImageRecipe(
            model=spec.name, revision=spec.revision, prompt=prompt, negative_prompt=request.negative_prompt or "",
            seed=seed, width=width, height=height, steps=steps,
            guidance=guidance if spec.guidance_kind != "none" else 0.0, guidance_kind=spec.guidance_kind,
            references=request.references, precision=precision, prompt_tokens=spec.prompt_tokens,
            decode_tile=fit.shape.tile, versions=versions, cfg_scale=request.cfg_scale or 1.0, guidance_curve=curve,
            step_cache=request.step_cache or 0.0, attention=request.attention, compiled=request.compiled,
            model_file=request.model_file or "", text_encoder=request.text_encoder or "",
        )
        for prompt, seed in prompts
    )
    return recipes, fit


def with_own(spec: ModelSpec, named: ImageRequest | VideoRequest | ImageRecipe, inventory: Inventory) -> ModelSpec:
    """Return the model as it is held: with the .gguf file and the text encoder of the user's own that stand in for its parts."""
    if (size := dict(inventory.gguf).get(named.model_file or "")) is not None:
        spec = with_file(spec, size)
    if (parameters := dict(inventory.encoders).get(named.text_encoder or "")) is not None:
        spec = with_encoder(spec, parameters)
    return spec


def _note_references(
    request: ImageRequest | VideoRequest, spec: ModelSpec, width: int, height: int, notes: list[Decision]
) -> None:
    """Tell how many pixels the model looks at, at most: what references cost is said before it is paid."""
    count = len(request.references)
    if count > spec.references_max:
        raise InvalidRequest("references", count, f"at most {spec.references_max} pictures for {spec.name}")
    if count:
        drawn = width * height // memory.PIXELS_PER_TOKEN
        seen = drawn + count * memory.reference_tokens(spec)
        notes.append(Decision("references", f"{count}, up to {spec.reference_pixels:,} pixels each",
                              f"every step looks at up to {seen} tokens of pictures, {drawn} of them drawn: at least "
                              f"{seen / drawn:.1f} times the work"))
