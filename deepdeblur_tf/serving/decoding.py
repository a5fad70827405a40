"""Encoded images decoded inside a TensorFlow graph, as a server gets them from strangers.

TensorFlow's own decoders trust the file: they allocate what its header asks for, decode every frame of a GIF, drop half
of 16 bits, ignore a BMP's palette and the orientation that a camera wrote. Here the header is read first, and the
pixels are those that `deepdeblur_tf.images.picture_files` reads from the same file.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from deepdeblur_tf.compat import tf
from deepdeblur_tf.images.jpeg import MOST_SCANS, most_scans
from deepdeblur_tf.restoration.tiling import GRID, MAX_SIDE

_ORIENTATION = 0x0112  # EXIF's tag

# Chunks, segments and blocks that are looked at in one file: a file of nothing else would keep a server busy.
_MOST_CHUNKS = 100_000


class Decoded(NamedTuple):
    """An image inside a graph.

    Attributes:
        rgb: uint8 [H, W, 3], upright.
        alpha: uint8 [H, W, 1], or [H, W, 0] for an opaque image.
        is_grey: bool scalar. Whether the file holds no colours; then the three channels of `rgb` are equal.
    """

    rgb: tf.Tensor
    alpha: tf.Tensor
    is_grey: tf.Tensor


def require(condition, *message) -> tf.Operation:
    """An operation that fails with a message, to be a control dependency of what must not run then.

    Args:
        condition: bool scalar tensor.
        *message: strings and scalar tensors, joined.
    """
    words = [word if isinstance(word, str) else tf.strings.as_string(word) for word in message]
    return tf.debugging.Assert(condition, [tf.strings.join(words)])


def decode(data, max_pixels: int, subject) -> Decoded:
    """Decodes the bytes of a PNG, JPEG, BMP, or of a GIF's first frame.

    Args:
        data: string scalar tensor. The file's bytes.
        max_pixels: int. More are refused by the header, before anything of that size is allocated.
        subject: string scalar tensor. What error messages call the image.

    Returns:
        The image, turned upright by EXIF's orientation (not by one that only XMP knows).

    Errors (`tf.errors.InvalidArgumentError` when the graph runs): bytes that are none of these formats, are damaged or
    cut off, or hold what would become a wrong picture: 16 bits a channel, CMYK, a BMP's rarer kinds.
    """
    header = _Bytes(data)
    begins = {_png: [b"\x89PNG\r\n\x1a\n"], _jpeg: [b"\xff\xd8\xff"], _bmp: [b"BM"], _gif: [b"GIF87a", b"GIF89a"]}
    kinds = tf.stack([tf.reduce_any([header.are(0, mark) for mark in marks]) for marks in begins.values()])
    known = require(tf.reduce_any(kinds), subject, " is none of PNG, JPEG, BMP, GIF")
    with tf.control_dependencies([known]):
        kind = tf.argmax(tf.cast(kinds, tf.int32), output_type=tf.int32)
    branches = [functools.partial(decoder, data, header, max_pixels, subject) for decoder in begins]
    pixels, alpha, is_grey, orientation = tf.switch_case(kind, branches)
    pixels = _upright(tf.concat([pixels, alpha], axis=2), orientation)
    return Decoded(tf.ensure_shape(pixels[..., :3], [None, None, 3]), pixels[..., 3:], is_grey)


class _Bytes:
    """A string tensor's bytes as numbers; beyond its end they are zero."""

    def __init__(self, data):
        self.size = tf.strings.length(data)
        self._values = tf.io.decode_raw(tf.strings.join([data, b"\0"]), tf.uint8)

    def at(self, offsets):
        """The bytes at these offsets: int32 of their shape."""
        return tf.cast(tf.gather(self._values, tf.clip_by_value(offsets, 0, self.size)), tf.int32)

    def count(self, pair: bytes):
        """How often two bytes follow each other."""
        first, second = pair
        return tf.math.count_nonzero((self._values[:-1] == first) & (self._values[1:] == second), dtype=tf.int32)

    def are(self, offset, expected: bytes):
        return tf.reduce_all(self.at(offset + tf.range(len(expected))) == list(expected))

    def number(self, offset, count: int, big_endian=False):
        """An unsigned number of 1 to 4 bytes: int64 of the shape of `offset`."""
        offsets = tf.expand_dims(offset, -1) + tf.range(count)
        values = tf.cast(self.at(offsets), tf.int64)
        powers = [256**power for power in range(count)]
        return tf.reduce_sum(values * tf.where(big_endian, tf.constant(powers[::-1], tf.int64), powers), axis=-1)


