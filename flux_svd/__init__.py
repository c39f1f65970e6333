"""Images with FLUX and short films between keyframes."""
