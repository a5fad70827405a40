"""What stands around a picture's pixels: taken from its file as bytes, and written again as bytes.

The pixels are decoded from a file in which nothing else is left, so that nothing around them keeps them from being
read; and what is kept is neither parsed nor coded anew where it need not be, so that everything can be written back.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from typing import NamedTuple

from deepdeblur_tf.images import exif

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>)\s*)([1-8])")
_XMP_THUMBNAILS = re.compile(rb"<(xmp|xap):Thumbnails\b.*?</\1:Thumbnails>", re.DOTALL)
_THUMBNAIL_RESOURCES = (1033, 1036)  # Adobe Photoshop File Formats Specification, "Image Resource IDs"


@dataclass(frozen=True)
class Metadata:
    """What stands around a picture's pixels and is kept.

    Attributes:
        exif: EXIF data from their TIFF header on; in a TIFF file all tags but those on how it stores the pixels.
        xmp: An XMP packet.
        icc: A colour profile.
        rest: The format's own pieces, written as they are.
        left_out: What is not kept, in words.
    """

    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    rest: tuple[bytes, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def orientation(self) -> int:
        """How the picture has to be turned, 1 to 8, by the EXIF data, or where they do not tell by the XMP packet."""
        found = _XMP_ORIENTATION.search(self.xmp)
        return exif.orientation(self.exif) or int(found[2] if found else 1)

    def of_upright(self, size: tuple[int, int]) -> Metadata:
        """Those of the upright picture of a (width, height): not to be turned again, without thumbnails."""
        xmp = _XMP_THUMBNAILS.sub(b"", _XMP_ORIENTATION.sub(rb"\g<1>1", self.xmp))
        return replace(self, exif=exif.of_upright(self.exif, size), xmp=xmp)


class Parts(NamedTuple):
    """A picture's file, taken apart.

    Attributes:
        pixels: A file of the same format in which nothing stands around the pixels.
        metadata: What stood there.
        frames: How many pictures the file holds.
    """

    pixels: bytes
    metadata: Metadata
    frames: int = 1


def without_thumbnails(resources: bytes) -> bytes:
    """Photoshop's image resources, among them IPTC captions, without pictures of the picture."""
    kept, at = b"", 0
    while resources[at : at + 4] == b"8BIM" and at + 12 <= len(resources):
        (number,) = struct.unpack(">H", resources[at + 4 : at + 6])
        sized = at + 6 + (1 + resources[at + 6] + 1) // 2 * 2  # after the name, of an even length
        (size,) = struct.unpack(">I", resources[sized : sized + 4].ljust(4, b"\0"))
        end = sized + 4 + (size + 1) // 2 * 2
        if number not in _THUMBNAIL_RESOURCES:
            kept += resources[at:end]
        at = end
    return kept + resources[at:]
