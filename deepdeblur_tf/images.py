"""Image files: what may be read, and reading it as 8-bit RGB. Refuses by name what would become a wrong picture."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

# Pillow's modes that become 8-bit RGB without loss or doubt.
_PLAIN_MODES = ("RGB", "L", "P", "1")


class ImageError(ValueError):
    """An image that cannot be used; the message starts with its file."""


def image_size(path) -> tuple[int, int]:
    """Checks an image by its header and tells its size, without decoding it.

    Args:
        path: The file, PNG, JPEG or BMP.

    Returns:
        (height, width) in pixels, as `read_rgb` will give them (EXIF's orientation applied).

    Raises:
        ImageError: for a file that is missing or no image, and for images that are not 8-bit RGB, grey or palette:
            16 bits a channel, transparency, CMYK.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            mode, (width, height), file_format = image.mode, image.size, image.format
            frames = getattr(image, "n_frames", 1)
            transparent = "transparency" in image.info
            # Asked for a PNG's EXIF data, Pillow decodes the whole image to find it.
            exif = image.getexif() if file_format != "PNG" else _png_exif(image)
            turned = exif.get(ExifTags.Base.Orientation, 1) >= 5
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path}: not a readable image ({error})") from error
    if mode.startswith(("I", "F")) or (file_format == "PNG" and _png_bit_depth(path) == 16):
        raise ImageError(f"{path}: has 16 bits a channel or more; only 8-bit images are read. Convert it to 8 bits.")
    if frames > 1:
        raise ImageError(f"{path}: has {frames} frames; only single images are read.")
    if transparent or mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        raise ImageError(f"{path}: has transparency; what lies behind it is unknown. Save it without an alpha channel.")
    if mode not in _PLAIN_MODES:
        raise ImageError(f"{path}: has the colour space {mode}; only RGB, grey and palette images are read.")
    return (width, height) if turned else (height, width)


def _png_exif(image: Image.Image) -> Image.Exif:
    exif = Image.Exif()
    exif.load(image.info.get("exif"))
    return exif


def _png_bit_depth(path: Path) -> int:
    # Pillow turns 16-bit RGB into 8 bits and keeps no trace of it; byte 24 of a PNG is IHDR's bit depth.
    with open(path, "rb") as file:
        return file.read(25)[24]


def read_rgb(path) -> np.ndarray:
    """Reads an image file.

    Args:
        path: The file, PNG, JPEG or BMP; 8-bit RGB, grey or palette, no transparency.

    Returns:
        uint8 [H, W, 3], RGB, turned upright by EXIF's orientation.

    Raises:
        ImageError: as `image_size`, and for data that does not decode.
    """
    image_size(path)
    try:
        with Image.open(path) as image:
            image.verify()  # a PNG's checksums, which decoding alone leaves unread
        return iio.imread(path, plugin="pillow", mode="RGB", rotate=True)
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path}: does not decode ({error})") from error
