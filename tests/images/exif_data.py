"""What cameras write around pixels, byte by byte, and a picture whose turns show."""

import struct

import numpy as np
from PIL import Image

# Left half red, right half blue, so that turns show.
PICTURE = Image.fromarray(np.repeat(np.array([[[200, 20, 20]] * 32 + [[20, 20, 200]] * 32], np.uint8), 48, axis=0))
THUMBNAIL = b"\xff\xd8\xff\xdb" + b"a picture of the blurry picture" * 20 + b"\xff\xd9"
NOTE = b"a note of the maker's, with 4 bytes that point into it"


def entry(order, tag, kind, count, value):
    return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")


def directory(order, entries, following=0):
    return struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", following)


def exif_block(order=">", turned=6, thumbnail=THUMBNAIL, padding=0):
    """EXIF data as cameras write them: maker, orientation, time, sizes, MakerNote, place, thumbnail."""
    short, long = (lambda value: struct.pack(order + "H", value)), (lambda value: struct.pack(order + "I", value))
    at = {"maker": 62, "inner": 72, "time": 126, "note": 146, "place": 204, "thumbnail": 260 + padding}
    ifd0 = [
        entry(order, 0x010F, 2, 8, long(at["maker"])),
        entry(order, 0x0112, 3, 1, short(turned)),
        entry(order, 0x8769, 4, 1, long(at["inner"])),
        entry(order, 0x8825, 4, 1, long(at["place"])),
    ]
    inner = [
        entry(order, 0x9003, 2, 20, long(at["time"])),
        entry(order, 0x927C, 7, len(NOTE), long(at["note"])),
        entry(order, 0xA002, 3, 1, short(64)),
        entry(order, 0xA003, 4, 1, long(48)),
    ]
    place = [entry(order, 1, 2, 2, b"N\0"), entry(order, 2, 5, 3, long(236))]
    ifd1 = [entry(order, 513, 4, 1, long(at["thumbnail"] + 30)), entry(order, 514, 4, 1, long(len(thumbnail)))]
    block = ({"<": b"II*\0", ">": b"MM\0*"}[order] + long(8) + directory(order, ifd0, at["thumbnail"])).ljust(62, b"\0")
    block = (block + b"a maker\0").ljust(72, b"\0") + directory(order, inner)
    block = (block.ljust(126, b"\0") + b"2024:05:01 10:00:00\0").ljust(146, b"\0") + NOTE
    block = (block.ljust(204, b"\0") + directory(order, place)).ljust(236, b"\0")
    block += b"".join(struct.pack(order + "II", value, 1) for value in (47, 22, 9))
    return block + bytes(padding) + directory(order, ifd1) + thumbnail


def assert_turned(pixels, turned):
    """Whether the picture is upright: its red half is where the orientation puts it."""
    assert pixels.shape == ((64, 48, 3) if turned >= 5 else (48, 64, 3))
    red = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"}[turned]
    halves = {"left": pixels[:, :30], "right": pixels[:, -30:], "top": pixels[:30], "bottom": pixels[-30:]}
    assert (halves[red][..., 0] > 150).all() and (halves[red][..., 2] < 60).all()


def xmp(turned):
    return b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d" a="b"/></x:xmpmeta>' % turned
