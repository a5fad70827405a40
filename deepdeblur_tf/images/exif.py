"""EXIF data as bytes: read as far as they reach, and changed in place, so that nothing else in them moves.

Makers keep positions within the block in data of their own (MakerNote), which survive only where nothing moves. Any
bytes are taken: what does not make sense is passed over, and no directory is read twice.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

PREFIX = b"Exif\0\0"
ORIENTATION = 274
DIRECTORIES = 34665, 34853, 40965  # Exif, GPS, Interoperability
MAKER_NOTE = 37500
# Of the picture: ImageWidth and ImageLength, and in the Exif directory PixelXDimension and PixelYDimension.
_WIDTHS, _HEIGHTS = (256, 40962), (257, 40963)
_AREAS = 37396, 41492  # SubjectArea and SubjectLocation: x and y, a diameter or a width and a height
# Of a thumbnail: where it begins and its bytes, as a JPEG and in strips.
_THUMBNAILS = ((513, 514), (273, 279))

# How a TIFF begins: its byte order, and whether it is a BigTIFF.
_HEADS = {b"II*\0": ("<", False), b"MM\0*": (">", False), b"II+\0": ("<", True), b"MM\0+": (">", True)}
# Bytes of one value of each type (TIFF 6.0, section 2; BigTIFF from 16 on).
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# The types that hold whole numbers, and each one's letter for `struct`.
_WHOLE = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


class Entry(NamedTuple):
    """One entry of a directory.

    Attributes:
        at: Where it stands.
        tag: What it is of.
        type: The TIFF type of its values.
        number: How many there are.
        start: Where they begin; the end of the data where they lie beyond it.
        size: In bytes; 0 for a type that is unknown.
    """

    at: int
    tag: int
    type: int
    number: int
    start: int
    size: int


class Blocks:
    """A TIFF structure: what EXIF data are, and TIFF files.

    Args:
        content: Any bytes.

    Attributes:
        order: "<" or ">"; "" for bytes that do not begin as TIFF does.
        first: Where the first directory stands.
        count_type, offset_type: Of the number of a directory's entries, and of places, as letters for `struct`.
        entry_size: Bytes of an entry.
    """

    def __init__(self, content):
        self.content = content
        self.order, is_big = _HEADS.get(bytes(content[:4]), ("", False))
        self.count_type, self.offset_type, self.entry_size = ("Q", "Q", 20) if is_big else ("H", "I", 12)
        self.first = self._number(8 if is_big else 4, self.offset_type) or 0 if self.order else 0

    def _number(self, at: int, letter: str) -> int | None:
        size = struct.calcsize(letter)
        data = bytes(self.content[at : at + size])
        return struct.unpack(self.order + letter, data)[0] if len(data) == size else None

    def entries(self, directory: int) -> Iterator[Entry]:
        """A directory's entries, as far as the data reach."""
        if directory < 8:
            return
        inline, begin = struct.calcsize(self.offset_type), directory + struct.calcsize(self.count_type)
        length, count = self.entry_size, min(self._number(directory, self.count_type) or 0, 65535)
        for at in range(begin, min(begin + length * count, len(self.content) - length + 1), length):
            tag, kind = struct.unpack(self.order + "HH", self.content[at : at + 4])
            values = self._number(at + 4, self.offset_type) or 0
            size = values * TYPE_SIZES.get(kind, 0)
            start = at + length - inline
            start = start if size <= inline else self._number(start, self.offset_type) or 0
            yield Entry(at, tag, kind, values, min(start, len(self.content)), size)

    def end(self, directory: int) -> int:
        """Where a directory's entries end, and the position of the next directory begins."""
        count = self._number(directory, self.count_type) or 0
        return directory + struct.calcsize(self.count_type) + self.entry_size * count

    def next(self, directory: int) -> int:
        """Where the directory after this one stands; 0 after the last."""
        return self._number(self.end(directory), self.offset_type) or 0

    def values(self, entry: Entry) -> list[int]:
        """An entry's whole numbers, 65536 at most; none where it holds something else or the data end before it."""
        if entry.type not in _WHOLE or not 0 < entry.size <= len(self.content) - entry.start:
            return []
        count = min(entry.number, 65536)
        data = self.content[entry.start : entry.start + count * TYPE_SIZES[entry.type]]
        return list(struct.unpack(f"{self.order}{count}{_WHOLE[entry.type]}", data))

    def put(self, entry: Entry, value: int) -> None:
        """Replaces an entry's first number, if it has one; the content has to be a bytearray."""
        if not self.values(entry):
            return
        if value >= 128 * 256 ** (TYPE_SIZES[entry.type] - 1):
            if entry.number > 1:
                return
            entry = entry._replace(type=4)  # a LONG has room in the entry, too
            self.content[entry.at + 2 : entry.at + 4] = struct.pack(self.order + "H", 4)
        letter = _WHOLE[entry.type]
        self.content[entry.start : entry.start + struct.calcsize(letter)] = struct.pack(self.order + letter, value)

    def tree(self) -> dict[int, list[Entry]]:
        """The first directory and those below it (Exif, GPS, Interoperability), by where they stand."""
        found: dict[int, list[Entry]] = {}
        waiting = [self.first]
        while waiting and len(found) < 16:  # four are the rule; hostile data name thousands
            directory = waiting.pop(0)
            if directory in found or not 8 <= directory < len(self.content):
                continue
            found[directory] = list(self.entries(directory))
            for entry in found[directory]:
                if entry.tag in DIRECTORIES:
                    waiting += self.values(entry)[:1]
        return found


