"""Images with FLUX and short films between keyframes."""

__version__ = "0.1.0"
