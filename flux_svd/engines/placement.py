"""Placing a pipeline as planned, freeing it, and turning backend errors into ours. Decides nothing about pixels."""

from __future__ import annotations

import gc
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers.utils.logging
import torch
import transformers.utils.logging
from safetensors import SafetensorError, safe_open

from flux_svd.catalog import MODELS
from flux_svd.errors import FluxSvdError, ModelUnavailable, OutOfMemory, Phase
from flux_svd.memory import Placement
from flux_svd.recipe import Precision

_LOG = logging.getLogger(__name__)
DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}

# How backends without an exception class of their own say that memory ran out: MPS, the CPU allocator, cuBLAS.
_NO_MEMORY = ("MPS backend out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


def dtype_of(model: str, part: str, precision: Precision) -> torch.dtype:
    """Return the data type of a part of a model: where fp16 overflows in it, float32 stands in."""
    widened = any(row.fp32_for_fp16 for row in MODELS[model].components if row.folder == part)
    return torch.float32 if precision == "fp16" and widened else DTYPES[precision]


def load_pipeline(
    pipeline_class: Any,
    folder: Path,
    placement: Placement,
    precision: Precision,
    *,
    parts: Mapping[str, Any] | None = None,
    place: Callable[[Any], None] | None = None,
) -> Any:
    """Return a pipeline read from `folder` and placed: safetensors only, no network, no code from the folder.

    Args:
        parts: components that are given instead of read; None leaves one out.
        place: puts the pipeline where it works; else `placement` is obeyed as a whole.

    Raises:
        ModelUnavailable: the folder is not such a model, or a file of it is missing or damaged.
        OutOfMemory: the device cannot hold what the placement promised.
    """
    check_folder(pipeline_class, folder)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    with engine_errors():
        with unreadable_weights(folder):
            kinds = {row.folder: dtype_of(placement.model, row.folder, precision) for row in MODELS[placement.model].components}
            pipeline = pipeline_class.from_pretrained(
                folder, dtype={**kinds, "default": DTYPES[precision]}, use_safetensors=True, local_files_only=True,
                **(parts or {}),
            )  # fmt: skip
        for part, model in pipeline.components.items():
            if isinstance(model, torch.nn.Module):
                check_complete(model, folder / part)
        pipeline.set_progress_bar_config(disable=True)
        if place is not None:
            place(pipeline)
        else:
            place_pipeline(pipeline, placement)
    return pipeline


def place_pipeline(pipeline: Any, placement: Placement) -> None:
    """Put the whole pipeline where `placement` says."""
    if placement.offload == "model":
        pipeline.enable_model_cpu_offload(device=placement.device)
        return
    for model in pipeline.components.values():
        if isinstance(model, torch.nn.Module):
            settle(model, torch.device(placement.device))


@contextmanager
def unreadable_weights(folder: Path) -> Iterator[None]:
    """Say of files that cannot be read that the model is to be downloaded again."""
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelUnavailable(f"{folder} cannot be loaded: {_first_line(error)}. Download the model again.") from error


def check_folder(pipeline_class: Any, folder: Path) -> None:
    """Check that `folder` holds every component of such a pipeline and that each weight file is whole.

    Reads headers only: a safetensors header says how long its file must be.

    Raises:
        ModelUnavailable: names the first file or folder that is missing, damaged or of another model.
    """
    index = folder / "model_index.json"
    try:
        parts = json.loads(index.read_text(encoding="utf-8"))
        name = parts["_class_name"]
    except FileNotFoundError as error:
        raise ModelUnavailable(f"{index} is missing: {folder} holds no model. Download it again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{index} is damaged. Download the model again.") from error
    if name not in {base.__name__ for base in pipeline_class.__mro__}:
        raise ModelUnavailable(f"{folder} holds a {name}, but a {pipeline_class.__name__} is needed.")
    for part in (key for key, value in parts.items() if isinstance(value, list) and value[0] is not None):
        if not (folder / part).is_dir():
            raise ModelUnavailable(f"{folder / part} is missing. Download the model again.")
        for file in sorted((folder / part).glob("*.safetensors")):
            check_weights(file)


def check_weights(file: Path) -> None:
    """Check that a safetensors file is there and whole.

    Raises:
        ModelUnavailable: names the file.
    """
    try:
        with safe_open(file, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"{file} is missing or damaged: {_first_line(error)}. Download the model again.") from error


def check_complete(model: torch.nn.Module, folder: Path) -> None:
    """Check that every parameter was read: diffusers leaves absent ones on the meta device, with a warning only."""
    absent = [name for name, weight in model.named_parameters() if weight.is_meta]
    if absent:
        raise ModelUnavailable(f"{folder} cannot be loaded: {absent[0]} is not in it. Download the model again.")


def settle(model: Any, device: torch.device) -> Any:
    """Return the model on `device`, its weights in memory of their own.

    In the mapped file they lie at odd addresses, where CPU kernels round differently (by 3e-6 in a tiny SVD), and a picture
    must not depend on where a file keeps its tensors.
    """
    model.to(device)
    if device.type == "cpu":
        for weight in model.parameters():
            if type(weight.data) is torch.Tensor:  # what a library holds in fewer bits is in memory of its own
                weight.data = weight.data.clone()
    return model


def copy_on_cpu(model: Any) -> Any:
    """Return a copy of a diffusers model on the processor, free of the hooks of the original, which stays as it is."""
    twin = type(model).from_config(model.config).to(model.dtype)
    twin.load_state_dict(model.state_dict())
    return twin.eval()


def release(pipeline: Any) -> None:
    """Take every component out of the pipeline and give its memory back."""
    pipeline.remove_all_hooks()
    for name in list(pipeline.components):
        setattr(pipeline, name, None)
    free_memory()


def free_memory() -> None:
    """Collect garbage and return the backend's cached blocks to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


class engine_errors:
    """Turn a backend's lack of memory into `OutOfMemory`; everything else passes as it is.

    After any error an offloaded `pipeline` is put back to its state between two calls, so that the next one works.
    A class, since the frame of a generator would keep the traceback, and with it the memory.
    """

    def __init__(self, pipeline: Any | None = None, phase: Phase = "load") -> None:
        self._pipeline, self._phase = pipeline, phase

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        short = _is_out_of_memory(error)
        if short:
            _LOG.info("out of memory", exc_info=error)
            del trace
            _drop_frames(error)
        if self._pipeline is not None:
            self._pipeline.maybe_free_model_hooks()
        if short:
            free_memory()
            ours = OutOfMemory(f"The device ran out of memory: {_first_line(error)}")
            ours.phase = self._phase
            raise ours from error


def _drop_frames(error: BaseException) -> None:
    """Take the tracebacks off an error and its causes: locals and closures in them hold what filled the device."""
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None
        link = link.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, FluxSvdError):
        return False
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _NO_MEMORY)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
