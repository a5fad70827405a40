"""JPEG files, taken apart into their pixels and what stands around them, and put together (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from deepdeblur_tf.images import exif
from deepdeblur_tf.images.metadata import (
    MOTION_PHOTO,
    OTHER_PICTURES,
    Metadata,
    Parts,
    without_properties,
    without_thumbnails,
)

_START = b"\xff\xd8"
_MOST = 65533  # bytes in a segment
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_LONGER_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_VIDEO_BEHIND = re.compile(rb"\xff\xd9.{0,64}?ftyp", re.DOTALL)  # the end of a picture, and a video's first box
_LONGER_XMP_HEAD = (
    4 + len(_LONGER_XMP) + 32 + 4 + 4
)  # with the marker, the packet's name, its length, and where it goes
_GOOGLES = re.compile(rb"http://ns\.google\.com/photos/1\.0/(?:image|depthmap)/")
_PROFILE = b"ICC_PROFILE\0"
_PROFILE_HEAD = len(_PROFILE) + 2  # and a part's number and how many there are
_PHOTOSHOP = b"Photoshop 3.0\0"
_APP0, _APP1, _APP2, _APP13, _APP14, _COMMENT, _SCAN = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDA
# Not kept, and nothing that anyone misses: thumbnails, and how Photoshop saved it.
_DROPPED = ((_APP0, b"JFXX\0"), (_APP2, b"FPXR\0"), (0xEC, b"Ducky"))


# Scans are how a progressive file becomes sharper and sharper, ten of them mostly. To decode one takes as long as the
# picture is large, however short the scan is. The bytes of its marker also stand by chance in what follows a picture.
MOST_SCANS, _BYTES_A_CHANCE = 200, 20_000


def most_scans(size):
    """How many scans' markers a file of so many bytes may hold that strangers send."""
    return MOST_SCANS + size // _BYTES_A_CHANCE


def has_too_many_scans(content: bytes) -> bool:
    """Whether a JPEG file of a few kilobytes would take minutes to decode."""
    return content.count(b"\xff\xda") > most_scans(len(content))


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, data) of what comes before the first scan; at last (0, what follows).

    What stands between two segments, as where a length is wrong, is passed over.
    """
    at = 2
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 4 > len(content):
            return
        marker = content[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # no segment begins here
            at += 1 if marker == 0xFF else 2
            continue
        (size,) = struct.unpack(">H", content[at + 2 : at + 4])
        if marker in (_SCAN, 0xD9) or at + 2 + size > len(content):
            yield 0, content[at:]
            return
        yield marker, content[at + 4 : at + 2 + max(2, size)]
        at += 2 + max(2, size)


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def take_apart(content: bytes) -> Parts:
    """Takes a file apart; of a file that is cut off, what there is."""
    pixels, rest, left_out = [_START], list[bytes](), list[str]()
    block, xmp, parts, longer = b"", b"", 0, list[bytes]()
    profile: dict[int, bytes] = {}  # its parts, by their numbers
    for marker, data in _segments(content):
        if not marker:
            pixels.append(data)
            if b"\xff\xd9\xff\xd8\xff" in data:  # the end of one picture, and another's begin
                left_out.append(OTHER_PICTURES)
            if b"MotionPhoto_Data" in data or _VIDEO_BEHIND.search(
                data
            ):  # of some phones, which tell of it nowhere else
                left_out.append(MOTION_PHOTO)
        elif marker == _APP0 and data.startswith(b"JFIF\0"):
            data = (data[:12] + b"\0\0").ljust(14, b"\0")  # without the thumbnail
            pixels.append(_segment(marker, data))
            if not any(piece[1] == _APP0 for piece in rest):
                rest.insert(0, _segment(marker, data))
        elif marker == _APP14 and data.startswith(b"Adobe"):
            pixels.append(_segment(marker, data))
        elif marker == _APP1 and data.startswith(exif.PREFIX):
            data = exif.without_prefix(data)
            if not exif.is_exif(data) and block:  # more than fits into a segment goes on in the next
                block += data
            elif not exif.is_exif(data):
                left_out.append("EXIF data that do not begin as such")
            elif block:
                left_out.append("a second block of EXIF data")
            else:
                block = data
        elif marker == _APP1 and data.startswith(_XMP):
            if xmp:
                left_out.append("a second XMP packet")
            xmp = xmp or data[len(_XMP) :]
        elif marker == _APP13 and data.startswith(_PHOTOSHOP):
            rest.append(_segment(marker, _PHOTOSHOP + without_thumbnails(data[len(_PHOTOSHOP) :])))
        elif marker == _APP2 and data.startswith(_PROFILE) and len(data) > _PROFILE_HEAD:
            profile.setdefault(data[len(_PROFILE)], data[_PROFILE_HEAD:])
            parts = data[len(_PROFILE) + 1]
        elif marker == _APP2 and data.startswith((b"MPF\0", b"urn:iso:std:iso:ts:21496:")):
            left_out.append(OTHER_PICTURES)
        elif data.startswith(_LONGER_XMP):
            longer.append(_segment(marker, data))
        elif marker == _COMMENT:
            rest.append(_segment(marker, data))
        elif 0xE0 <= marker <= 0xEF:
            if not any(marker == other and data.startswith(begin) for other, begin in _DROPPED):
                name = data[:20].split(b"\0")[0]
                word = f" ({name.decode()})" if name.isalnum() else ""
                left_out.append(f"the segment APP{marker - 0xE0}{word}, whose meaning is unknown here")
        else:
            pixels.append(_segment(marker, data))
    text = b"".join(piece[_LONGER_XMP_HEAD:] for piece in longer)
    if _GOOGLES.search(text) and b":Data" in text:  # it holds the blurry picture, or a depth map
        left_out.append(OTHER_PICTURES)
        longer, xmp = [], without_properties(xmp, b"http://ns.adobe.com/xmp/note/", rb"HasExtendedXMP")
    rest += longer
    icc = b"".join(profile[number] for number in sorted(profile))
    if profile and sorted(profile) != list(range(1, parts + 1)):
        icc = b""
        left_out.append("the colour profile, of which a part is missing")
    return Parts(b"".join(pixels), Metadata(block, xmp, icc, tuple(rest), tuple(dict.fromkeys(left_out))))


def put_together(coded: bytes, metadata: Metadata) -> bytes:
    """A file with metadata around its pixels, in the place of those that it has."""
    most = _MOST - len(exif.PREFIX)
    pieces = [exif.PREFIX + metadata.exif[start : start + most] for start in range(0, len(metadata.exif), most)]
    if metadata.xmp:
        pieces.append(_XMP + metadata.xmp)
    most = _MOST - _PROFILE_HEAD
    profile = [metadata.icc[start : start + most] for start in range(0, len(metadata.icc), most)]
    profile = [_PROFILE + bytes([number, len(profile)]) + piece for number, piece in enumerate(profile, 1)]
    around = [*(_segment(_APP1, piece) for piece in pieces), *(_segment(_APP2, piece) for piece in profile)]
    around += metadata.rest
    around.sort(key=lambda piece: piece[1] != _APP0)  # it has to come first
    pixels = [_segment(marker, data) if marker else data for marker, data in _segments(coded) if marker != _APP0]
    return b"".join([_START, *around, *pixels])
