"""Engines that stay loaded between jobs, one for each model, precision and offload. Importing this loads none of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from flux_svd import weights
from flux_svd.catalog import MODELS
from flux_svd.memory import Placement, device_margin
from flux_svd.recipe import Precision
from flux_svd.storing import LOWERED
from flux_svd.ways import sizes_of

if TYPE_CHECKING:
    from flux_svd.engines.clip import ClipScorer
    from flux_svd.engines.flux import FluxEngine
    from flux_svd.engines.ltx import LtxEngine
    from flux_svd.engines.svd import SvdEngine
    from flux_svd.engines.wan import WanEngine

Key = tuple[str, str, str, str, int, bool, str]  # model, precision, device, offload, resident blocks, folded, own files


class WarmEngines:
    """The engines of one device. Large ones give way where another one needs their room; pocket models and scorers stay."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._flux: dict[Key, FluxEngine] = {}
        self._svd: dict[Key, SvdEngine] = {}
        self._one_pass: dict[Key, LtxEngine | WanEngine] = {}
        self._clip: dict[str, ClipScorer] = {}

    def flux(self, placement: Placement, precision: Precision, model_file: str = "", text_encoder: str = "") -> FluxEngine:
        from flux_svd.engines.flux import FluxEngine

        own = weights.find_model_file(model_file, self._home) if model_file else None
        encoder = weights.find_model_file(text_encoder, self._home, field="text_encoder") if text_encoder else None
        key = _key(placement, precision, model_file + text_encoder)
        if key not in self._flux:
            self._make_room(placement)
            self._flux[key] = FluxEngine(
                MODELS[placement.model], self._folder(placement.model), placement, "bf16" if precision in LOWERED else precision,
                fold_modulation=placement.fold_modulation, stored=next((kind for kind in LOWERED if kind == precision), ""),
                model_file=own, encoder_file=encoder,
            )  # fmt: skip
        _use_threads(placement.model)
        self._flux[key].follow(placement)
        return self._flux[key]

    def svd(self, placement: Placement, precision: Precision) -> SvdEngine:
        from flux_svd.engines.svd import SvdEngine

        key = _key(placement, precision)
        if key not in self._svd:
            self._make_room(placement)
            self._svd[key] = SvdEngine(MODELS[placement.model], self._folder(placement.model), placement, precision)
        _use_threads(placement.model)
        self._svd[key].follow(placement)
        return self._svd[key]

    def one_pass(self, placement: Placement, precision: Precision) -> LtxEngine | WanEngine:
        from flux_svd.engines.ltx import LtxEngine
        from flux_svd.engines.wan import WanEngine

        key = _key(placement, precision)
        if key not in self._one_pass:
            self._make_room(placement)
            spec = MODELS[placement.model]
            kind = LtxEngine if spec.family == "ltx" else WanEngine
            self._one_pass[key] = kind(spec, self._folder(placement.model), placement, precision)
        _use_threads(placement.model)
        return self._one_pass[key]

    def scorer(self, model: str) -> ClipScorer:
        from flux_svd.engines.clip import ClipScorer

        if model not in self._clip:
            self._clip[model] = ClipScorer(MODELS[model], self._folder(model))
        _use_threads(model)
        return self._clip[model]

    def models(self) -> tuple[str, ...]:
        """Return the names of the models that are loaded."""
        return (*(key[0] for key in (*self._flux, *self._svd, *self._one_pass)), *self._clip)

    def unload(self) -> None:
        """Release everything."""
        for engines in (self._flux, self._svd, self._one_pass, self._clip):
            while engines:
                engines.popitem()[1].release()

    def peak_bytes(self, placement: Placement) -> int:
        """Return the measured peak of the device since the last call; 0 where it cannot be measured."""
        if placement.device != "cuda":
            return 0
        import torch

        peak = int(torch.cuda.max_memory_allocated())
        torch.cuda.reset_peak_memory_stats()
        return peak

    def held_bytes(self) -> tuple[int, int]:
        """Return about how much of the device and of host memory large engines hold; pocket models and scorers do not count."""
        device = host = 0
        for model, precision, where, offload, *_ in (*self._flux, *self._svd, *self._one_pass):
            weights = 0 if MODELS[model].pocket else sum(sizes_of(MODELS[model], precision).values())
            if where == "cuda":
                import torch

                device = int(torch.cuda.memory_reserved())
            if where != "cuda" or offload in ("model", "stream"):
                host += weights
        return device, host

    def drop(self, model: str) -> None:
        """Release every engine of one model, as after it ran out of memory."""
        for engines in (self._flux, self._svd, self._one_pass):
            for key in [key for key in engines if key[0] == model]:
                engines.pop(key).release()

    def _make_room(self, placement: Placement) -> None:
        """Release what gives way: the same model placed another way, and large ones, the oldest first, until it fits."""
        self.drop(placement.model)
        for name in dict.fromkeys(key[0] for key in (*self._flux, *self._svd, *self._one_pass)):
            if not MODELS[name].pocket and not _fits_now(placement):
                self.drop(name)

    def _folder(self, model: str) -> Path:
        return weights.need_folder(MODELS[model], self._home)


def _fits_now(placement: Placement) -> bool:
    """Return whether the device and the host have room for a placement beside what is loaded."""
    import torch

    if placement.host_peak_bytes > psutil.virtual_memory().available:
        return False
    if placement.device != "cuda":
        return True
    free, total = torch.cuda.mem_get_info()
    return placement.peak_bytes + device_margin(total) <= free


def _key(placement: Placement, precision: Precision, own_files: str = "") -> Key:
    held = placement.device, placement.offload, placement.resident_blocks, placement.fold_modulation
    return placement.model, precision, *held, own_files


def _use_threads(model: str) -> None:
    """Let a pocket model compute in one thread and others in as many as torch chooses.

    Tensors this small gain nothing from a second thread and lose much when the cores are busy: one UNet call of the first
    pocket-svd took 0.6 s in one thread and 2.7 s in two on a loaded machine with 2 cores (2026-11-20). It also keeps
    pocket results the same on machines with different numbers of cores.
    """
    import torch

    global _default_threads
    if _default_threads == 0:
        _default_threads = torch.get_num_threads()
    torch.set_num_threads(1 if MODELS[model].pocket else _default_threads)


_default_threads = 0
