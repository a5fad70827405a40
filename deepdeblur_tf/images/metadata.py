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
# What is said of what is not written again.
OTHER_PICTURES = "other pictures in the file, such as a preview, a depth map or a gain map"
MOTION_PHOTO = "the video of a motion photo"
# XMP properties that hold pictures of the picture, or promise what is not written with it: by their namespaces, their
# names there, and what is said about it.
_XMP_DROPPED = (
    (b"http://ns.adobe.com/xap/1.0/", rb"Thumbnails", ""),
    (b"http://ns.adobe.com/hdr-gain-map/1.0/", rb"\w+", "the gain map, which brightens the picture on some screens"),
    (b"http://ns.apple.com/HDRGainMap/1.0/", rb"\w+", "the gain map, which brightens the picture on some screens"),
    (b"http://ns.google.com/photos/1.0/camera/", rb"(?:MotionPhoto|MicroVideo)\w*", MOTION_PHOTO),
    (b"http://ns.google.com/photos/1.0/container/", rb"Directory", ""),  # of both
    (b"http://ns.google.com/photos/dd/1.0/container/", rb"Directory", ""),  # of depth maps behind the picture
    (b"http://ns.google.com/photos/1.0/image/", rb"\w+", OTHER_PICTURES),
    (b"http://ns.google.com/photos/1.0/depthmap/", rb"\w+", OTHER_PICTURES),
)
# Those that tell where something is in a picture as it is stored.
_XMP_PLACES = (
    (b"http://www.metadataworkinggroup.com/schemas/regions/", rb"Regions"),
    (b"http://ns.microsoft.com/photo/1.2/", rb"RegionInfo"),
)
_THUMBNAIL_RESOURCES = (1033, 1036)  # Adobe Photoshop File Formats Specification, "Image Resource IDs"


@dataclass(frozen=True)
class Metadata:
    """What stands around a picture's pixels and is kept.

    Attributes:
        exif: EXIF data from their TIFF header on; in a TIFF file all tags but those on how it stores the pixels.
        xmp: An XMP packet.
        icc: A colour profile.
        rest: The format's own pieces, written as they are.
        colours: What the values mean by an "nclx" box of ISO media: the numbers of the primaries and of the transfer
            characteristics (ITU-T H.273), two bytes each.
        left_out: What is not kept, in words.
    """

    exif: bytes = b""
    xmp: bytes = b""
    icc: bytes = b""
    rest: tuple[bytes, ...] = ()
    left_out: tuple[str, ...] = ()
    colours: bytes = b""

    @property
    def orientation(self) -> int:
        """How the picture has to be turned, 1 to 8, by the EXIF data, or where they do not tell by the XMP packet."""
        found = _XMP_ORIENTATION.search(self.xmp)
        return exif.orientation(self.exif) or int(found[2] if found else 1)

    def of_upright(self, size: tuple[int, int]) -> Metadata:
        """Those of the upright picture of a (width, height): not to be turned again, without thumbnails."""
        xmp, left_out = _XMP_ORIENTATION.sub(rb"\g<1>1", self.xmp), list(self.left_out)
        dropped = list(_XMP_DROPPED)
        if self.orientation > 1:
            said = "the places of faces, for the picture was turned upright"
            dropped += [(namespace, names, said) for namespace, names in _XMP_PLACES]
        for namespace, names, said in dropped:
            shorter = without_properties(xmp, namespace, names)
            left_out += [said] * (shorter != xmp and said != "")
            xmp = shorter
        block = exif.of_upright(self.exif, size, self.orientation)
        return replace(self, exif=block, xmp=xmp, left_out=tuple(dict.fromkeys(left_out)))


def without_properties(xmp: bytes, namespace: bytes, names: bytes) -> bytes:
    """An XMP packet without some properties of a namespace, as attributes and as elements."""
    for prefix in set(re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(namespace) + rb"[\"']", xmp)):
        name = re.escape(prefix) + rb":" + names
        kept, at = b"", 0
        for begin in re.finditer(rb"<(" + name + rb")(?:\s[^<>]*)?(/?)>", xmp):
            if begin.start() < at:  # within one that is left out
                continue
            end = begin.end() if begin[2] else xmp.find(b"</" + begin[1] + b">", begin.end())
            if end < 0:  # no whole packet
                break
            kept += xmp[at : begin.start()]
            at = end if begin[2] else end + len(begin[1]) + 3
        xmp = kept + xmp[at:]
        xmp = re.sub(rb"\s" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", xmp)
    return xmp


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
