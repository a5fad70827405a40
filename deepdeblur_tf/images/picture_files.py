"""A user's own picture files: read with everything that is to be kept, and written in the same format."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from scipy.ndimage import distance_transform_edt

from deepdeblur_tf.errors import UserError, quiet_libraries
from deepdeblur_tf.images.deep import read_deep, spare_channels
from deepdeblur_tf.images.formats import Format, lying_on_its_side
from deepdeblur_tf.images.metadata import Metadata
from deepdeblur_tf.images.opening import ImageError, Opened, opened, opened_header, turned_upright

_GREY_MODES = ("1", "L", "LA")
_ALPHA_MODES = ("LA", "PA", "RGBA", "RGBa")
_PRINT_MODES = ("CMYK", "LAB")  # which Pillow decodes to 8 bits, and are written as RGB
_COLOUR_MODES = ("P", "RGB", "RGBX", "YCbCr")


@dataclass(frozen=True)
class Photo:
    """A picture, and what else its file holds.

    Attributes:
        rgb: uint8 [H, W, 3], upright; uint16 for a file of 16 bits a channel.
        alpha: [H, W] of the same dtype; None for an opaque picture.
        has_colours: Whether the file holds three channels, though they may be equal.
        format: Its format.
        options: Of Pillow's, to write the same format again at its own quality.
        metadata: What stands around the pixels and is written again.
        left_out: What of the file is not written again, in words.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    has_colours: bool
    format: Format
    options: dict
    metadata: Metadata
    left_out: tuple[str, ...]

    @cached_property
    def visible(self) -> np.ndarray:
        """`rgb` to be restored: what alpha hides wholly has the nearest colours that it does not.

        Programs leave anything there, such as black, whose edge would be taken for the picture's.
        """
        if self.alpha is None or self.alpha.all() or not self.alpha.any():
            return self.rgb
        nearest = distance_transform_edt(self.alpha == 0, return_distances=False, return_indices=True)
        return self.rgb[tuple(nearest)]


def photo_size(path) -> tuple[int, int]:
    """(height, width) by the header, without a check, and as they lie in the file."""
    with quiet_libraries(shows_failures=False):
        width, height = opened_header(path).image.size
    return height, width


def photo_pixels(path) -> int:
    """Height times width by the header, without a check."""
    height, width = photo_size(path)
    return height * width


def read_photo(path) -> Photo:
    """Reads a picture: colour, grey or palette, of 8 or 16 bits a channel, with or without transparency.

    It is read by what it is, not by its name. EXIF's orientation is applied, and removed from what is kept, so that no
    viewer applies it again. Pixels are read whatever stands around them; what of that cannot be kept, `left_out` names.

    Args:
        path: The file, of one of `formats.FORMATS`.

    Raises:
        ImageError: names the file: missing, no picture, damaged, an animation, more pixels than the memory holds.
    """
    path = Path(path)
    with quiet_libraries(shows_failures=False), opened(path) as found:
        if found.frames > 1:
            raise ImageError(
                f"{path}: has {found.frames} frames; animations and files of several pages are not restored. Save the "
                "one that you want as a picture of its own, for example as PNG."
            )
        width, height = found.image.size
        if 0 < found.format.most_pixels < width * height:
            raise ImageError(
                f"{path}: has {width}x{height} pixels; no {found.format.title} of more than {found.format.most_pixels} "
                "can be written. Save it as JPEG or PNG."
            )
        metadata, left_out = found.metadata, list[str]()
        if spare := spare_channels(found.image):
            left_out.append(f"{spare} of its channels, neither colours nor transparency")
        if _is_deep(found):
            pixels = read_deep(found.content, found.image)
        else:
            pixels, metadata = _pixels(found, left_out)
        pixels = np.ascontiguousarray(turned_upright(pixels, metadata))
        options = found.format.options(found.image, found.content)
        if found.format.name == "JPEG" and metadata.orientation >= 5:
            options = lying_on_its_side(options)
        metadata = metadata.of_upright(found.upright_size)
    channels = pixels.shape[2]
    rgb, alpha = pixels[..., : 3 if channels > 2 else 1], pixels[..., -1] if channels in (2, 4) else None
    rgb = np.broadcast_to(rgb, (*rgb.shape[:2], 3))
    return Photo(rgb, alpha, channels > 2, found.format, options, metadata, (*left_out, *metadata.left_out))


def _is_deep(found: Opened) -> bool:
    """Whether a picture's more than 8 bits a channel are read and written."""
    if found.format.name == "TIFF":
        return found.bits == 16 and found.image.mode not in _PRINT_MODES
    return found.bits > 8 and found.format.name in ("PNG", "HEIF")


def _pixels(found: Opened, left_out: list[str]) -> tuple[np.ndarray, Metadata]:
    """(uint8 [H, W, C], the metadata that are true of them): grey, grey and alpha, RGB, or RGB and alpha."""
    image, metadata = found.image, found.metadata
    if found.bits > 8 and found.bits != 16 and found.format.name == "TIFF":
        raise UserError(f"has {found.bits} bits a channel. Save it with 8 or 16, for example as PNG.")
    if found.bits > 8:
        left_out.append(f"{found.bits} bits a channel, of which 8 are written")
    image.load()
    if image.mode == "CMYK":
        return _from_cmyk(image, metadata, left_out), replace(metadata, icc=b"")
    if image.mode == "LAB":
        left_out.append("the colour space Lab; the picture is written as RGB")
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        return np.asarray(converted), replace(metadata, icc=b"")
    if image.mode not in (*_GREY_MODES, *_ALPHA_MODES, *_COLOUR_MODES):
        raise UserError(f"has the colour space {image.mode}. Save it as RGB, for example as JPEG.")
    transparent = image.mode in _ALPHA_MODES or "transparency" in image.info
    mode = ("L" if image.mode in _GREY_MODES else "RGB") + "A" * transparent
    pixels = np.asarray(image.convert(mode))
    return pixels if pixels.ndim == 3 else pixels[..., None], metadata


def _from_cmyk(image: Image.Image, metadata: Metadata, left_out: list[str]) -> np.ndarray:
    """A picture for print, as uint8 [H, W, 3] in sRGB: by its own profile, or by a rule if it has no sound one."""
    way, srgb = "by its profile", ImageCms.createProfile("sRGB")
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(metadata.icc))
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        converted = ImageCms.profileToProfile(image, profile, srgb, intent, "RGB", flags=flags)
    except (OSError, ImageCms.PyCMSError):
        converted, way = image.convert("RGB"), "without a profile"
    left_out.append(f"the colour space CMYK; the picture is written as RGB, converted {way}")
    return np.asarray(converted)


def write_photo(path, photo: Photo, restored: np.ndarray) -> None:
    """Writes a restored picture as the file that it came from: format, depth, grey, transparency, metadata.

    Args:
        path: Where to.
        photo: The picture as it was read.
        restored: What became of its `visible`.
    """
    if photo.alpha is not None:  # what it hides stays as it was
        restored = np.where(photo.alpha[..., None] == 0, photo.rgb, restored)
    pixels = restored if photo.has_colours else restored[..., :1]
    if photo.alpha is not None:
        pixels = np.dstack([pixels, photo.alpha])
    Path(path).write_bytes(photo.format.write(pixels, photo.options, photo.metadata))
