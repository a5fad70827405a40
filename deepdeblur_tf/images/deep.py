"""Pixels of more than 8 bits a channel, of which Pillow keeps 8.

Those of PNG are read and written by TensorFlow, of TIFF by OpenCV (the extra `deep`), of HEIC by pillow-heif (`heif`).
"""

from __future__ import annotations

import io

import numpy as np
from PIL import ExifTags, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from deepdeblur_tf.errors import UserError, need

_COLOUR_ORDERS = {1: [0], 2: [0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}  # OpenCV has blue first
_HEIF_MODES = {1: "L;16", 2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}
TIFF_COMPRESSIONS = {"raw": 1, "tiff_lzw": 5, "tiff_adobe_deflate": 8, "tiff_deflate": 8, "packbits": 32773}


def read_deep(content: bytes, image: ImageFile.ImageFile) -> np.ndarray:
    """Decodes a picture of 16 bits a channel, in HEIC of 10 or 12, of which white is 65535, too.

    Args:
        content: A PNG's, a TIFF's or a HEIC's bytes.
        image: The same, opened by Pillow.

    Returns:
        uint16 [H, W, C]: grey, grey and alpha, RGB, or RGB and alpha.

    Raises:
        UserError: OpenCV is not installed, or cannot read this kind of TIFF.
    """
    if image.format == "PNG":
        from deepdeblur_tf.compat import tf  # which takes seconds to load

        # By itself it drops a transparent colour (tRNS); grey with alpha it has none of.
        channels = 4 if "transparency" in image.info else 0
        pixels = tf.io.decode_png(content, channels, tf.uint16).numpy()
        is_grey = content[25] == 0  # IHDR's colour type
        return pixels[..., [0, 3]] if channels and is_grey else pixels
    if image.format == "HEIF":
        import pillow_heif

        pixels = np.asarray(pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=False))
        pixels = pixels | pixels >> image.info["bit_depth"]  # its lower bits are 0
        return pixels.reshape(*pixels.shape[:2], -1)
    need("cv2", "deep", "a TIFF of 16 bits a channel")
    import cv2

    tags = image.tag_v2  # type: ignore[attr-defined]
    is_in_planes = tags.get(ExifTags.Base.PlanarConfiguration) == 2  # which OpenCV takes for pixels
    if is_in_planes and tags.get(ExifTags.Base.SamplesPerPixel, 1) > 1:
        raise UserError("is a TIFF of 16 bits that holds one channel after the other. Save it interleaved, or as PNG.")
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.shape[1::-1] != image.size:
        raise UserError("is a TIFF of a kind that is not read. Save it as PNG, or with 8 bits a channel.")
    pixels = pixels.reshape(*pixels.shape[:2], -1)[..., _COLOUR_ORDERS[pixels.shape[2] if pixels.ndim == 3 else 1]]
    meaning = tags.get(ExifTags.Base.ExtraSamples, (2,))[0]
    if meaning == 0:  # nothing that is known
        return pixels[..., :3]
    if meaning == 1:
        return _unassociated(pixels)
    return 65535 - pixels if tags.get(ExifTags.Base.PhotometricInterpretation) == 0 else pixels


def spare_channels(image: ImageFile.ImageFile) -> int:
    """How many channels of a TIFF are neither its colours nor their alpha, such as a scanner's infrared."""
    extra = image.tag_v2.get(ExifTags.Base.ExtraSamples, ()) if isinstance(image, TiffImageFile) else ()
    return len(extra) - (extra[:1] in ((1,), (2,)) and image.mode != "CMYK")


def _unassociated(pixels: np.ndarray) -> np.ndarray:
    """uint16 [H, W, C] whose colours were multiplied by their alpha, without that (TIFF 6.0, section 18)."""
    colours, alpha = pixels[..., :-1].astype(np.uint32), np.maximum(pixels[..., -1:], np.uint16(1)).astype(np.uint32)
    shown = np.minimum((colours * 65535 + alpha // 2) // alpha, 65535).astype(np.uint16)
    return np.dstack([shown, pixels[..., -1]])


def code_deep(pixels: np.ndarray, name: str, options: dict) -> bytes:
    """Codes uint16 [H, W, C] as `read_deep` gives it.

    Args:
        pixels: The picture.
        name: PNG, TIFF or HEIF.
        options: For TIFF `compression`, as Pillow calls it; for HEIF `bits`, 10 or 12, and pillow-heif's own.
    """
    if name == "PNG":
        from deepdeblur_tf.compat import tf

        return tf.io.encode_png(pixels).numpy()
    if name == "HEIF":
        import pillow_heif

        bits = options["bits"]
        most = 2**bits - 1
        values = (pixels.astype(np.uint32) * most + 32767) // 65535 << (16 - bits)
        height, width, channels = pixels.shape
        image = pillow_heif.from_bytes(_HEIF_MODES[channels], (width, height), values.astype(np.uint16).tobytes())
        pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
        file = io.BytesIO()
        image.save(file, **{key: value for key, value in options.items() if key != "bits"})
        return file.getvalue()
    import cv2

    compression = [cv2.IMWRITE_TIFF_COMPRESSION, TIFF_COMPRESSIONS[options["compression"]]]
    if pixels.shape[2] == 2:  # which OpenCV does not write
        pixels = pixels[..., [0, 0, 0, 1]]
    pixels = np.ascontiguousarray(pixels[..., _COLOUR_ORDERS[pixels.shape[2]]])
    return cv2.imencode(".tiff", pixels, compression)[1].tobytes()


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """uint8 or uint16 of any shape to uint8, rounded."""
    return pixels if pixels.dtype == np.uint8 else ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
