"""Picture files opened by what they are, whatever their names and whatever stands around their pixels."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, ImageFile, TiffImagePlugin

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images import png
from deepdeblur_tf.images.formats import Format, avif_bits, boxes, brands, format_of, metadata_of
from deepdeblur_tf.images.metadata import MOTION_PHOTO, OTHER_PICTURES, Metadata
from deepdeblur_tf.memory import available_memory

_HEAD = 2**18  # bytes of a file in which mostly all stands that comes before the pixels
_BYTES_PER_PIXEL = 24  # at the most at once, from decoding to writing; measured with a picture of 200 megapixels


class ImageError(UserError):
    """An image that cannot be used; the message starts with its file."""


class Opened(NamedTuple):
    """A picture's file.

    Attributes:
        image: Its pixels, opened, without what stands around them.
        content: Their bytes.
        format: Its format.
        metadata: What stands around them.
        frames: How many pictures it holds.
        bits: A channel; Pillow may cut more than 8 to 8 by itself.
    """

    image: ImageFile.ImageFile
    content: bytes
    format: Format
    metadata: Metadata
    frames: int
    bits: int

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) of the picture, turned upright."""
        width, height = self.image.size
        return (height, width) if self.metadata.orientation >= 5 else (width, height)


@contextlib.contextmanager
def opened(path) -> Iterator[Opened]:
    """A picture's file, for a `with` block. Raises ImageError, also for what Pillow raises in the block."""
    with pillow_errors(path):
        found = _opened(Path(path).read_bytes())
        with found.image:
            _refuse_too_large(path, found)
            if found.format.name == "PNG":
                with found.format.open(io.BytesIO(found.content)) as image:
                    image.verify()  # the checksums, which decoding leaves unread
            yield found


def opened_header(path) -> Opened:
    """A picture's file whose pixels are not to be decoded; mostly, no more than its beginning is read."""
    with pillow_errors(path):
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            if format_of(head).name in ("PNG", "JPEG", "BMP"):  # parts of the others may stand anywhere
                with contextlib.suppress(Exception):  # more stands before the pixels than mostly does
                    found = _opened(head)
                    if found.format.name != "PNG" or found.metadata.exif:
                        return found
                    file.seek(max(0, file.seek(0, io.SEEK_END) - _HEAD))
                    return found._replace(metadata=replace(found.metadata, exif=png.exif_at_the_end(file.read())))
        return _opened(Path(path).read_bytes())


def _opened(content: bytes) -> Opened:
    known = format_of(content)
    if known.take_apart is not None:
        content, metadata, frames = known.take_apart(content)
        image = known.open(io.BytesIO(content))
    else:
        left_out: tuple[str, ...] = ()
        try:
            image = known.open(io.BytesIO(content))
        except Exception:
            # The other program parts of these formats are named in a table, with four letters each.
            content, left_out = content.replace(b"Exif", b"skip"), ("the EXIF data, which are damaged",)
            image = known.open(io.BytesIO(content))
        metadata, frames = metadata_of(image, content), getattr(image, "n_frames", 1)
        metadata = replace(metadata, left_out=metadata.left_out + left_out)
        if known.name == "HEIF" and frames > 1:  # one is the picture, whatever others are there
            metadata = replace(metadata, left_out=(*metadata.left_out, f"{frames - 1} other pictures in the file"))
            frames = 1
        if image.info.get("aux") or image.info.get("depth_images") or b"tmap" in brands(content):  # a gain map
            metadata = replace(metadata, left_out=(*metadata.left_out, OTHER_PICTURES))
        if b"mpvd" in boxes(content):
            metadata = replace(metadata, left_out=(*metadata.left_out, MOTION_PHOTO))
    return Opened(image, content, known, metadata, frames, _bits(image, known, content))


def _bits(image: ImageFile.ImageFile, known: Format, content: bytes) -> int:
    if known.name == "PNG":
        return content[24]  # IHDR's bit depth
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,)))
        return bits if image.tag_v2.get(ExifTags.Base.SampleFormat, (1,))[0] == 1 else max(32, bits)  # no whole numbers
    if known.name == "AVIF":
        return avif_bits(content)
    return image.info.get("bit_depth", 8)  # HEIF


def _refuse_too_large(path, found: Opened) -> None:
    """Raises ImageError for a picture that this machine's memory cannot hold."""
    width, height = found.image.size
    needed, available = width * height * _BYTES_PER_PIXEL * (1 if found.bits <= 8 else 2), available_memory()
    if needed > available:
        raise ImageError(
            f"{path}: {width}x{height} pixels need {needed / 2**30:.3g} GiB of memory; {available / 2**30:.3g} GiB are "
            "free. Close other programs, or make it smaller."
        )


def turned_upright(pixels: np.ndarray, metadata: Metadata) -> np.ndarray:
    """[H, W, C] of any dtype, turned as its metadata say (EXIF 2.32, 4.6.4.A)."""
    orientation = metadata.orientation
    pixels = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    pixels = pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


@contextlib.contextmanager
def pillow_errors(path):
    """Turns what is raised while a file is read, by Pillow too, into an ImageError that names the file."""
    if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe would wait for who writes into it
        raise ImageError(f"{path}: is a folder, a pipe or a device, and no file.")
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except UserError as error:
        raise ImageError(f"{path}: {error}") from error
    except Exception as error:  # damaged files raise anything: numbers in their headers are used unchecked
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):  # Pillow's own have no number
            raise ImageError(f"{path}: cannot be read ({error.strerror}).") from error
        if not os.path.exists(path):
            raise ImageError(f"{path}: no such file") from error
        reason = str(error).strip() or type(error).__name__
        raise ImageError(
            f"{path}: does not decode ({reason}). It is damaged, or of a rare kind; if other programs show it, save it "
            "anew with one of them, for example as PNG."
        ) from error
