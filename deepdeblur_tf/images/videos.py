"""Videos, frame by frame, through imageio's ffmpeg plugin (the extra `video`)."""

from __future__ import annotations

import importlib.util
import logging
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import imageio.v2 as iio
import numpy as np

from deepdeblur_tf.images.opening import ImageError

# It warns of every video that a phone recorded upright.
logging.getLogger("imageio_ffmpeg").setLevel(logging.ERROR)

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm")

# Colour matrices as ffmpeg tells them, and as its filter `scale` takes them. Videos with others it does not convert at
# all, and so they do not open.
_MATRICES = {
    "bt709": "bt709",
    "smpte170m": "bt601",
    "bt470bg": "bt601",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
}
# Without these flags, ffmpeg is off by up to 3 of 255 in even areas, and repeats colours instead of interpolating them.
_SCALE = "scale=flags=bicubic+accurate_rnd+full_chroma_int"


class Colours(NamedTuple):
    """How a video's values stand for colours, in ffmpeg's words.

    Attributes:
        matrix: Of the conversion from RGB to luma and chroma.
        primaries: Which colours red, green and blue are.
        transfer: The curve from values to light.
        range: "tv" for luma in [16, 235], "pc" for [0, 255].
    """

    matrix: str
    primaries: str
    transfer: str
    range: str


def check_plugin(path) -> None:
    """Raises ImageError, with what to install, where the plugin is missing."""
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ImageError(f"{path}: videos need imageio-ffmpeg. Install it: pip install -e '.[video]'")


def _open(path, *output_params: str):
    check_plugin(path)
    if not Path(path).is_file():
        what = "is a folder, a pipe or a device, and no" if Path(path).exists() else "no such"
        raise ImageError(f"{path}: {what} file")
    try:
        return iio.get_reader(path, format="FFMPEG", output_params=list(output_params))
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        lines = str(error).strip().splitlines() or [""]
        raise ImageError(f"{path}: not a readable video ({lines[-1].strip()})") from error


def _open_rgb(path, *output_params: str):
    """(a reader of RGB frames, the video's colours)."""
    with _open(path) as reader:
        meta = reader.get_meta_data()
    colours = _colours(meta)
    if _is_rgb(meta):
        return _open(path, *output_params), colours
    conversion = f"{_SCALE}:in_color_matrix={_MATRICES[colours.matrix]}:in_range={colours.range}"
    return _open(path, "-vf", conversion, *output_params), colours


def _is_rgb(meta: dict) -> bool:
    return re.match("[a0x]?(rgb|bgr|gbr)|pal8", meta["pix_fmt"]) is not None


def _colours(meta: dict) -> Colours:
    """A video's colours: what it is tagged with, and for the rest what players assume by its size (mpv's rule)."""
    width, height = meta["source_size"]
    default = "bt709" if width >= 1280 or height > 576 else "smpte170m"
    # ffmpeg writes "yuv420p(tv, bt470bg/unknown/bt709, progressive)", or one word where all three are the same.
    words = re.split(r"[(), ]+", meta["pix_fmt"])
    triple = next((word.split("/") for word in words if word.count("/") == 2), None)
    triple = triple or next(([word] * 3 for word in words if word in _MATRICES), ["unknown"] * 3)
    matrix, primaries, transfer = (default if word in ("unknown", "reserved") else word for word in triple)
    if _is_rgb(meta):  # it has no matrix, and its range is not the one that it is to be coded with
        return Colours(default, primaries, transfer, "tv")
    return Colours(matrix, primaries, transfer, "pc" if "pc" in words else "tv")


def video_pixels(path) -> int:
    """Height times width times the number of frames, which is counted without decoding them."""
    with _open(path) as reader:
        width, height = reader.get_meta_data()["size"]
        return width * height * reader.count_frames()


def restore_video(path, target, restore: Callable[[np.ndarray], np.ndarray]) -> None:
    """Restores a video: its frame rate, colours and sound are kept; the picture is coded anew, at high quality.

    Args:
        path: The video.
        target: Where to, with the same suffix. H.264, in a .webm VP9; tagged with its colours.
        restore: From a frame to its restored form, uint8 [H, W, 3].

    Raises:
        ImageError: a file that is no video or is cut off, or the plugin is missing.
    """
    reader, colours = _open_rgb(path)
    with reader:
        meta = reader.get_meta_data()
        width, height = meta["size"]
        codec = "libvpx-vp9" if Path(target).suffix.lower() == ".webm" else "libx264"
        conversion = f"{_SCALE}:out_color_matrix={_MATRICES[colours.matrix]}:out_range={colours.range}"
        tags = "setparams=colorspace={}:color_primaries={}:color_trc={}:range={}".format(*colours)
        options = {
            "format": "FFMPEG",
            "fps": meta["fps"],
            "codec": codec,
            "quality": None,
            "macro_block_size": 1,  # or imageio scales the frames to a multiple of 16
            # Players expect colours at half the resolution, which odd sides do not have.
            "pixelformat": "yuv444p" if width % 2 or height % 2 else "yuv420p",
            # A bit rate of 0 makes VP9 heed the quality alone.
            "output_params": ["-vf", f"{conversion},{tags}", "-crf", "16"]
            + (["-b:v", "0"] if codec == "libvpx-vp9" else []),
            "ffmpeg_log_level": "error",
        }
        if meta.get("audio_codec"):
            options.update(audio_path=str(path), audio_codec="copy")
        try:
            with iio.get_writer(target, **options) as writer:
                count = 0
                for frame in reader:
                    writer.append_data(restore(frame))  # type: ignore[attr-defined] # its hint is a base class
                    count += 1
        except (OSError, RuntimeError) as error:
            # What went wrong is in ffmpeg's last words, after its whole command line.
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise ImageError(f"{path}: cannot be written as {Path(target).suffix} ({lines[0]})") from error
        _check_whole(path, meta, count)


def _check_whole(path, meta: dict, count: int) -> None:
    """Raises ImageError for a video of which so few frames could be read that it must be cut off."""
    expected = meta["duration"] * meta["fps"]
    if math.isfinite(expected) and count < 0.8 * expected:
        raise ImageError(f"{path}: is cut off; {count} of some {expected:.0f} frames can be read")


class Footage(NamedTuple):
    """What a video holds, as far as it is known without decoding it.

    Attributes:
        frames: How many.
        rate: Frames a second, as it is played.
        size: (height, width) in pixels.
    """

    frames: int
    rate: float
    size: tuple[int, int]


def footage(path) -> Footage:
    """What a video holds. Raises ImageError for a file that is no video, or without the plugin."""
    with _open(path) as reader:
        meta = reader.get_meta_data()
        return Footage(reader.count_frames(), float(meta["fps"]), meta["size"][::-1])


def video_frames(path) -> Iterator[np.ndarray]:
    """A video's frames as they were recorded: none is repeated or dropped to make the frame rate even.

    Yields:
        uint8 [H, W, 3], RGB, upright.

    Raises:
        ImageError: a file that is no video, the plugin is missing; at the end for a video that is cut off.
    """
    with _open_rgb(path, "-fps_mode", "passthrough")[0] as reader:
        count = 0
        for frame in reader:
            yield np.asarray(frame)
            count += 1
        _check_whole(path, reader.get_meta_data(), count)


def middle_frame(path) -> np.ndarray:
    """The frame in the middle of a video: uint8 [H, W, 3]."""
    with _open_rgb(path)[0] as reader:
        return np.asarray(reader.get_data(reader.count_frames() // 2))
