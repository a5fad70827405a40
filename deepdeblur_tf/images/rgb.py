"""Image files read as 8-bit RGB. Files that would become a wrong picture are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from deepdeblur_tf.files import write_whole
from deepdeblur_tf.images.opening import ImageError, Opened, opened, opened_header, turned_upright

USUAL_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

# Pillow's modes that become 8-bit RGB without loss or doubt.
_PLAIN_MODES = ("RGB", "L", "P", "1")


def image_size(path) -> tuple[int, int]:
    """Checks an image by its header and tells its size, without decoding it.

    Args:
        path: The file, PNG, JPEG, BMP or TIFF.

    Returns:
        (height, width) in pixels, as `read_rgb` will give them (EXIF's orientation applied).

    Raises:
        ImageError: for a file that is missing or no image, and for images that are not 8-bit RGB, grey or palette:
            16 bits a channel, transparency, CMYK.
    """
    found = opened_header(path)
    _check(path, found)
    return found.upright_size[::-1]


def _check(path, found: Opened) -> None:
    image = found.image
    if found.bits > 8:
        raise ImageError(f"{path}: has {found.bits} bits a channel; only 8-bit images are read. Convert it to 8 bits.")
    if found.frames > 1:
        raise ImageError(f"{path}: has {found.frames} frames; only single images are read.")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        raise ImageError(f"{path}: has transparency; what lies behind it is unknown. Save it without an alpha channel.")
    if image.mode not in _PLAIN_MODES:
        raise ImageError(f"{path}: has the colour space {image.mode}; only RGB, grey and palette images are read.")


def read_rgb(path) -> np.ndarray:
    """Reads an image file.

    Args:
        path: The file, PNG, JPEG, BMP or TIFF; 8-bit RGB, grey or palette, no transparency.

    Returns:
        uint8 [H, W, 3], RGB, turned upright by EXIF's orientation.

    Raises:
        ImageError: as `image_size`, and for data that does not decode.
    """
    with opened(path) as found:
        _check(path, found)
        return np.ascontiguousarray(turned_upright(np.asarray(found.image.convert("RGB")), found.metadata))


def write_image(path, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] in the format that the path's suffix names. Whole or not."""
    write_whole(Path(path), Image.fromarray(image).save)
