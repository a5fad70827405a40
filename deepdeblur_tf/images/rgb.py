"""Image files read as 8-bit RGB. Files that would become a wrong picture are refused by name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_whole

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")

# Pillow's modes that become 8-bit RGB without loss or doubt.
_PLAIN_MODES = ("RGB", "L", "P", "1")


class ImageError(UserError):
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
    with pillow_errors(path), Image.open(path) as image:
        mode, (width, height) = image.mode, image.size
        frames = getattr(image, "n_frames", 1)
        transparent = "transparency" in image.info
        # Asked for a PNG's EXIF data, Pillow decodes the whole image to find it.
        exif = image.getexif() if image.format != "PNG" else _png_exif(image)
        turned = exif.get(ExifTags.Base.Orientation, 1) >= 5
        refuse_more_than_8_bits(path, image)
    if frames > 1:
        raise ImageError(f"{path}: has {frames} frames; only single images are read.")
    if transparent or mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        raise ImageError(f"{path}: has transparency; what lies behind it is unknown. Save it without an alpha channel.")
    if mode not in _PLAIN_MODES:
        raise ImageError(f"{path}: has the colour space {mode}; only RGB, grey and palette images are read.")
    return (width, height) if turned else (height, width)


def _png_exif(image: Image.Image) -> Image.Exif:
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return exif


def refuse_more_than_8_bits(path, image: Image.Image) -> None:
    """Raises ImageError for an opened image with more than 8 bits a channel, which Pillow may cut to 8 by itself."""
    deep = image.mode.startswith(("I", "F"))
    if image.format == "PNG":
        with open(path, "rb") as file:
            deep |= file.read(25)[24] == 16  # IHDR's bit depth
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        deep |= max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))) > 8
    if deep:
        raise ImageError(f"{path}: has 16 bits a channel or more; only 8-bit images are read. Convert it to 8 bits.")


@contextlib.contextmanager
def pillow_errors(path):
    """Turns what Pillow raises while it reads a file into an ImageError that names the file."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file") from error
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: not a readable image ({error})") from error
    except MemoryError:
        raise
    except Exception as error:  # damaged files raise anything: numbers in their headers are used unchecked
        if not Path(path).exists():  # gone between two looks at it
            raise ImageError(f"{path}: no such file") from error
        raise ImageError(f"{path}: does not decode ({error})") from error


def check_checksums(path) -> None:
    """Compares a PNG's checksums, which decoding alone leaves unread. Raises what Pillow raises."""
    with Image.open(path) as image:
        image.verify()


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
    with pillow_errors(path):
        check_checksums(path)
        # Not by imageio: Ctrl+C while it sets its plugin up ends in a traceback from the plugin's destructor.
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def write_image(path, image: np.ndarray) -> None:
    """Writes uint8 [H, W, 3] in the format that the path's suffix names. Whole or not."""
    write_whole(Path(path), Image.fromarray(image).save)