def is_within(height, width, max_pixels: int, count=1):
    """bool scalar: `restoration.tiling.is_within` for int64 scalars, and for several images."""
    # A side has no more than 32 bits, so that their product fits into 64 but for its sign.
    pixels = count * (-(-height // GRID) * -(-width // GRID) * GRID**2)
    return (tf.maximum(width, height) <= MAX_SIDE) & (pixels <= max_pixels)


def allowed_pixels(max_pixels: int) -> str:
    return f"1 to {max_pixels} in all, sides counted as multiples of {GRID}, and none above {MAX_SIDE}"


def _bounded(width, height, max_pixels: int, subject) -> tf.Operation:
    fits = is_within(height, width, max_pixels) & (tf.minimum(width, height) >= 1)
    size = (subject, " has ", width, "x", height, f" pixels; allowed are {allowed_pixels(max_pixels)}")
    return require(fits, *size)


def _png(data, header: _Bytes, max_pixels: int, subject):
    depth, colour = header.at(24), header.at(25)
    checks = [
        # What is read here is the header only where it comes first; decoders pass over other chunks before it.
        require(header.are(12, b"IHDR"), subject, " is a damaged PNG"),
        _bounded(header.number(16, 4, True), header.number(20, 4, True), max_pixels, subject),
        require(depth <= 8, subject, " has 16 bits a channel; convert it to 8"),
    ]
    with tf.control_dependencies(checks):
        offset = tf.constant(8)

    def next_chunk(offset, exif, transparent):
        exif = tf.where(header.are(offset + 4, b"eXIf"), offset + 8, exif)
        transparent |= header.are(offset + 4, b"tRNS")
        length = tf.cast(tf.minimum(header.number(offset, 4, True), tf.cast(header.size, tf.int64)), tf.int32)
        return offset + 12 + length, exif, transparent

    _, exif, transparent = tf.while_loop(
        lambda offset, *_: offset < header.size,
        next_chunk,
        [offset, tf.constant(0), tf.constant(False)],
        maximum_iterations=_MOST_CHUNKS,
    )
    with tf.control_dependencies(checks):
        pixels = tf.io.decode_png(data, channels=4)
    alpha = pixels[..., 3 : tf.where(transparent | (colour >= 4), 4, 3)]
    return pixels[..., :3], alpha, (colour == 0) | (colour == 4), _orientation(header, exif)


def _jpeg(data, header: _Bytes, max_pixels: int, subject):
    height, width, channels = tf.unstack(tf.cast(tf.io.extract_jpeg_shape(data), tf.int64))
    checks = [
        _bounded(width, height, max_pixels, subject),
        require(channels <= 3, subject, " is a CMYK image; convert it to RGB"),
        require(
            header.count(b"\xff\xda") <= most_scans(header.size),
            subject,
            f" is a JPEG of more than {MOST_SCANS} scans, which takes too long to decode; save it anew",
        ),
    ]

    def is_segment(offset, _):
        # The compressed data begin at SOS (0xDA).
        return (header.at(offset) == 0xFF) & (header.at(offset + 1) != 0xDA)

    def next_segment(offset, exif):
        is_fill = header.at(offset + 1) == 0xFF  # a segment may begin with any number of them
        found = (header.at(offset + 1) == 0xE1) & header.are(offset + 4, b"Exif\0\0")
        exif = tf.where(found & (exif == 0), offset + 10, exif)
        length = tf.where(is_fill, 1, 2 + tf.cast(header.number(offset + 2, 2, True), tf.int32))
        return offset + length, exif

    _, exif = tf.while_loop(is_segment, next_segment, [tf.constant(2), tf.constant(0)], maximum_iterations=_MOST_CHUNKS)
    with tf.control_dependencies(checks):
        # The faster default is off by up to 5 of 255.
        pixels = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
    return pixels, pixels[..., 3:], channels == 1, _orientation(header, exif)


def _bmp(data, header: _Bytes, max_pixels: int, subject):
    width, height = header.number(18, 4), header.number(22, 4)
    height = tf.where(height < 2**31, height, 2**32 - height)  # a negative one: the first row is the upper one
    depth = header.number(28, 2)
    info, colours = tf.cast(tf.minimum(header.number(14, 4), 2**30), tf.int32), header.number(46, 4)
    known = (info >= 40) & (header.number(30, 4) == 0) & tf.reduce_any(depth == [8, 24, 32])
    with_palette = depth == 8
    checks = [
        _bounded(width, height, max_pixels, subject),
        require(known, subject, " is a BMP of a rare kind; allowed: 8, 24 and 32 bits, uncompressed"),
    ]
    with tf.control_dependencies(checks):
        pixels = tf.io.decode_bmp(data)
    colours = tf.where(colours == 0, 256, tf.cast(tf.minimum(colours, 256), tf.int32))
    indices = tf.range(256)
    entries = 14 + info + 4 * indices[:, None] + [2, 1, 0]  # blue, green, red, nothing
    palette = tf.where(indices[:, None] < colours, header.at(entries), 0)
    is_ramp = tf.reduce_all((palette == indices[:, None]) | (indices[:, None] >= colours))
    pixels = tf.cond(
        with_palette,
        lambda: tf.cast(tf.gather(palette, tf.cast(pixels[..., 0], tf.int32)), tf.uint8),
        lambda: tf.identity(pixels[..., :3]),
    )
    return pixels, pixels[..., 3:], with_palette & is_ramp, tf.constant(1)


def _gif(data, header: _Bytes, max_pixels: int, subject):
    def table(flags):
        """The bytes of a colour table that a flag byte announces."""
        return tf.where(flags >= 128, 3 * tf.bitwise.left_shift(2, flags % 8), 0)

    def after_blocks(offset):
        """Behind the sub-blocks that begin here: each its length and as many bytes, the last of length 0."""
        (last,) = tf.while_loop(
            lambda offset: (offset < header.size) & (header.at(offset) > 0),
            lambda offset: (offset + 1 + header.at(offset),),
            [offset],
            maximum_iterations=_MOST_CHUNKS,
        )
        return last + 1

    (image,) = tf.while_loop(
        lambda offset: header.at(offset) == 0x21,  # extensions
        lambda offset: (after_blocks(offset + 2),),
        [13 + table(header.at(10))],
        maximum_iterations=100,
    )
    # The frame may be larger than the canvas.
    width = tf.maximum(header.number(6, 2), header.number(image + 5, 2))
    height = tf.maximum(header.number(8, 2), header.number(image + 7, 2))
    checks = [
        require(header.at(image) == 0x2C, subject, " is a GIF without an image"),
        _bounded(width, height, max_pixels, subject),
    ]
    with tf.control_dependencies(checks):
        end = tf.minimum(after_blocks(image + 11 + table(header.at(image + 9))), header.size)
        # TensorFlow decodes every frame there is, at whatever size each of them claims: only the first one is left.
        pixels = tf.io.decode_gif(tf.strings.join([tf.strings.substr(data, 0, end), b"\x3b"]))[0]
    return pixels, pixels[..., 3:], tf.constant(False), tf.constant(1)


def _orientation(header: _Bytes, exif):
    """EXIF's orientation, 1 to 8; 1 where `exif`, the offset of its TIFF header, is 0."""
    big_endian = header.are(exif, b"MM")
    size = tf.cast(header.size, tf.int64)
    directory = exif + tf.cast(tf.minimum(header.number(exif + 4, 4, big_endian), size), tf.int32)
    entries = directory + 2 + 12 * tf.range(tf.cast(header.number(directory, 2, big_endian), tf.int32))
    tags, values = header.number(entries, 2, big_endian), header.number(entries + 8, 2, big_endian)
    value = tf.reduce_max(tf.where(tags == _ORIENTATION, values, 0))
    known = (value >= 1) & (value <= 8) & (exif > 0)
    return tf.cast(tf.where(known, value, 1), tf.int32)


def _upright(pixels, orientation):
    """Turns and mirrors [H, W, C] as EXIF's orientation asks for."""

    def transposed():
        # Not as uint8, of which TensorFlow 2.21 complains in the log of a server whose CPU has no AVX-512.
        return tf.cast(tf.transpose(tf.cast(pixels, tf.int32), [1, 0, 2]), tf.uint8)

    pixels = tf.cond(orientation >= 5, transposed, lambda: pixels)
    upside_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    pixels = tf.cond(upside_down, lambda: tf.reverse(pixels, [0]), lambda: pixels)
    mirrored = tf.reduce_any(orientation == [2, 3, 6, 7])
    return tf.cond(mirrored, lambda: tf.reverse(pixels, [1]), lambda: pixels)
