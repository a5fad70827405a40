"""TIFF files, taken apart into their pixels and what stands around them, and put together (TIFF 6.0, section 2)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images import exif
from deepdeblur_tf.images.metadata import Metadata, Parts, without_thumbnails

# The tags on how a file stores its pixels, from 254 (NewSubfileType) to 532 (ReferenceBlackWhite). All others describe
# the picture: maker, time, copyright, resolution, colour profile, ...
LAYOUT = {254, 255, *range(256, 267), 273, *range(275, 282), 284, 290, 291, 292, 293, 317, 320, *range(321, 348)}
LAYOUT |= {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}
_XMP, _IPTC, _PHOTOSHOP, _PROFILE, _LAYERS = 700, 33723, 34377, 34675, 37724
_SUBFILE_TYPE, _SAMPLES, _DIRECTORIES_BELOW, _EXTRA_SAMPLES = 254, 277, 330, 338
_TYPES = set(exif.TYPE_SIZES) - {16, 17, 18}  # BigTIFF's own cannot be written as a TIFF's
_HEADER = b"II*\0\x08\0\0\0"  # of a file whose directory follows at once


class _Tag(NamedTuple):
    """A tag's type, how many values it has, and their bytes in little-endian files; or the tags of a directory."""

    type: int
    number: int
    data: Any


def take_apart(content: bytes) -> Parts:
    """Takes a file apart, a TIFF or BigTIFF of either byte order.

    Raises:
        UserError: it is a camera's raw file, whose first picture is a preview.
    """
    blocks = exif.Blocks(content)
    first = {entry.tag: blocks.values(entry) for entry in blocks.entries(blocks.first)}
    if _DIRECTORIES_BELOW in first and first.get(_SUBFILE_TYPE, [0])[0] & 1:
        raise UserError("is a raw file of a camera, which is not read. Save it as JPEG or PNG.")
    left_out: list[str] = []
    tags = _tags(blocks, blocks.first, {blocks.first}, left_out)
    tags = {tag: value for tag, value in tags.items() if tag not in LAYOUT}
    xmp, icc = (tags.pop(tag).data if tag in tags else b"" for tag in (_XMP, _PROFILE))
    if tags.pop(_LAYERS, None):  # Photoshop would open them, and not the picture
        left_out.append("Photoshop's layers")
    if _PHOTOSHOP in tags:
        resources = without_thumbnails(tags[_PHOTOSHOP].data)
        tags[_PHOTOSHOP] = _Tag(7, len(resources), resources)
    block = _HEADER + _directory(tags, len(_HEADER)) if tags else b""
    return Parts(_pixels(blocks), Metadata(block, xmp, icc, (), tuple(dict.fromkeys(left_out))), _frames(blocks))


def _frames(blocks: exif.Blocks) -> int:
    """How many pictures there are, smaller versions of the first not counted."""
    directories, smaller = list[int](), 0
    directory = blocks.first
    while 8 <= directory < len(blocks.content) and directory not in directories and len(directories) < 1000:
        directories.append(directory)
        kinds = (blocks.values(entry) for entry in blocks.entries(directory) if entry.tag == _SUBFILE_TYPE)
        smaller += directory != blocks.first and any(kind and kind[0] & 1 for kind in kinds)
        directory = blocks.next(directory)
    return max(1, len(directories) - smaller)


def _pixels(blocks: exif.Blocks) -> bytes:
    """The file with only those tags in its first directory that say how its pixels are stored."""
    content = bytearray(blocks.content)
    if not blocks.order or blocks.end(blocks.first) + struct.calcsize(blocks.offset_type) > len(content):
        return bytes(content)
    kept = [entry.at for entry in blocks.entries(blocks.first) if entry.tag in LAYOUT]
    directory = struct.pack(blocks.order + blocks.count_type, len(kept))
    directory += b"".join(bytes(blocks.content[at : at + blocks.entry_size]) for at in kept)
    end = blocks.end(blocks.first)
    directory += bytes(blocks.content[end : end + struct.calcsize(blocks.offset_type)])
    content[blocks.first : blocks.first + len(directory)] = directory
    return bytes(content)


def _tags(blocks: exif.Blocks, directory: int, seen: set[int], left_out: list[str]) -> dict[int, _Tag]:
    """A directory's tags, with the directories below it that are not among those `seen`."""
    tags: dict[int, _Tag] = {}
    # Values that many tags share would become as many copies.
    room = len(blocks.content)
    for entry in blocks.entries(directory):
        if entry.tag in exif.DIRECTORIES:
            below = (blocks.values(entry) or [0])[0]
            if 8 <= below < len(blocks.content) and below not in seen and len(seen) < 16:
                seen.add(below)
                tags.setdefault(entry.tag, _Tag(4, 1, _tags(blocks, below, seen, left_out)))
        elif entry.type in _TYPES and entry.size <= min(room, len(blocks.content) - entry.start):
            room -= entry.size
            data = bytes(blocks.content[entry.start : entry.start + entry.size])
            if entry.tag == _IPTC:  # bytes, though many programs call them numbers of four
                tags.setdefault(entry.tag, _Tag(7, len(data), data))
                continue
            tags.setdefault(entry.tag, _Tag(entry.type, entry.number, _little_endian(data, entry.type, blocks.order)))
        elif entry.tag not in LAYOUT:
            left_out.append(f"the tag {entry.tag}, which is cut off or of an unknown type")
    return tags


def _little_endian(data: bytes, kind: int, order: str) -> bytes:
    width = 4 if kind in (5, 10) else exif.TYPE_SIZES[kind]  # a rational is two numbers
    return data if width == 1 or order == "<" else np.frombuffer(data, f">u{width}").astype(f"<u{width}").tobytes()


def _directory(tags: dict[int, _Tag], at: int) -> bytes:
    """A directory that is to stand at a place of a file, with its values and the directories below it after it."""
    entries, behind = b"", b""
    begin = at + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, count, data = tags[tag]
        position = begin + len(behind)
        if isinstance(data, dict):
            behind += _directory(data, position)
            data = struct.pack("<I", position)
        elif len(data) > 4:
            behind += data + bytes(len(data) % 2)
            data = struct.pack("<I", position)
        entries += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + entries + bytes(4) + behind


def put_together(coded: bytes, metadata: Metadata) -> bytes:
    """A file with metadata around its pixels.

    Args:
        coded: A little-endian TIFF, whose own tags win.
        metadata: As `take_apart` gives them.
    """
    blocks, around = exif.Blocks(coded), exif.Blocks(metadata.exif)
    tags = _tags(around, around.first, {around.first}, [])
    for tag, kind, data in ((_XMP, 1, metadata.xmp), (_PROFILE, 7, metadata.icc)):
        if data:
            tags[tag] = _Tag(kind, len(data), data)
    own = _tags(blocks, blocks.first, {blocks.first}, [])
    if _SAMPLES in own and own[_SAMPLES].data[0] in (2, 4):  # the last is alpha, which OpenCV does not say
        own.setdefault(_EXTRA_SAMPLES, _Tag(3, 1, b"\2\0"))
    tags.update(own)
    at = len(coded) + len(coded) % 2
    return coded[:4] + struct.pack("<I", at) + coded[8:].ljust(at - 8, b"\0") + _directory(tags, at)
