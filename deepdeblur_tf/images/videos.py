"""Videos, frame by frame, through imageio's ffmpeg plugin (the extra `video`)."""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable
from pathlib import Path

import imageio.v2 as iio
import numpy as np

from deepdeblur_tf.files import write_whole
from deepdeblur_tf.images.rgb import ImageError

# It warns of every video that a phone recorded upright.
logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")


def check_plugin(path) -> None:
    """Raises ImageError, with what to install, where the plugin is missing."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ImageError(f"{path}: videos need imageio-ffmpeg. Install it with: pip install 'deepdeblur_tf[video]'")


def _open(path):
    check_plugin(path)
    if not Path(path).is_file():
        raise ImageError(f"{path}: no such file")
    try:
        return iio.get_reader(path, format="FFMPEG")
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        lines = str(error).strip().splitlines() or [""]
        raise ImageError(f"{path}: not a readable video ({lines[-1].strip()})") from error


def video_pixels(path) -> int:
    """Height times width times the number of frames, which is counted without decoding them."""
    with _open(path) as reader:
        width, height = reader.get_meta_data()["size"]
        return width * height * reader.count_frames()


def restore_video(path, target, restore: Callable[[np.ndarray], np.ndarray]) -> None:
    """Restores a video: its frame rate and sound are kept; the picture is coded anew, at high quality.

    Args:
        path: The video.
        target: Where to, with the same suffix. H.264, in a .webm VP9. Written whole or not at all.
        restore: From a frame to its restored form, uint8 [H, W, 3].

    Raises:
        ImageError: a file that is no video, or the plugin is missing.
    """
    with _open(path) as reader:
        meta = reader.get_meta_data()
        width, height = meta["size"]
        codec = "libvpx-vp9" if Path(target).suffix.lower() == ".webm" else "libx264"
        options = {
            "format": "FFMPEG",
            "fps": meta["fps"],
            "codec": codec,
            "quality": None,
            "macro_block_size": 1,  # or imageio scales the frames to a multiple of 16
            # Players expect colours at half the resolution, which odd sides do not have.
            "pixelformat": "yuv444p" if width % 2 or height % 2 else "yuv420p",
            # A bit rate of 0 makes VP9 heed the quality alone.
            "output_params": ["-crf", "16"] + (["-b:v", "0"] if codec == "libvpx-vp9" else []),
            "ffmpeg_log_level": "error",
        }
        if meta.get("audio_codec"):
            options.update(audio_path=str(path), audio_codec="copy")

        def write(beside: Path) -> None:
            with iio.get_writer(beside, **options) as writer:
                count = 0
                for frame in reader:
                    writer.append_data(restore(frame))
                    count += 1
            expected = meta["duration"] * meta["fps"]
            if math.isfinite(expected) and count < 0.8 * expected:
                raise ImageError(f"{path}: is cut off; {count} of some {expected:.0f} frames can be read")

        try:
            write_whole(Path(target), write)
        except (OSError, RuntimeError) as error:
            # What went wrong is in ffmpeg's last words, after its whole command line.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise ImageError(f"{path}: cannot be written as {Path(target).suffix} ({lines[0]})") from error


def middle_frame(path) -> np.ndarray:
    """The frame in the middle of a video: uint8 [H, W, 3]."""
    with _open(path) as reader:
        return np.asarray(reader.get_data(reader.count_frames() // 2))
