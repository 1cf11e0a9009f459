"""The kinds of files that the rotation demo can be written as, and what they need."""

from __future__ import annotations

import shutil
from pathlib import Path

from utils import UserError

VIDEO = {".mp4": ("libx264", "mp4"), ".webm": ("libvpx-vp9", "webm")}  # encoder and container
SUFFIXES = (".gif", ".png", *VIDEO)


def check_encoder(path: Path) -> None:
    """Raises a UserError for the name of a video where there is no encoder."""
    suffix = path.suffix.lower()
    if suffix in VIDEO and find_encoder() is None:
        raise UserError(
            f"--out {path}: no ffmpeg is found, which {suffix} needs; give a name that ends in .gif, which needs "
            "nothing, or  pip install imageio-ffmpeg"
        )


def find_encoder() -> str | None:
    """Returns the ffmpeg of this machine, or the one that the Python package imageio-ffmpeg brings."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return None
