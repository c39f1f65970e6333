"""Images with FLUX and short films between keyframes.

>>> from flux_svd import generate_image
>>> path, image = generate_image("a red circle on a blue background", seed=7)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from flux_svd.api import generate_image, generate_video_with_motion
    from flux_svd.artifact import ImageArtifact, VideoArtifact, load_request
    from flux_svd.request import ImageRequest, VideoRequest, make_request
    from flux_svd.session import Session

_HOMES = {
    "generate_image": "api",
    "generate_video_with_motion": "api",
    "Session": "session",
    "ImageRequest": "request",
    "VideoRequest": "request",
    "make_request": "request",
    "ImageArtifact": "artifact",
    "VideoArtifact": "artifact",
    "load_request": "artifact",
}
__all__ = [
    "ImageArtifact",
    "ImageRequest",
    "Session",
    "VideoArtifact",
    "VideoRequest",
    "__version__",
    "generate_image",
    "generate_video_with_motion",
    "load_request",
    "make_request",
]


def __getattr__(name: str) -> Any:
    """Return a public name, importing its module only now."""
    if name in _HOMES:
        return getattr(import_module(f"flux_svd.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'flux_svd' has no attribute {name!r}")
