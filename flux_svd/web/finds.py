"""What of a film is finished already, from this run or an earlier one, as small pictures for the page. Draws nothing."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from flux_svd.recipe import ImageRecipe, OnePassRecipe, TransitionRecipe, fingerprint
from flux_svd.store import StageKind
from flux_svd.web import parts

if TYPE_CHECKING:
    from flux_svd.web.desk import Desk

KEYFRAME_HEIGHT, STRIP_HEIGHT = 384, 152  # pixels: twice what the page shows, for dense screens
_KEPT = 256  # pictures, some 5 MB; the oldest go first


class Finds:
    """Small pictures of finished stages, each read once. Safe to share between threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._small: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, recipe: ImageRecipe) -> str:
        """Return a finished keyframe as a data address, or ""."""
        return self._found(fingerprint(recipe), "png", KEYFRAME_HEIGHT)

    def strip(self, recipe: TransitionRecipe | OnePassRecipe) -> str:
        """Return a few frames of a finished transition side by side as a data address, or "" where none are kept."""
        return self._found(fingerprint(recipe), "webp", STRIP_HEIGHT)

    def is_made(self, recipe: TransitionRecipe | OnePassRecipe) -> bool:
        return self._desk.session.store.stage_file(fingerprint(recipe), "npy").is_file()

    def _found(self, name: str, kind: StageKind, height: int) -> str:
        with self._lock:
            if name in self._small:
                self._small.move_to_end(name)
                return self._small[name]
        store = self._desk.session.store
        stage = store.find_stage(name, kind) if store.stage_file(name, kind).is_file() else None
        if stage is None:
            return ""
        try:
            with Image.open(io.BytesIO(stage.data), formats=["PNG", "WEBP"]) as picture:
                small = parts.small_picture(picture.convert("RGB"), height, widest=12)
        except (OSError, UnidentifiedImageError):
            return ""
        with self._lock:
            self._small[name] = small
            while len(self._small) > _KEPT:
                self._small.popitem(last=False)
        return small
