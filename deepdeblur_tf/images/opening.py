"""Picture files opened by what they are, whatever their names and whatever stands around their pixels."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images import jpeg, png, tiff
from deepdeblur_tf.images.metadata import Metadata, Parts

_HEAD = 2**18  # bytes of a file in which mostly all stands that comes before the pixels
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(UserError):
    """An image that cannot be used; the message starts with its file."""


class _Format(NamedTuple):
    """A format as Pillow calls it, the bytes that its files begin with, and how they are taken apart."""

    name: str
    beginnings: tuple[bytes, ...]
    take_apart: Callable[[bytes], Parts] = lambda content: Parts(content, Metadata())


_FORMATS = (
    _Format("PNG", (b"\x89PNG\r\n\x1a\n",), png.take_apart),
    _Format("JPEG", (b"\xff\xd8\xff",), jpeg.take_apart),
    _Format("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.take_apart),
    _Format("BMP", (b"BM",)),
)


class Opened(NamedTuple):
    """A picture's file.

    Attributes:
        image: Its pixels, opened, without what stands around them.
        format: Its format.
        metadata: What stands around them.
        frames: How many pictures it holds.
        is_deep: Whether it has more than 8 bits a channel, which Pillow may cut to 8 by itself.
    """

    image: Image.Image
    format: str
    metadata: Metadata
    frames: int
    is_deep: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """(width, height) of the picture, turned upright."""
        width, height = self.image.size
        return (height, width) if self.metadata.orientation >= 5 else (width, height)


@contextlib.contextmanager
def opened(path) -> Iterator[Opened]:
    """A picture's file, for a `with` block. Raises ImageError, also for what Pillow raises in the block."""
    with pillow_errors(path):
        content = Path(path).read_bytes()
        if content.startswith(b"\x89PNG"):
            with _opened(path, content).image as image:
                image.verify()  # the checksums, which decoding leaves unread
        found = _opened(path, content)
        with found.image:
            yield found


def opened_header(path) -> Opened:
    """A picture's file whose pixels are not to be decoded; mostly, no more than its beginning is read."""
    with pillow_errors(path):
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            if _format(path, head).name != "TIFF":  # whose parts may stand anywhere
                with contextlib.suppress(Exception):  # more stands before the pixels than mostly does
                    found = _opened(path, head)
                    if found.format != "PNG" or found.metadata.exif:
                        return found
                    file.seek(max(0, file.seek(0, io.SEEK_END) - _HEAD))
                    return found._replace(metadata=replace(found.metadata, exif=png.exif_at_the_end(file.read())))
        return _opened(path, Path(path).read_bytes())


def _format(path, content: bytes) -> _Format:
    for known in _FORMATS:
        if content.startswith(known.beginnings):
            return known
    raise ImageError(f"{path}: not a readable image; its content is none of {', '.join(f.name for f in _FORMATS)}.")


def _opened(path, content: bytes) -> Opened:
    known = _format(path, content)
    parts = known.take_apart(content)
    image = Image.open(io.BytesIO(parts.pixels), formats=[known.name])
    deep = image.mode.startswith(("I", "F"))
    if known.name == "PNG":
        deep |= parts.pixels[24] == 16  # IHDR's bit depth
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        deep |= max(image.tag_v2.get(ExifTags.Base.BitsPerSample, (8,))) > 8
    return Opened(image, known.name, parts.metadata, parts.frames, deep)


def upright(image: Image.Image, metadata: Metadata) -> Image.Image:
    """An image turned as its metadata say."""
    turn = _TURNS.get(metadata.orientation)
    return image if turn is None else image.transpose(turn)


def refuse_deep(path, found: Opened) -> None:
    """Raises ImageError for an image with more than 8 bits a channel."""
    if found.is_deep:
        raise ImageError(f"{path}: has 16 bits a channel or more; only 8-bit images are read. Convert it to 8 bits.")


@contextlib.contextmanager
def pillow_errors(path):
    """Turns what Pillow raises while it reads a file into an ImageError that names the file."""
    if Path(path).exists() and not Path(path).is_file():  # to open a pipe would wait for who writes into it
        raise ImageError(f"{path}: is a folder, a pipe or a device, and no file.")
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
