"""Which model carries out a wish, at which size, and whether it obeys all of it. Loads nothing."""

from __future__ import annotations

from collections.abc import Iterable

from flux_svd import memory, presets
from flux_svd.catalog import MODELS, Family, ModelSpec, find_model
from flux_svd.errors import InvalidRequest, ModelUnavailable
from flux_svd.fitting import choose_precision, usual_shape
from flux_svd.memory import Budget
from flux_svd.placing import can_place, place
from flux_svd.plan import Decision, Inventory
from flux_svd.request import ImageRequest, VideoRequest


def choose_model(
    name: str, field: str, order: Iterable[str], families: tuple[Family, ...], budget: Budget, inventory: Inventory,
    notes: list[Decision], like: ModelSpec | None = None, references: int = 0,
) -> ModelSpec:
    """Return the named model, or for "auto" the first of `order` that is here and fits; pocket stays with pocket.

    With references only a model that takes them will do; a pocket model does not step in for a large one that takes none.
    Where the device holds none of those that are here, the smallest is for the processor.

    Raises:
        ModelUnavailable: none is here.
        DoesNotFit: the smallest of those that are here fits nowhere.
    """
    if name != "auto":
        spec = find_model(name, field=field, families=families)
        notes.append(Decision(field.replace("_", " "), spec.name, "as asked"))
        check_available(spec, inventory, notes)
        return spec
    passed_over: list[str] = []
    large_without = False
    unfit: list[ModelSpec] = []
    for candidate in (MODELS[other] for other in order):
        if (like is not None and candidate.pocket != like.pocket) or (candidate.pocket and large_without):
            if like is not None and candidate.pocket and not like.pocket:
                passed_over.append(f"{candidate.name} does not go with {like.name}")
            continue
        if not candidate.pocket and not inventory.has(candidate):
            if candidate.name in inventory.on_disk:
                passed_over.append(f"the licence of {candidate.name} is not accepted yet")
            continue
        if references and "references" not in candidate.obeys:
            passed_over.append(f"{candidate.name} takes no references")
            large_without |= not candidate.pocket
            continue
        if not can_place(candidate, choose_precision(candidate, budget)[0], usual_shape(candidate), budget):
            passed_over.append(f"{candidate.name} does not fit this machine")
            unfit.append(candidate)
            continue
        partner = "image" if field == "video_model" else "video"
        why = "the best model that is on disk and fits" if not candidate.pocket else (
            f"goes with the pocket {partner} model" if like else "no larger model is ready on this machine")
        notes.append(Decision(field.replace("_", " "), candidate.name, "; ".join([why, *passed_over])))
        return candidate
    if unfit:
        smallest = min(unfit, key=lambda spec: 0 if spec.pocket else spec.parameters)  # of pocket ones the first, as ever
        place(smallest, choose_precision(smallest, budget)[0], usual_shape(smallest), budget)
        notes.append(Decision(field.replace("_", " "), smallest.name, "the smallest that is here; the device holds none"))
        return smallest
    raise ModelUnavailable(
        f"{field}: no model is ready for it. Run: flux-svd models download {next(iter(order))}"
        + (f" ({'; '.join(passed_over)})" if passed_over else "")
    )


def check_available(spec: ModelSpec, inventory: Inventory, notes: list[Decision]) -> None:
    """Check that a model can be used here; where plans are only considered, note what it would take.

    Raises:
        ModelUnavailable: it is not on disk, or its licence is not accepted.
    """
    if inventory.considering and not inventory.has(spec):
        here = spec.name in inventory.on_disk
        value = "its licence is not accepted yet" if here else f"{memory.format_gib(spec.bytes_at('bf16'))} to download"
        notes.append(Decision("not ready here", f"{spec.name}: {value}", f"{spec.licence.title}: {spec.licence.allows}"))
        return
    if spec.name not in inventory.on_disk:
        raise ModelUnavailable(
            f"{spec.name} is not on this disk. Run: flux-svd models download {spec.name} "
            f"({memory.format_gib(spec.bytes_at('bf16'))}), or use a pocket model."
        )
    if not inventory.has(spec):
        raise ModelUnavailable(
            f"{spec.name}: its licence is not accepted yet. {spec.licence.allows} Read {spec.licence.url}, then run: "
            f"flux-svd models accept {spec.name}"
        )


