"""The formats of pictures: a record each, from which names, messages, reading and writing follow."""

from __future__ import annotations

import importlib.util
import io
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from deepdeblur_tf.errors import UserError, need, quiet_libraries
from deepdeblur_tf.images import exif, jpeg, png, tiff
from deepdeblur_tf.images.deep import TIFF_COMPRESSIONS, code_deep
from deepdeblur_tf.images.metadata import Metadata, Parts

_QUALITIES = range(20, 99, 3)
# Pixels of a picture that is coded whole to find its quality; of a larger one 5x5 squares of this side are.
_WHOLE, _SQUARES, _SQUARE = 500**2, 5, 140


@dataclass(frozen=True)
class Format:
    """A format of pictures.

    Attributes:
        name: As Pillow calls it.
        title: As people call it.
        suffixes: Of its files.
        is_of: Whether bytes that begin a file are of this format.
        open: From a file to the image, its pixels not yet decoded.
        options: From that image and its file's bytes to Pillow's options to write it at its own quality.
        take_apart: From a file's bytes to its pixels and what stands around them. None: the image tells of it.
        put_together: The reverse, from coded pixels. None: options of Pillow's do it.
        most_pixels: That its encoder takes; 0 for any number.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    is_of: Callable[[bytes], bool]
    open: Callable[[io.BytesIO], ImageFile.ImageFile]
    options: Callable[[ImageFile.ImageFile, bytes], dict]
    take_apart: Callable[[bytes], Parts] | None = None
    put_together: Callable[[bytes, Metadata], bytes] | None = None
    most_pixels: int = 0

    def write(self, pixels: np.ndarray, options: dict, metadata: Metadata) -> bytes:
        """A picture's file.

        Args:
            pixels: uint8 or uint16 [H, W, C]: grey, grey and alpha, RGB, or RGB and alpha.
            options: As `options` gives them.
            metadata: What is to stand around the pixels.
        """
        if self.put_together is not None:
            return self.put_together(_coded(pixels, self.name, options), metadata)
        # As long as the EXIF data, in whose place Pillow would write what it makes of them.
        place = b"II*\0\x08\0\0\0\0\0".ljust(len(metadata.exif), b"\xa5") if len(metadata.exif) > 26 else b""
        around = {"exif": place, "xmp": metadata.xmp, "icc_profile": metadata.icc}
        coded = _coded(pixels, self.name, {**options, **{key: value for key, value in around.items() if value}})
        if metadata.colours:
            # The encoders write that of sRGB. Their matrix, which follows, is that of their own conversion to YCbCr.
            coded = re.sub(rb"(?<=colrnclx).{4}", lambda found: metadata.colours, coded, flags=re.S)
        return coded.replace(place, metadata.exif, 1) if place else coded


def _coded(pixels: np.ndarray, name: str, options: dict) -> bytes:
    if pixels.dtype == np.uint16:
        return code_deep(pixels, name, options)
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
    coded = io.BytesIO()
    with quiet_libraries():  # libjpeg's caution that a camera's own tables are coarse
        _save(image, coded, name, options)
    return coded.getvalue()


def _save(image: Image.Image, coded: io.BytesIO, name: str, options: dict) -> None:
    if name == "HEIF":  # not by registering it with Pillow, where others would meet it
        import pillow_heif

        pillow_heif.from_pillow(image).save(coded, **options)
    else:
        # Noisy pictures in progressive JPEG need a larger buffer than Pillow's guess, of 31 bits at the most.
        before, wanted = ImageFile.MAXBLOCK, 8 * len(image.getbands()) * image.width * image.height
        ImageFile.MAXBLOCK = max(before, min(wanted, 2**31 - 1))
        try:
            image.save(coded, name, **options)
        finally:
            ImageFile.MAXBLOCK = before  # every image takes a buffer of this size, to be read as an array, too


def _jpeg(image: Any, content: bytes) -> dict:
    # The source's own tables: its quality, whatever its program called that. Pillow writes two, for light and colours.
    tables = [*image.quantization.values()]
    if image.mode != "CMYK":
        tables = [image.quantization[layer[3]] for layer in image.layer[:2]]
    # -1 for what Pillow cannot write, such as 4:4:0; then no colour is thrown away.
    sampling = max(0, JpegImagePlugin.get_sampling(image))
    return {"qtables": tables, "progressive": "progressive" in image.info, "subsampling": sampling}


def lying_on_its_side(options: dict) -> dict:
    """A JPEG's options for the picture turned by 90 degrees, as it then lies in its blocks."""
    tables = [np.reshape(table, (8, 8)).T.ravel().tolist() for table in options["qtables"]]
    # 1, for 4:2:2, halves the colours across, where they are whole now.
    return {**options, "qtables": tables, "subsampling": options["subsampling"] if options["subsampling"] != 1 else 0}


