"""What videos are coded with: container, encoder and quality, for whatever a source is."""

from __future__ import annotations

import os
import struct
from fractions import Fraction

from deepdeblur_tf.images.videos import Video

# What can be written, by ffmpeg's names. Everything else becomes the first.
FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
    ".avi": "avi",
    ".3gp": "3gp",
}
_BY_QUALITY = {"crf": "16"}
_LEAST_SIDE = 64  # for HEVC and AV1: their encoders refuse smaller ones, or damage the memory

os.environ.setdefault("SVT_LOG", "1")  # or the encoder of AV1 prints its settings


def written_suffix(suffix: str) -> str:
    """The suffix of the file that a video with a suffix becomes."""
    return suffix if suffix.lower() in FORMATS else ".mp4"


def encoder_for(suffix: str, video: Video, frames: int) -> tuple[str, str, dict[str, str]]:
    """How a video of so many frames is coded that is written with a suffix of `FORMATS`.

    Returns:
        (ffmpeg's encoder, the pixel format that it takes, its options).
    """
    bits = "10le" if video.bits > 8 else ""
    # Players expect colours at half the resolution, which odd sides do not have in H.264 and HEVC.
    pixel_format = ("yuv444p" if video.size[0] % 2 or video.size[1] % 2 else "yuv420p") + bits
    if suffix == ".mov" and video.has_alpha:
        return "prores_ks", "yuva444p10le", {"profile": "4444", "vendor": "apl0"}
    is_small = min(video.size) < _LEAST_SIDE
    if suffix == ".webm" and bits and not video.has_alpha and not is_small:  # PyAV's VP9 has 8 bits
        return "libsvtav1", "yuv420p10le", {**_BY_QUALITY, "preset": "6"}
    if suffix == ".webm" or (suffix == ".mkv" and video.has_alpha):
        options = {**_BY_QUALITY, "deadline": "good", "cpu-used": "3", "row-mt": "1"}
        return "libvpx-vp9", "yuva420p" if video.has_alpha else "yuv420p", options
    if bits and FORMATS[suffix] in ("mp4", "mov", "matroska") and not is_small:
        # x265 gives frames random times of decoding where there are fewer than it reorders.
        few = ["bframes=0"] if frames < 10 else []
        parameters = ":".join(["log-level=error", *few, *_brightness(video)])
        return "libx265", pixel_format, {**_BY_QUALITY, "x265-params": parameters}
    # AVI has no times for frames that are stored in another order than they are shown in.
    return "libx264", pixel_format, {**_BY_QUALITY, "bf": "0"} if suffix == ".avi" else _BY_QUALITY


def _brightness(video: Video) -> list[str]:
    """What HDR10 says of the screen that a video was made on, and of its brightest pixels, as parameters of x265."""
    parameters = []
    if data := video.side_data.get("MASTERING_DISPLAY_METADATA"):  # ffmpeg's AVMasteringDisplayMetadata
        *numbers, has_primaries, has_luminance = struct.unpack("=22i", data)
        if has_primaries and has_luminance:
            values = [Fraction(*pair) for pair in zip(numbers[::2], numbers[1::2])]
            red, green, blue, white = (
                f"({round(50000 * x)},{round(50000 * y)})" for x, y in zip(values[0:8:2], values[1:8:2])
            )
            least, most = (round(10000 * value) for value in values[8:])
            parameters.append(f"master-display=G{green}B{blue}R{red}WP{white}L({most},{least})")
    if data := video.side_data.get("CONTENT_LIGHT_LEVEL"):
        parameters.append("max-cll={},{}".format(*struct.unpack("=2I", data[:8])))
    return parameters