def check_pair(request: VideoRequest, spec: ModelSpec, video: ModelSpec) -> None:
    """Check that both models of a film are made for pictures of about the same size, unless the request says which.

    Raises:
        InvalidRequest: one is a pocket model and the other is not.
    """
    if spec.pocket == video.pocket or request.width is not None:
        return
    fitting = [row.name for row in MODELS.values() if row.makes_films and row.pocket == spec.pocket]
    raise InvalidRequest(
        "video_model", video.name,
        f"with {spec.name}, whose pictures have another size: {', '.join(fitting)}; or a width and height that both can make",
    )


def choose_size(
    request: ImageRequest | VideoRequest, spec: ModelSpec, default: tuple[int, int], multiple: int, notes: list[Decision]
) -> tuple[int, int]:
    filled = presets.PRESETS[request.preset].get(spec.name, {}) if request.preset else {}
    if request.width is not None and request.height is not None:
        size, why = (request.width, request.height), "as asked"
    elif request.shape is not None:
        named = presets.SHAPES[request.shape]
        scale = presets.scale_of(request.preset, spec.name, default) if isinstance(request, ImageRequest) else 1.0
        size = presets.size_for(request.shape, default, multiple, spec.size_max, scale)
        smaller = f"the size of preset {request.preset}" if scale != 1 else f"a size {spec.name} draws"
        why = named.title if size == (named.width, named.height) else (
            f"{named.title}: the shape of {named.width} × {named.height} at {smaller}")
    elif "width" in filled and isinstance(request, ImageRequest):  # films are drawn at the video model's own size
        size, why = (filled["width"], filled["height"]), f"preset {request.preset}"
    else:
        size, why = default, f"the default of {spec.name}"
    check_sides(*size, spec)
    notes.append(Decision("size", f"{size[0]} × {size[1]}", why))
    return size


def check_sides(width: int, height: int, spec: ModelSpec) -> None:
    for field, value in (("width", width), ("height", height)):
        if value > spec.size_max or value % spec.size_multiple:
            raise InvalidRequest(
                field, value,
                f"for {spec.name} a multiple of {spec.size_multiple} from {spec.size_multiple} to {spec.size_max}",
            )


def check_controls(request: ImageRequest | VideoRequest, spec: ModelSpec) -> None:
    """Check that the model obeys every wish.

    Raises:
        InvalidRequest: it does not obey one; names the models that do.
    """
    for field, control, given in (
        ("references", "references", bool(request.references)),
        ("negative_prompt", "negative_prompt", bool(request.negative_prompt)),
        ("guidance", "guidance", request.guidance is not None),
        ("guidance_curve", "guidance", request.guidance_curve is not None),
        ("cfg_scale", "cfg_scale", request.cfg_scale is not None),
        ("start", "start", isinstance(request, ImageRequest) and request.start is not None),
        ("step_cache", "step_cache", request.step_cache is not None),
        ("model_file", "model_file", request.model_file is not None),
        ("text_encoder", "text_encoder", request.text_encoder is not None),
    ):
        if given and control not in spec.obeys and not (field == "negative_prompt" and "cfg_scale" in spec.obeys):
            able = ", ".join(row.name for row in MODELS.values() if control in row.obeys)
            raise InvalidRequest(field, getattr(request, field), f"not with {spec.name}; models that obey it: {able}")
    if request.negative_prompt and "negative_prompt" not in spec.obeys and request.cfg_scale is None:
        raise InvalidRequest("cfg_scale", None, f"above 1 with a negative prompt for {spec.name}; steps then take twice as long")
