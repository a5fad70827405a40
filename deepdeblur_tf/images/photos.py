"""A user's own picture files: read with everything that is to be kept, and written in the same format."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin

from deepdeblur_tf.images.rgb import ImageError, check_checksums, pillow_errors, refuse_more_than_8_bits

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # as Pillow calls them
# TIFF tags on how the file stores its pixels, from 254 (NewSubfileType) to 532 (ReferenceBlackWhite), and 274, the
# orientation. All others describe the picture (maker, time, copyright, resolution, ...) and are kept.
_TIFF_LAYOUT = {254, 255, *range(256, 267), *range(273, 282), 284, 290, 291, 292, 293, 317, 320, *range(321, 348)}
_TIFF_LAYOUT |= {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
_GREY_MODES = ("1", "L", "LA")
_ALPHA_MODES = ("LA", "PA", "RGBA")


@dataclass(frozen=True)
class Photo:
    """A picture, and what else its file holds.

    Attributes:
        rgb: uint8 [H, W, 3], upright.
        alpha: uint8 [H, W]; None for an opaque picture.
        is_grey: Whether the file holds no colours; then the three channels of `rgb` are equal.
        options: Pillow's options to write the same format again: metadata, colour profile, JPEG tables.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None
    is_grey: bool
    options: dict


def photo_pixels(path) -> int:
    """Height times width by the header, without a check."""
    with pillow_errors(path), Image.open(path, formats=_FORMATS) as image:
        return image.height * image.width


def read_photo(path) -> Photo:
    """Reads a picture of 8 bits a channel: colour, grey or palette, with or without transparency.

    EXIF's orientation is applied, and removed from what is kept, so that no viewer applies it again.

    Args:
        path: The file, PNG, JPEG, BMP or TIFF.

    Raises:
        ImageError: names the file: missing, no picture, damaged, 16 bits a channel, CMYK, several frames.
    """
    path = Path(path)
    with pillow_errors(path):
        check_checksums(path)
        with Image.open(path, formats=_FORMATS) as image:
            refuse_more_than_8_bits(path, image)
            if image.mode not in ("P", "RGB", *_GREY_MODES, *_ALPHA_MODES):
                raise ImageError(f"{path}: has the colour space {image.mode}; convert it to RGB.")
            # An MPO is a phone's JPEG with another picture, such as a depth map, behind it.
            frames = getattr(image, "n_frames", 1)
            if image.format != "MPO" and frames > 1:
                raise ImageError(f"{path}: has {frames} frames. Save the one to restore as a picture.")
            image.load()
            upright = ImageOps.exif_transpose(image)
            grey = image.mode in _GREY_MODES
            transparent = image.mode in _ALPHA_MODES or "transparency" in image.info
            pixels = np.asarray(upright.convert("RGBA" if transparent else "RGB"))
            options = _options(image, upright)
    return Photo(pixels[..., :3], pixels[..., 3] if transparent else None, grey, options)


def _options(image: Image.Image, upright: Image.Image) -> dict:
    info, kept = upright.info, ["icc_profile", "dpi", "exif"]
    options: dict[str, Any] = {"format": image.format}
    if isinstance(image, JpegImagePlugin.JpegImageFile):  # an MPO is one too
        kept += ["xmp", "comment"]
        # The source's own tables: its quality, whatever its program called that.
        options.update(format="JPEG", qtables=image.quantization, progressive="progressive" in info)
        captions = [data for name, data in image.applist if name == "APP13"]  # IPTC: caption, author, copyright
        options["extra"] = b"".join(b"\xff\xed" + struct.pack(">H", len(data) + 2) + data for data in captions)
        # -1 for what Pillow cannot write, such as 4:4:0; then no colour is thrown away.
        options["subsampling"] = max(0, JpegImagePlugin.get_sampling(image))
    elif isinstance(image, PngImagePlugin.PngImageFile):
        options["pnginfo"] = texts = PngImagePlugin.PngInfo()
        # What the values mean: gamma, primaries, sRGB (PNG specification, 11.3.2).
        if "gamma" in info:
            texts.add(b"gAMA", struct.pack(">I", round(100000 * info["gamma"])))
        if "chromaticity" in info:
            texts.add(b"cHRM", struct.pack(">8I", *(round(100000 * value) for value in info["chromaticity"])))
        if "srgb" in info:
            texts.add(b"sRGB", bytes([info["srgb"]]))
        for key, text in image.text.items():
            if key == "XML:com.adobe.xmp":
                texts.add_itxt(key, info[key])  # without the orientation
            elif isinstance(text, PngImagePlugin.iTXt):
                texts.add_itxt(key, text, text.lang or "", text.tkey or "")
            elif key != "Raw profile type exif":  # written as EXIF
                texts.add_text(key, text)
    elif image.format == "TIFF":
        options["exif"] = exif = image.getexif()  # all of the TIFF's tags
        for tag in set(exif) & _TIFF_LAYOUT:
            del exif[tag]
        lossless = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")
        options["compression"] = info.get("compression") if info.get("compression") in lossless else "tiff_lzw"
    options.update((key, info[key]) for key in kept if info.get(key))
    if isinstance(options.get("exif"), bytes):
        options["exif"] = _exif(options["exif"], upright.size)
    return options


def _exif(content: bytes, size: tuple[int, int]) -> bytes:
    """EXIF data without the thumbnail, which would show the blurry picture, and with the upright picture's size."""
    exif = Image.Exif()
    exif.load(content)
    inner = exif.get_ifd(ExifTags.IFD.Exif)
    stale = [tag for tag, side in ((0xA002, size[0]), (0xA003, size[1])) if inner.get(tag, side) != side]
    if not stale and not exif.get_ifd(ExifTags.IFD.IFD1):
        return content  # as the camera wrote it, byte by byte
    inner.update({tag: size[tag - 0xA002] for tag in stale})
    return exif.tobytes()


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
    image.save(path, **photo.options)
