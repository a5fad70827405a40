"""A user's own picture files: read with everything that is to be kept, and written in the same format."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin

from deepdeblur_tf.images import jpeg, png, tiff
from deepdeblur_tf.images.metadata import Metadata
from deepdeblur_tf.images.opening import ImageError, Opened, opened, opened_header, refuse_deep, upright

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_PUT_TOGETHER = {"PNG": png.put_together, "JPEG": jpeg.put_together, "TIFF": tiff.put_together}
_LOSSLESS_TIFF = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
_GREY_MODES = ("1", "L", "LA")
_ALPHA_MODES = ("LA", "PA", "RGBA")


@dataclass(frozen=True)
class Photo:
    """A picture, and what else its file holds.

    Attributes:
        rgb: uint8 [H, W, 3], upright.
        alpha: uint8 [H, W]; None for an opaque picture.
        is_grey: Whether the file holds no colours; then the three channels of `rgb` are equal.
        options: Pillow's options to write the same format again, such as JPEG's tables.
        metadata: What stands around the pixels and is written again; and in words, what is left out of it.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    is_grey: bool
    options: dict
    metadata: Metadata


def photo_size(path) -> tuple[int, int]:
    """(height, width) by the header, without a check, and as they lie in the file."""
    width, height = opened_header(path).image.size
    return height, width


def photo_pixels(path) -> int:
    """Height times width by the header, without a check."""
    height, width = photo_size(path)
    return height * width


def read_photo(path) -> Photo:
    """Reads a picture of 8 bits a channel: colour, grey or palette, with or without transparency.

    EXIF's orientation is applied, and removed from what is kept, so that no viewer applies it again. Pixels are read
    whatever stands around them; what of that cannot be kept, `metadata.left_out` names.

    Args:
        path: The file, PNG, JPEG, BMP or TIFF.

    Raises:
        ImageError: names the file: missing, no picture, damaged, 16 bits a channel, CMYK, several frames.
    """
    path = Path(path)
    with opened(path) as found:
        image = found.image
        refuse_deep(path, found)
        if image.mode not in ("P", "RGB", *_GREY_MODES, *_ALPHA_MODES):
            raise ImageError(f"{path}: has the colour space {image.mode}; convert it to RGB.")
        if found.frames > 1:
            raise ImageError(f"{path}: has {found.frames} frames. Save the one to restore as a picture.")
        image.load()
        transparent = image.mode in _ALPHA_MODES or "transparency" in image.info
        pixels = np.asarray(upright(image.convert("RGBA" if transparent else "RGB"), found.metadata))
        options, metadata = _options(found), found.metadata.of_upright(found.upright_size)
        grey = image.mode in _GREY_MODES
    return Photo(pixels[..., :3], pixels[..., 3] if transparent else None, grey, options, metadata)


def _options(found: Opened) -> dict:
    image = found.image
    options: dict[str, Any] = {"format": found.format}
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        # The source's own tables: its quality, whatever its program called that.
        options.update(qtables=image.quantization, progressive="progressive" in image.info)
        # -1 for what Pillow cannot write, such as 4:4:0; then no colour is thrown away.
        options["subsampling"] = max(0, JpegImagePlugin.get_sampling(image))
    elif found.format == "TIFF":
        compression = image.info.get("compression")
        options["compression"] = compression if compression in _LOSSLESS_TIFF else "tiff_lzw"
    elif found.format == "BMP" and image.info.get("dpi"):
        options["dpi"] = image.info["dpi"]
    return options


def write_photo(path, photo: Photo, restored: np.ndarray) -> None:
    """Writes a restored picture as the file that it came from: format, grey, transparency, metadata.

    Args:
        path: Where to.
        photo: The picture as it was read.
        restored: uint8 [H, W, 3].
    """
    image = Image.fromarray(restored)
    if photo.is_grey:
        image = image.convert("L")
    if photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    # Noisy pictures in progressive JPEG need a larger buffer than Pillow's guess.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 8 * restored.size)
    coded = io.BytesIO()
    image.save(coded, **photo.options)
    put_together = _PUT_TOGETHER.get(photo.options["format"], lambda pixels, metadata: pixels)
    Path(path).write_bytes(put_together(coded.getvalue(), photo.metadata))