def _tiff(image: ImageFile.ImageFile, content: bytes) -> dict:
    compression = image.info.get("compression")
    return {"compression": compression if compression in TIFF_COMPRESSIONS else "tiff_lzw"}


def _bmp(image: ImageFile.ImageFile, content: bytes) -> dict:
    return {"dpi": image.info["dpi"]} if image.info.get("dpi") else {}


def _bmp_of_version_4(coded: bytes, metadata: Metadata) -> bytes:
    """A BMP of Pillow's; one of 32 bits a pixel with the longer header that calls the last eight alpha."""
    if coded[28] != 32:
        return coded
    longer = struct.pack("<4I4s48x", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs")
    size, offset = len(coded) + len(longer), 54 + len(longer)
    head = struct.pack("<2sI4xI", b"BM", size, offset) + struct.pack("<I", offset - 14) + coded[18:30]
    return head + struct.pack("<I", 3) + coded[34:54] + longer + coded[54:]  # 3: colours by masks


def _webp(image: ImageFile.ImageFile, content: bytes) -> dict:
    if b"VP8L" in content:  # a chunk's name
        return {"lossless": True, "exact": True}
    return {"quality": _own_quality(image, content, "WEBP", {})}


def _avif(image: ImageFile.ImageFile, content: bytes) -> dict:
    flags = _av1_flags(content)
    sampling = {0: "4:4:4", 8: "4:2:2"}.get(flags & 12, "4:2:0")
    options = {"subsampling": "4:0:0" if flags & 16 else sampling}
    return {**options, "quality": _own_quality(image, content, "AVIF", options)}


def _av1_flags(content: bytes) -> int:
    """How AV1 stores a picture: 64 for over 8 bits, 32 for 12, 16 for grey, 8 and 4 for colours at half the size."""
    at = content.find(b"av1C")
    return content[at + 6] if 0 <= at < len(content) - 6 else 12


def avif_bits(content: bytes) -> int:
    """Bits a channel of an AVIF."""
    return (12 if _av1_flags(content) & 32 else 10) if _av1_flags(content) & 64 else 8


def _heif(image: ImageFile.ImageFile, content: bytes) -> dict:
    options = {"chroma": int(image.info["chroma"])} if image.info.get("chroma") in (420, 422, 444) else {}
    options["quality"] = _own_quality(image, content, "HEIF", options)
    return options if image.info["bit_depth"] <= 8 else {**options, "bits": 12 if image.info["bit_depth"] > 10 else 10}


def _own_quality(image: ImageFile.ImageFile, content: bytes, name: str, options: dict) -> int:
    """The quality at which a picture's own pixels take as many bytes as they do in its file.

    These formats do not tell it. It is found with squares of the picture, spread over it.
    """
    if image.mode.startswith("I;16"):
        pixels = (np.asarray(image) >> 8).astype(np.uint8)[..., None].repeat(3, axis=2)
    else:
        pixels = np.asarray(image.convert("RGBA" if image.mode == "RGBA" else "RGB"))
    height, width = pixels.shape[:2]
    if height * width > _WHOLE:
        tops, lefts = (np.linspace(0, max(0, length - _SQUARE), _SQUARES).astype(int) for length in (height, width))
        rows = (pixels[top : top + _SQUARE] for top in tops)
        pixels = np.vstack([np.hstack([row[:, left : left + _SQUARE] for left in lefts]) for row in rows])
    info = image.info
    around = sum(len(info.get(key) or b"") for key in ("exif", "xmp", "icc_profile")) + boxes(content).get(b"mpvd", 0)
    wanted = (len(content) - around) * pixels.shape[0] * pixels.shape[1] / (height * width)
    sample = Image.fromarray(pixels)

    def size(quality: int) -> int:
        coded = io.BytesIO()
        _save(sample, coded, name, {**options, "quality": quality})
        return len(coded.getvalue())

    low, high = 0, len(_QUALITIES) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if size(_QUALITIES[middle]) >= wanted else (middle + 1, high)
    return _QUALITIES[low]


def boxes(content: bytes) -> dict[bytes, int]:
    """The outermost boxes of a file in the base format of ISO media: their sizes in bytes, by their types."""
    found: dict[bytes, int] = {}
    at = 0
    while content[4:8] == b"ftyp" and at + 16 <= len(content):
        size, kind, long_size = struct.unpack(">I4sQ", content[at : at + 16])
        size = long_size if size == 1 else size or len(content) - at  # 0: up to the end
        found[kind] = found.get(kind, 0) + size
        at += max(8, size)
    return found


def brands(head: bytes) -> set[bytes]:
    """What a file in the base format of ISO media says that it can be read as."""
    if head[4:8] != b"ftyp":
        return set()
    (length,) = struct.unpack(">I", head[:4])
    return {head[8:12], *(head[at : at + 4] for at in range(16, min(length, 256, len(head)), 4))}


def _is_avif(head: bytes) -> bool:
    return bool(brands(head) & {b"avif", b"avis"})


def _is_heif(head: bytes) -> bool:
    return not _is_avif(head) and bool(brands(head) & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1"})


def _open_avif(file: io.BytesIO) -> ImageFile.ImageFile:
    if importlib.util.find_spec("PIL._avif") is None:
        raise UserError("AVIF needs Pillow 11.3 or later. Install it: pip install -U pillow")
    from PIL import AvifImagePlugin

    return AvifImagePlugin.AvifImageFile(file)


def _open_heif(file: io.BytesIO) -> ImageFile.ImageFile:
    need("pillow_heif", "heif", "HEIC or HEIF")
    from pillow_heif import HeifImageFile

    return HeifImageFile(file)


def _begins(head: bytes) -> Callable[[bytes], bool]:
    return lambda content: content.startswith(head)


FORMATS = (
    Format(
        "JPEG",
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        _begins(b"\xff\xd8\xff"),
        JpegImageFile,
        _jpeg,
        jpeg.take_apart,
        jpeg.put_together,
    ),
    Format(
        "PNG", "PNG", (".png",), _begins(png.SIGNATURE), PngImageFile, lambda *_: {}, png.take_apart, png.put_together
    ),
    # The bound of x265, which writes level 7.2 of HEVC at the most.
    Format("HEIF", "HEIC", (".heic", ".heif", ".hif"), _is_heif, _open_heif, _heif, most_pixels=142_606_336),
    Format("WEBP", "WebP", (".webp",), lambda head: head[:4] + head[8:12] == b"RIFFWEBP", WebPImageFile, _webp),
    Format("AVIF", "AVIF", (".avif",), _is_avif, _open_avif, _avif),
    Format("TIFF", "TIFF", (".tif", ".tiff"), exif.is_exif, TiffImageFile, _tiff, tiff.take_apart, tiff.put_together),
    Format("BMP", "BMP", (".bmp",), _begins(b"BM"), BmpImageFile, _bmp, put_together=_bmp_of_version_4),
)
SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)
TITLES = ", ".join(known.title for known in FORMATS)

# What people try all the same, by what its files begin with.
_OTHERS = {
    "a GIF": (b"GIF8",),
    "a Photoshop document": (b"8BPS",),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "a PDF": (b"%PDF",),
    "a raw file of a camera": (b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0", b"\0MRM", b"II\x1a\0\0\0HEAPCCDR", b"ftypcrx "),
    "SVG, which has no pixels": (b"<svg",),
}


def format_of(head: bytes) -> Format:
    """A file's format by its first 256 bytes or more. Raises UserError, which says what it is instead."""
    for known in FORMATS:
        if known.is_of(head):
            return known
    for name, begins in _OTHERS.items():
        if head.startswith(begins) or head[4:12] in begins:  # the latter is behind the size of ISO media's first box
            raise UserError(f"is {name}, which is not read. Save it as JPEG or PNG.")
    raise UserError(
        f"not a readable image; its content is none of {TITLES}. If it is a picture, save it as JPEG or PNG."
    )


def metadata_of(image: Image.Image, content: bytes) -> Metadata:
    """What stands around the pixels of an image, as Pillow and the file's bytes tell of it."""
    info = image.info
    block, xmp = exif.without_prefix(info.get("exif") or b""), info.get("xmp") or b""
    is_sound = not block or exif.is_exif(block)
    return Metadata(
        exif=block if is_sound else b"",
        xmp=xmp.encode() if isinstance(xmp, str) else xmp,
        icc=info.get("icc_profile") or b"",
        left_out=() if is_sound else ("EXIF data that do not begin as such",),
        colours=_colours(content),
    )


def _colours(content: bytes) -> bytes:
    """See `Metadata.colours`; none where they are unspecified (2)."""
    at = content.find(b"colrnclx")
    colours = content[at + 8 : at + 12] if at >= 0 else b""
    return b"" if colours == b"\0\2\0\2" or len(colours) < 4 else colours