def without_prefix(block: bytes) -> bytes:
    """EXIF data from their TIFF header on, whether or not they begin with "Exif" as in a JPEG."""
    while block.startswith(PREFIX):
        block = block[len(PREFIX) :]
    return block


def is_exif(block: bytes) -> bool:
    """Whether data begin as EXIF data do, with a TIFF header."""
    return Blocks(block).order != ""


def orientation(block: bytes) -> int:
    """How a picture has to be turned, 1 to 8 (EXIF 2.32, 4.6.4.A); 0 where the data do not tell."""
    blocks = Blocks(block)
    for entry in blocks.entries(blocks.first):
        if entry.tag == ORIENTATION and blocks.values(entry)[:1] in ([1], [2], [3], [4], [5], [6], [7], [8]):
            return blocks.values(entry)[0]
    return 0


def of_upright(block: bytes, size: tuple[int, int], turned: int) -> bytes:
    """EXIF data for a picture that was turned upright and restored.

    The orientation becomes 1, the sizes the picture's, the subject's area is turned along, and the thumbnail, which
    would show the blurry picture, is removed. All else stays where it was.

    Args:
        block: EXIF data from their TIFF header on.
        size: (width, height) of the upright picture.
        turned: The orientation that it had, 1 to 8.

    Returns:
        As many bytes or fewer.
    """
    blocks = Blocks(bytearray(block))
    tree = blocks.tree()
    for entry in [entry for entries in tree.values() for entry in entries]:
        if entry.tag == ORIENTATION:
            blocks.put(entry, 1)
        elif entry.tag in _WIDTHS or entry.tag in _HEIGHTS:
            blocks.put(entry, size[entry.tag in _HEIGHTS])
        elif entry.tag in _AREAS:
            _turn_area(blocks, entry, size, turned)
    if blocks.first in tree:
        _remove_thumbnail(blocks, tree)
    return bytes(blocks.content)


def _turn_area(blocks: Blocks, entry: Entry, size: tuple[int, int], turned: int) -> None:
    values = blocks.values(entry)
    if not 2 <= len(values) <= 4:
        return
    x, y, *extent = values
    if turned >= 5:
        x, y, extent = y, x, extent[::-1]
    x = size[0] - x if turned in (2, 3, 6, 7) else x
    y = size[1] - y if turned in (3, 4, 7, 8) else y
    letter, most = _WHOLE[entry.type], 128 * 256 ** (TYPE_SIZES[entry.type] - 1) - 1
    inside = (min(max(0, value), most) for value in (x, y, *extent))
    data = struct.pack(f"{blocks.order}{len(values)}{letter}", *inside)
    blocks.content[entry.start : entry.start + len(data)] = data


def _remove_thumbnail(blocks: Blocks, tree: dict[int, list[Entry]]) -> None:
    """Removes the directories after the first, and what they alone point to."""
    content, link = blocks.content, blocks.end(blocks.first)
    directory = blocks.next(blocks.first)
    content[link : link + 4] = bytes(len(content[link : link + 4]))
    used = np.zeros(len(content), bool)  # by what stays
    notes = np.zeros(len(content), bool)
    used[:8] = True
    for at, entries in tree.items():
        used[at : blocks.end(at) + 4] = True
        for entry in entries:
            # Makers may point to a thumbnail that lies within their own data, where it is to go, too.
            (notes if entry.tag == MAKER_NOTE else used)[entry.start : entry.start + entry.size] = True
    removed = np.zeros(len(content), bool)
    seen = set(tree)
    while 8 <= directory < len(content) and directory not in seen:
        seen.add(directory)
        removed[directory : blocks.end(directory) + 4] = True
        numbers: dict[int, list[int]] = {}
        for entry in blocks.entries(directory):
            removed[entry.start : entry.start + entry.size] = True
            numbers[entry.tag] = blocks.values(entry)
        for starts, sizes in _THUMBNAILS:
            if starts in numbers and sizes in numbers:
                for start, size in zip(numbers[starts], numbers[sizes]):
                    removed[max(0, start) : max(0, start) + max(0, size)] = True
        directory = blocks.next(directory)
    removed &= ~used
    if removed.any():
        np.frombuffer(content, np.uint8)[removed] = 0
        kept = np.flatnonzero(used | notes | (np.frombuffer(content, np.uint8) != 0))
        blocks.content = content[: kept[-1] + 1]
