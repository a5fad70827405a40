"""What PyAV neither reads nor writes in videos' files.

That is the length by their header, pixels that are not square, and how many packets the sounds of an AVI have.
"""

from __future__ import annotations

import re
import struct
from fractions import Fraction

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def promised_bytes(path) -> int:
    """The length that a file ought to have by its own header; 0 where none is told, as in MPEG's streams."""
    with open(path, "rb") as file:
        head = file.read(4096)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _boxes_bytes(file)
    if head[:4] == b"RIFF" and len(head) >= 8:
        return 8 + struct.unpack("<I", head[4:8])[0]
    if head[:4] == b"\x1aE\xdf\xa3":
        return _matroska_bytes(head)
    if head[:16] == _ASF_HEADER and _ASF_PROPERTIES in head[:-48]:
        return struct.unpack_from("<Q", head, head.index(_ASF_PROPERTIES) + 40)[0]
    return 0


def _boxes_bytes(file) -> int:
    """The end of the last box of MP4 or QuickTime (ISO/IEC 14496-12, section 4.2)."""
    end = 0
    while True:
        file.seek(end)
        header = file.read(16)
        if not header or not header[4:8].isalnum():  # what follows are no boxes
            return end
        if len(header) < 8:
            return end + 8
        size = struct.unpack(">I", header[:4])[0]
        if size == 1 and len(header) == 16:
            size = struct.unpack(">Q", header[8:])[0]
        if size < 8:  # to the end of the file, whatever that is
            return end
        end += size


def _matroska_bytes(head: bytes) -> int:
    """The end of the segment, the element after the header (RFC 8794 and 9559)."""
    size, begin = _length(head, 4)
    begin += size or 0
    if head[begin : begin + 4] != b"\x18S\x80g" or len(head) < begin + 12:
        return 0
    size, begin = _length(head, begin + 4)
    return 0 if size is None else begin + size


def _length(head: bytes, at: int) -> tuple[int | None, int]:
    """(an element's length, None for unknown, the position of what it holds)."""
    count = 9 - head[at].bit_length()
    value = int.from_bytes(head[at : at + count], "big") & ((1 << 7 * count) - 1)
    return (None if value == (1 << 7 * count) - 1 else value), at + count


def write_aspect(path, size: tuple[int, int], aspect: Fraction) -> None:
    """Writes into a Matroska file or WebM how wide it is to be shown, which PyAV cannot.

    ffmpeg leaves room for it in the header of a picture that is tagged as two, side by side. That tag is removed.

    Args:
        path: The file, whose picture's stream was written with the metadata `stereo_mode` as "left_right".
        size: (height, width) in pixels.
        aspect: Of a pixel, width over height.
    """
    with open(path, "r+b") as file:
        head = bytearray(file.read(1 << 16))
        # StereoMode, DisplayWidth, DisplayHeight.
        found = re.search(rb"\x53\xb8\x81(\x01)\x54\xb0[\x81-\x84](.{1,4}?)\x54\xba[\x81-\x84]", head, re.DOTALL)
        assert found is not None, "no room for the aspect"
        width_at, height_at = found.start(2), found.end()
        lengths = found.end(2) - width_at, head[height_at - 1] - 0x80
        for at, length, value in zip((width_at, height_at), lengths, _shown_as(size, aspect, lengths)):
            head[at : at + length] = value.to_bytes(length, "big")
        head[found.start(1)] = 0
        file.seek(0)
        file.write(head)


def _shown_as(size: tuple[int, int], aspect: Fraction, lengths: tuple[int, int]) -> tuple[int, int]:
    """(width, height) that a picture is shown at, in whole numbers of so many bytes: near its size, of its shape."""
    height, width = size
    shape = aspect * width / height
    most_wide, most_high = (256**length - 1 for length in lengths)
    times = min(most_wide // shape.numerator, most_high // shape.denominator, max(1, round(height / shape.denominator)))
    if times:
        return times * shape.numerator, times * shape.denominator
    height = min(height, most_high, int(most_wide / shape))
    return round(height * shape), height


def write_packet_counts(path, counts: dict[int, int]) -> None:
    """Writes into an AVI that sounds are counted by packets, as those of MP3 have to be.

    ffmpeg's program does so, its library takes them for packets of equal sizes; then their length is told too short.

    Args:
        path: The file.
        counts: The packets of each such stream, by its number.
    """
    with open(path, "r+b") as file:
        head = bytearray(file.read(1 << 16))
        at = -1
        for number in range(max(counts, default=-1) + 1):
            at = head.index(b"strh", at + 1)
            if number in counts:
                struct.pack_into("<I", head, at + 8 + 32, counts[number])  # dwLength
                struct.pack_into("<I", head, at + 8 + 44, 0)  # dwSampleSize: they vary
        file.seek(0)
        file.write(head)
