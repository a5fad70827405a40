"""PNG files, taken apart into their pixels and what stands around them, and put together (PNG's section 5)."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from deepdeblur_tf.images import exif
from deepdeblur_tf.images.metadata import Metadata, Parts

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"mDCv", b"cLLi")  # what the values mean
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp"
_RAW_EXIF = (b"Raw profile type exif", b"Raw profile type APP1")
_LONGEST = 2**20  # of a text, unpacked; common readers refuse files with longer ones
_LONGEST_PROFILE = 2**24


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(name, data, the whole of it) of each chunk, as far as the file reaches, until its end."""
    at, name = len(SIGNATURE), b""
    while name != b"IEND" and at + 12 <= len(content):
        length, name = struct.unpack(">I4s", content[at : at + 8])
        chunk = content[at : at + 12 + length]
        yield name, chunk[8 : 8 + length], chunk
        at += len(chunk)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data), name) + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _unpacked(data: bytes, most: int) -> bytes | None:
    """What was compressed; None for more than `most` bytes or damaged data."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(data, most + 1)
    except zlib.error:
        return None
    return text if unpacking.eof and len(text) <= most else None


def _text(name: bytes, data: bytes) -> tuple[bytes, bytes | None]:
    """(keyword, text) of a text chunk; None for a text that is too long or damaged."""
    keyword, _, text = data.partition(b"\0")
    if name == b"iTXt":
        compressed, text = text[:1] == b"\1", text[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        compressed, text = name == b"zTXt", text[name == b"zTXt" :]
    return keyword, _unpacked(text, _LONGEST) if compressed else text


def take_apart(content: bytes) -> Parts:
    """Takes a file apart; of a file that is cut off, what there is."""
    pixels, rest, left_out = [SIGNATURE], list[bytes](), list[str]()
    block = raw_block = xmp = icc = b""
    frames = 1
    for name, data, chunk in _chunks(content):
        if name[:1].isupper() or name == b"tRNS":
            pixels.append(chunk)  # with its checksum, right or wrong
        elif chunk != _chunk(name, data):
            left_out.append(f"the chunk {name.decode('ascii', 'replace')}, which is damaged")
        elif name == b"acTL":
            frames = max(1, int.from_bytes(data[:4], "big"))
        elif name == b"eXIf":
            data = exif.without_prefix(data)
            if exif.is_exif(data):
                block = block or data
            else:
                left_out.append("EXIF data that do not begin as such")
        elif name in _TEXTS:
            keyword, text = _text(name, data)
            if text is None:
                shown = keyword.decode("latin-1")
                left_out.append(f"the text {shown!r}, which is damaged or of more than {_LONGEST >> 20} MB")
            elif keyword == _XMP:
                xmp = xmp or text
            elif keyword in _RAW_EXIF:
                raw_block = raw_block or _raw_profile(text)
            else:
                rest.append(chunk)
        elif name == b"iCCP":
            icc = icc or _unpacked(data.partition(b"\0")[2][1:], _LONGEST_PROFILE) or b""
            if not icc:
                left_out.append(f"the colour profile, which is damaged or of more than {_LONGEST_PROFILE >> 20} MB")
        elif name in _COLOURS or name[3:].islower():  # a small last letter: safe to copy (5.4)
            rest.append(chunk)
    metadata = Metadata(block or raw_block, xmp, icc, tuple(rest), tuple(dict.fromkeys(left_out)))
    return Parts(b"".join(pixels), metadata, frames)


def exif_at_the_end(content: bytes) -> bytes:
    """EXIF data that stand behind the pixels, looked for in the last bytes of a file."""
    at = content.find(b"eXIf")
    while at >= 4:
        (length,) = struct.unpack(">I", content[at - 4 : at])
        data = content[at + 4 : at + 4 + length]
        if content[at - 4 : at + 8 + length] == _chunk(b"eXIf", data):
            return exif.without_prefix(data)
        at = content.find(b"eXIf", at + 1)
    return b""


def _raw_profile(text: bytes) -> bytes:
    """EXIF data as ImageMagick writes them into a text: their kind, their length, and their bytes in hexadecimal."""
    found = re.fullmatch(rb"\s*\w+\s+\d+\s([0-9a-fA-F\s]*)", text)
    digits = re.sub(rb"\s", b"", found[1]) if found else b""
    block = exif.without_prefix(bytes.fromhex(digits[: len(digits) // 2 * 2].decode()))
    return block if exif.is_exif(block) else b""


def put_together(coded: bytes, metadata: Metadata) -> bytes:
    """A file with metadata around its pixels."""
    around = list(metadata.rest)
    if metadata.exif:
        around.append(_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        around.append(_chunk(b"iTXt", _XMP + b"\0\0\0\0\0" + metadata.xmp))
    if metadata.icc:
        around.insert(0, _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(metadata.icc)))
    header = len(SIGNATURE) + 25
    return b"".join([coded[:header], *around, coded[header:]])
