"""What stands around a picture's pixels: it never keeps them from being read, and is kept where it can be."""

import io
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin

from deepdeblur_tf.images import exif, jpeg, png, tiff
from deepdeblur_tf.images.metadata import MOTION_PHOTO, OTHER_PICTURES, Metadata
from deepdeblur_tf.images.picture_files import photo_pixels, read_photo, write_photo
from deepdeblur_tf.images.rgb import image_size, read_rgb
from tests.images.exif_data import NOTE, PICTURE, THUMBNAIL, assert_turned, directory, entry, exif_block, xmp

SUFFIXES = {"JPEG": "jpg", "PNG": "png", "TIFF": "tif"}


def encoded(image=PICTURE, kind="JPEG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def saved(path, block, kind):
    """The picture with EXIF data around it, byte by byte as they are given."""
    content = encoded(PICTURE, kind, **({"quality": 95} if kind == "JPEG" else {}))
    if kind == "JPEG":
        content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 8) + exif.PREFIX + block + content[2:]
    elif kind == "PNG":
        chunk = struct.pack(">I4s", len(block), b"eXIf") + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
        content = content[:33] + chunk + content[33:]
    path.write_bytes(content)


def read_and_written(path):
    """(the photo, its file written again, opened)."""
    photo = read_photo(path)
    again = path.with_name("again" + path.suffix)
    write_photo(again, photo, photo.rgb)
    return photo, Image.open(again)


def test_the_smallest_jpeg_with_a_thumbnail(tmp_path):
    thumbnail = encoded(PICTURE.resize((16, 12)))
    ifd0 = directory(">", [entry(">", 274, 3, 1, struct.pack(">H", 1))], 26)
    ifd1 = [entry(">", tag, 4, 1, struct.pack(">I", value)) for tag, value in ((513, 56), (514, len(thumbnail)))]
    PICTURE.save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08" + ifd0 + directory(">", ifd1) + thumbnail)
    photo, again = read_and_written(tmp_path / "a.jpg")
    assert photo.rgb.shape == (48, 64, 3) and photo.left_out == ()
    assert again.getexif()[274] == 1 and not again.getexif().get_ifd(ExifTags.IFD.IFD1)
    assert thumbnail not in (tmp_path / "again.jpg").read_bytes()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_what_a_camera_writes_is_kept_but_for_thumbnail_turn_and_sizes(tmp_path, kind, turned, order):
    path = tmp_path / f"a.{SUFFIXES[kind]}"
    saved(path, exif_block(order, turned), kind)
    photo, again = read_and_written(path)
    assert_turned(photo.rgb, turned)
    np.testing.assert_array_equal(read_rgb(path), photo.rgb)
    assert image_size(path) == photo.rgb.shape[:2] and photo_pixels(path) == 64 * 48
    height, width = photo.rgb.shape[:2]
    kept, inner = again.getexif(), again.getexif().get_ifd(ExifTags.IFD.Exif)
    assert kept[0x010F] == "a maker" and kept[0x0112] == 1 and again.size == (width, height)
    assert inner[0x9003] == "2024:05:01 10:00:00" and inner[0x927C] == NOTE
    assert (inner[0xA002], inner[0xA003]) == (width, height)
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[2] == (47, 22, 9)
    written = (tmp_path / f"again.{SUFFIXES[kind]}").read_bytes()
    assert not kept.get_ifd(ExifTags.IFD.IFD1) and b"blurry" not in written
    # The makers' own positions still hold: nothing was moved.
    assert photo.metadata.exif.index(NOTE) == exif_block(order, turned).index(NOTE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_of_the_full_length(tmp_path, kind):
    path = tmp_path / f"a.{SUFFIXES[kind]}"
    block = exif_block(thumbnail=THUMBNAIL + bytes(100))
    block = exif_block(padding=65527 - len(block), thumbnail=THUMBNAIL + bytes(100))
    assert len(block) == 65527
    saved(path, block, kind)
    photo, again = read_and_written(path)
    assert_turned(photo.rgb, 6)
    assert again.getexif()[0x010F] == "a maker" and photo.left_out == ()


def test_exif_longer_than_a_segment_goes_on_in_the_next(tmp_path):
    note = bytes(range(256)) * 300
    block = exif_block(thumbnail=b"") + note
    photo = read_photo_with(tmp_path, [exif.PREFIX + block[:65527], exif.PREFIX + block[65527:]])
    write_photo(tmp_path / "b.jpg", photo, photo.rgb)
    assert jpeg.take_apart((tmp_path / "b.jpg").read_bytes()).metadata.exif.endswith(note)


def read_photo_with(tmp_path, segments, marker=b"\xff\xe1"):
    content = encoded()
    pieces = b"".join(marker + struct.pack(">H", len(data) + 2) + data for data in segments)
    (tmp_path / "a.jpg").write_bytes(content[:2] + pieces + content[2:])
    return read_photo(tmp_path / "a.jpg")


SEGMENTS = {
    "no TIFF header": ([exif.PREFIX + b"no header at all"], "EXIF data that do not begin as such"),
    "nothing": ([exif.PREFIX], "EXIF data that do not begin as such"),
    "two blocks": ([exif.PREFIX + exif_block()] * 2, "a second block of EXIF data"),
    "a maker's own": ([b"SOMEMAKER\0" + bytes(50)], "APP1 (SOMEMAKER)"),
    "XMP of one byte": ([b"http://ns.adobe.com/xap/1.0/\0<"], None),
}


@pytest.mark.parametrize("case", SEGMENTS)
def test_segments_that_cannot_be_kept_are_named(tmp_path, case):
    segments, words = SEGMENTS[case]
    photo = read_photo_with(tmp_path, segments)
    assert photo.rgb.shape[2] == 3
    assert [words in line for line in photo.left_out] == ([True] if words else [])


def test_wrong_lengths_in_front_of_the_pixels_are_passed_over(tmp_path):
    content = encoded()
    for segment in (
        b"\xff\xe1\0\0",
        b"\xff\xe1\0\x08Exif\0\0more than it says",
        b"\xff\xff\xff\xe1\0\x02",
        b"\xff\0\xff\0",
    ):
        (tmp_path / "a.jpg").write_bytes(content[:2] + segment + content[2:])
        np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg").rgb, np.asarray(Image.open(io.BytesIO(content))))


def test_photoshops_own_thumbnail_goes_and_its_captions_stay(tmp_path):
    def resource(number, data):
        size = struct.pack(">I", len(data))
        return b"8BIM" + struct.pack(">H", number) + b"\0\0" + size + data + bytes(len(data) % 2)

    caption, thumbnail = resource(0x0404, b"\x1c\x02x\0\x05hello"), resource(0x040C, THUMBNAIL)
    photo = read_photo_with(tmp_path, [b"Photoshop 3.0\0" + caption + thumbnail + resource(0x0421, b"v")], b"\xff\xed")
    write_photo(tmp_path / "b.jpg", photo, photo.rgb)
    (data,) = [data for name, data in Image.open(tmp_path / "b.jpg").applist if name == "APP13"]
    assert data == b"Photoshop 3.0\0" + caption + resource(0x0421, b"v")


def test_a_thumbnail_in_the_jfif_header_goes(tmp_path):
    content = encoded(dpi=(300, 200))
    header = b"JFIF\0\x01\x02\x01\x01\x2c\0\xc8\x02\x02" + bytes(range(12))
    (tmp_path / "a.jpg").write_bytes(
        content[:2] + b"\xff\xe0" + struct.pack(">H", len(header) + 2) + header + content[20:]
    )
    _, again = read_and_written(tmp_path / "a.jpg")
    assert again.info["dpi"] == (300, 200) and again.applist[0] == ("APP0", header[:12] + b"\0\0")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("with_exif", [False, True])
def test_the_orientation_in_xmp_is_applied_once(tmp_path, kind, with_exif):
    path, options = tmp_path / f"a.{SUFFIXES[kind]}", {}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp(6).decode(), zip=True)
        options = {"pnginfo": texts}
    elif kind == "TIFF":
        options = {"tiffinfo": {700: xmp(6)}}
    else:
        options = {"xmp": xmp(6), "quality": 95}
    if with_exif:
        told = Image.Exif()
        told[0x0112] = 8
        options["exif"] = told
    if with_exif and kind == "TIFF":
        options["tiffinfo"][0x0112] = 8
        del options["exif"]
    PICTURE.save(path, **options)
    photo, again = read_and_written(path)
    assert_turned(photo.rgb, 8 if with_exif else 6)
    written = again.info.get("xmp") or again.tag_v2[700]
    assert written.rstrip(b"\0") == xmp(1)
    assert_turned(read_photo(tmp_path / f"again.{SUFFIXES[kind]}").rgb, 8 if with_exif else 6)


@pytest.mark.parametrize("name", [b"exif", b"APP1"])
@pytest.mark.parametrize("chunk", [b"tEXt", b"zTXt"])
def test_exif_in_a_text_of_a_png_is_applied_once(tmp_path, name, chunk):
    block = exif.PREFIX + exif_block()
    lines = (block[i : i + 36].hex().encode() for i in range(0, len(block), 36))
    text = b"\nexif\n%8d\n" % len(block) + b"\n".join(lines)
    packed = b"\0" + zlib.compress(text) if chunk == b"zTXt" else text
    texts = PngImagePlugin.PngInfo()
    texts.add(chunk, b"Raw profile type " + name + b"\0" + packed)
    PICTURE.save(tmp_path / "a.png", pnginfo=texts)
    photo, again = read_and_written(tmp_path / "a.png")
    assert_turned(photo.rgb, 6)
    assert again.getexif()[0x0112] == 1 and again.getexif()[0x010F] == "a maker" and again.text == {}


def test_exif_behind_a_pngs_pixels_is_applied(tmp_path, random):
    Image.fromarray(random.integers(0, 256, (400, 500, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    content, block = (tmp_path / "a.png").read_bytes(), exif_block()
    chunk = struct.pack(">I4s", len(block), b"eXIf") + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    (tmp_path / "a.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert read_rgb(tmp_path / "a.png").shape == (500, 400, 3) and image_size(tmp_path / "a.png") == (500, 400)


def test_a_pngs_exif_may_begin_as_a_jpegs(tmp_path):
    saved(tmp_path / "a.png", exif.PREFIX + exif_block(), "PNG")
    photo, again = read_and_written(tmp_path / "a.png")
    assert_turned(photo.rgb, 6)
    assert again.getexif()[0x010F] == "a maker"


LONG = "a long text, " * 200_000


@pytest.mark.parametrize("case", ["text", "compressed text", "international text", "xmp", "profile", "damaged"])
def test_more_than_a_megabyte_in_a_png(tmp_path, case):
    texts, options = PngImagePlugin.PngInfo(), {}
    texts.add_text("Title", "hello")
    if case == "profile":
        options["icc_profile"] = LONG.encode()
    elif case == "xmp":
        texts.add_itxt("XML:com.adobe.xmp", LONG, zip=True)
    elif case == "international text":
        texts.add_itxt("Long", LONG, zip=True)
    elif case == "damaged":
        texts.add(b"zTXt", b"Long\0\0no compressed data")
    else:
        texts.add_text("Long", LONG, zip=case == "compressed text")
    PICTURE.save(tmp_path / "a.png", pnginfo=texts, **options)
    photo = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.rgb, np.asarray(PICTURE))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.asarray(PICTURE))
    write_photo(tmp_path / "b.png", photo, photo.rgb)
    around = png.take_apart((tmp_path / "b.png").read_bytes()).metadata
    assert any(b"hello" in chunk for chunk in around.rest)
    if case in ("text", "profile"):  # can be read without unpacking much, or changes the colours
        assert photo.left_out == () and (len(around.rest) == 2 or around.icc == LONG.encode())
    else:
        (line,) = photo.left_out
        assert ("XML:com.adobe.xmp" if case == "xmp" else "'Long'") in line and len(around.rest) == 1


def test_a_damaged_chunk_around_the_pixels_is_left_out(tmp_path):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "hello")
    PICTURE.save(tmp_path / "a.png", pnginfo=texts)
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes().replace(b"hello", b"hullo"))
    photo, again = read_and_written(tmp_path / "a.png")
    assert photo.left_out == ("the chunk tEXt, which is damaged",) and again.text == {}


def tiff_with(order, tags):
    """The picture as an uncompressed TIFF with further tags, each (tag, type, count, value or bytes elsewhere)."""
    pixels = np.asarray(PICTURE).tobytes()
    rows = [(256, 3, 1, 64), (257, 3, 1, 48), (258, 3, 3, struct.pack(order + "3H", 8, 8, 8)), (259, 3, 1, 1)]
    rows += [(262, 3, 1, 2), (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, 48), (279, 4, 1, len(pixels)), *tags]
    at, behind, entries = 8 + len(pixels), b"", []
    begin = at + 2 + 12 * len(rows) + 4
    for tag, kind, count, value in sorted(rows, key=lambda row: row[0]):
        if isinstance(value, bytes):
            value, behind = struct.pack(order + "I", begin + len(behind)), behind + value + bytes(len(value) % 2)
        else:
            value = struct.pack(order + ("H" if kind == 3 else "I"), value)
        entries.append(entry(order, tag, kind, count, value))
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", at)
    return head + pixels + directory(order, entries) + behind


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [1, 5])
def test_a_tiffs_tags_are_kept_whatever_they_hold(tmp_path, order, compression):
    tags = [
        (270, 2, 12, b"description\0"),
        (271, 2, 8, b"a maker\0"),
        (274, 3, 1, 6),
        (305, 7, 9, b"no text\0\0"),  # of another type than the standard's
        (306, 3, 3, struct.pack(order + "3H", 1, 2, 3)),  # numbers where a text belongs
        (282, 2, 5, b"text\0"),  # a text where a number belongs
        (700, 1, len(xmp(6)), xmp(6)),
        (37510, 7, 4000, bytes(4000)),
        (50000, 12, 2, struct.pack(order + "2d", 1.5, -2.5)),
        (65000, 77, 3, 5),  # of a type that does not exist
        (65001, 4, 4_000_000_000, 5),  # cut off
    ]
    (tmp_path / "a.tif").write_bytes(tiff_with(order, tags))
    photo = read_photo(tmp_path / "a.tif")
    photo.options["compression"] = {1: "raw", 5: "tiff_lzw"}[compression]
    write_photo(tmp_path / "b.tif", photo, photo.rgb)
    assert_turned(photo.rgb, 6)
    assert [line.split(",")[0] for line in photo.left_out] == ["the tag 65000", "the tag 65001"]
    assert tiff.take_apart((tmp_path / "b.tif").read_bytes()).metadata.exif == photo.metadata.exif
    with Image.open(tmp_path / "b.tif") as again:
        kept = dict(again.tag_v2)  # without the orientation, once it is decoded
        np.testing.assert_array_equal(np.asarray(again), photo.rgb)
        assert (kept[270], kept[271], kept[274]) == ("description", "a maker", 1)
        assert kept[37510] == bytes(4000) and kept[50000] == (1.5, -2.5)
        assert kept[305] == b"no text\0\0" and kept[700] == xmp(1)


def test_a_tiffs_time_and_place_are_kept(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[0x010F] = "a maker"
    tags[ExifTags.IFD.Exif] = {0x9003: "2024:05:01 10:00:00"}
    tags[ExifTags.IFD.GPSInfo] = {2: (47.0, 22.0, 9.0)}
    PICTURE.save(tmp_path / "a.tif", tiffinfo=tags, dpi=(300, 300), icc_profile=b"a profile")
    _, again = read_and_written(tmp_path / "a.tif")
    kept = again.getexif()
    assert kept[0x010F] == "a maker" and again.info["dpi"] == (300, 300) and again.info["icc_profile"] == b"a profile"
    assert kept.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2024:05:01 10:00:00"
    assert kept.get_ifd(ExifTags.IFD.GPSInfo)[2] == (47, 22, 9)


def test_directories_that_point_to_themselves_end(tmp_path):
    for target in (8, 10, 72):
        block = bytearray(exif_block(turned=6))
        for position in (42, 54, 58):  # the pointers to the Exif and the GPS directory, and to the next one
            block[position : position + 4] = struct.pack(">I", target)
        for kind in ("JPEG", "PNG"):
            saved(tmp_path / "a", bytes(block), kind)
            photo = read_photo(tmp_path / "a")
            assert_turned(photo.rgb, 6)
            assert exif.orientation(photo.metadata.exif) == 1


def test_text_where_the_orientation_belongs_turns_nothing(tmp_path):
    block = bytearray(exif_block(turned=6))
    at = block.index(b"\x01\x12\0\x03")
    block[at + 2 : at + 12] = b"\0\x02\0\0\0\x026\0\0\0"
    saved(tmp_path / "a.jpg", bytes(block), "JPEG")
    photo, again = read_and_written(tmp_path / "a.jpg")
    assert_turned(photo.rgb, 1)
    assert again.getexif()[0x010F] == "a maker"


@st.composite
def blocks(draw):
    """(EXIF data, whether they are whole): as cameras write them, cut off, with wrong bytes, or anything."""
    order = draw(st.sampled_from("<>"))
    block = exif_block(order, draw(st.integers(1, 8)))
    kind = draw(st.sampled_from(["whole", "cut off", "wrong types", "wrong bytes", "any"]))
    if kind == "cut off":
        return block[: draw(st.integers(0, len(block)))]
    if kind == "wrong types":
        block, count = bytearray(block), draw(st.integers(1, 4))
        starts = st.sampled_from([10, 22, 34, 46, 74, 86, 98, 110, 206, 218, 262, 274])
        for start in draw(st.lists(starts, max_size=count)):
            numbers = draw(st.integers(0, 20)), draw(st.sampled_from([0, 1, 2, 5, 2**16, 2**32 - 1]))
            block[start + 2 : start + 8] = struct.pack(order + "HI", *numbers)
        return bytes(block)
    if kind == "wrong bytes":
        block = bytearray(block)
        for at, value in draw(st.lists(st.tuples(st.integers(0, len(block) - 1), st.integers(0, 255)), max_size=12)):
            block[at] = value
        return bytes(block)
    return block if kind == "whole" else draw(st.binary(max_size=300))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(block=blocks(), kind=st.sampled_from(["JPEG", "PNG"]))
def test_pixels_come_out_whatever_the_exif_data_are(tmp_path, block, kind):
    path = tmp_path / f"a.{SUFFIXES[kind]}"
    saved(path, block, kind)
    photo, again = read_and_written(path)
    turned = exif.orientation(block) or 1
    assert_turned(photo.rgb, turned)
    np.testing.assert_array_equal(read_rgb(path), photo.rgb)
    assert image_size(path) == photo.rgb.shape[:2]
    kept = photo.metadata.exif
    assert len(kept) <= len(block) and exif.orientation(kept) in (0, 1)
    assert again.size == photo.rgb.shape[1::-1] and bool(kept) == exif.is_exif(block)
    for text in (b"a maker", b"2024:05:01 10:00:00", NOTE):  # byte by byte what was there, where it was
        if kept and text in block and text not in kept:
            assert block != exif_block(), text


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.sampled_from("<>"),
    tags=st.lists(
        st.tuples(
            st.one_of(
                st.sampled_from([270, 271, 274, 282, 306, 700, 33723, 34377, 34665, 34675, 34853]),
                st.integers(1, 65535),
            ),
            st.integers(0, 20),
            st.sampled_from([0, 1, 2, 3, 7, 100, 2**16, 2**32 - 1]),
            st.one_of(st.integers(0, 65535), st.binary(max_size=60)),
        ).filter(lambda row: row[0] not in {*tiff.LAYOUT, 65535}),
        max_size=6,
        unique_by=lambda row: row[0],
    ),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")
def test_pixels_come_out_whatever_a_tiffs_tags_are(tmp_path, order, tags):
    (tmp_path / "a.tif").write_bytes(tiff_with(order, [*tags, (65535, 2, 8, b"a maker\0")]))
    photo = read_photo(tmp_path / "a.tif")
    turned = photo.rgb.shape[0] == 64
    assert np.array_equal(np.unique(photo.rgb), [20, 200])
    assert photo.rgb.shape == ((64, 48, 3) if turned else (48, 64, 3))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.tif"), photo.rgb)
    write_photo(tmp_path / "b.tif", photo, photo.rgb)
    again = tiff.take_apart((tmp_path / "b.tif").read_bytes())
    assert again.metadata.orientation == 1 and again.metadata.left_out == () and b"a maker" in again.metadata.exif
    np.testing.assert_array_equal(read_photo(tmp_path / "b.tif").rgb, photo.rgb)


@settings(max_examples=100, deadline=None)
@given(block=st.one_of(blocks(), st.binary(max_size=100)))
def test_any_bytes_are_taken_apart(block):
    starts = ((b"\xff\xd8\xff", jpeg), (b"\x89PNG\r\n\x1a\n", png), (b"", tiff), (b"II+\0\x08\0\0\0", tiff))
    for beginning, module in starts:
        assert module.take_apart(beginning + block).frames >= 1


# As phones write them, in Google's and Adobe's words.
PROMISES = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:Camera="http://ns.google.com/photos/1.0/camera/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/" hdrgm:Version="1.0" Camera:MotionPhoto="1"
 Camera:MotionPhotoVersion="1" Camera:MotionPhotoPresentationTimestampUs="400000" Camera:BurstID='b1' xmp:Rating="4">
<hdrgm:GainMapMax>2.5</hdrgm:GainMapMax><Camera:MicroVideoOffset>99</Camera:MicroVideoOffset>
<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="image/jpeg"
 Item:Semantic="Primary"/></rdf:li><rdf:li><Container:Item Item:Semantic="GainMap" Item:Length="66171"/></rdf:li>
</rdf:Seq></Container:Directory><xmp:Thumbnails><rdf:Alt><rdf:li>blurry</rdf:li></rdf:Alt></xmp:Thumbnails>
<dc:creator>Jane</dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_xmp_promises_and_is_not_written_goes_with_it(tmp_path, kind):
    options = {"xmp": PROMISES.encode()}
    if kind == "PNG":
        options = {"pnginfo": PngImagePlugin.PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", PROMISES)
    PICTURE.save(tmp_path / "a", kind, **options)
    photo, again = read_and_written(tmp_path / "a")
    kept = again.info["xmp"].decode()
    assert [line.split(",")[0] for line in photo.left_out] == ["the gain map", "the video of a motion photo"]
    tree = ElementTree.fromstring(kept)
    (description,) = tree.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    names = {name.rsplit("}")[-1] for name in (*description.attrib, *(child.tag for child in description))}
    assert names == {"about", "BurstID", "Rating", "creator"}


def test_a_gain_maps_own_picture_is_not_written(tmp_path):
    segments = [b"MPF\0MM\0*" + bytes(60), b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0"]
    photo = read_photo_with(tmp_path, segments, b"\xff\xe2")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes() + THUMBNAIL)
    assert len(photo.left_out) == 1 and "gain map" in photo.left_out[0]
    _, again = read_and_written(tmp_path / "a.jpg")
    written = (tmp_path / "again.jpg").read_bytes()
    assert again.format == "JPEG" and b"MPF" not in written and b"21496" not in written and b"blurry" not in written


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"<xmp:Thumbnails>", b"</xmp:Thumbnails>", b"<xmp:Thumbnails/>", b" a ", b"<", b">"])))
def test_any_xmp_is_taken(pieces):
    packet = b'<a xmlns:xmp="http://ns.adobe.com/xap/1.0/">' + b"".join(pieces)
    assert len(Metadata(xmp=packet).of_upright((1, 1)).xmp) <= len(packet)


@pytest.mark.parametrize(
    "longer, kept",
    [
        ("""xmlns:GImage="http://ns.google.com/photos/1.0/image/" GImage:Data="the blurry picture\"""", False),
        ("""xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Temperature="5100\"""", True),
    ],
)
def test_googles_pictures_of_the_picture_are_left_out(tmp_path, longer, kept):
    xmp = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:GImage="http://ns.google.com/photos/1.0/image/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/"
 GImage:Mime="image/jpeg" xmpNote:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF"/></rdf:RDF></x:xmpmeta>"""
    packet = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + longer.encode()
    photo = read_photo_with(tmp_path, [b"http://ns.adobe.com/xap/1.0/\0" + xmp, packet])
    write_photo(tmp_path / "b.jpg", photo, photo.rgb)
    written = (tmp_path / "b.jpg").read_bytes()
    assert (longer.encode() in written) == (b"HasExtendedXMP" in written) == kept
    assert OTHER_PICTURES in photo.left_out  # GImage's own properties


def test_pictures_behind_the_picture_are_named(tmp_path):
    """Depth maps of Android's Dynamic Depth, which are no part of a multi-picture format."""
    xmp = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:Container="http://ns.google.com/photos/dd/1.0/container/"><Container:Directory><rdf:Seq/>
</Container:Directory></rdf:Description></rdf:RDF></x:xmpmeta>"""
    photo = read_photo_with(tmp_path, [b"http://ns.adobe.com/xap/1.0/\0" + xmp])
    assert photo.left_out == ()
    file = tmp_path / "behind.jpg"
    file.write_bytes((tmp_path / "a.jpg").read_bytes() + encoded())
    photo = read_photo(file)
    assert photo.left_out == (OTHER_PICTURES,)
    write_photo(tmp_path / "b.jpg", photo, photo.rgb)
    written = (tmp_path / "b.jpg").read_bytes()
    assert written.count(b"\xff\xd8\xff") == 1 and b"Container:Directory" not in written


@pytest.mark.parametrize(
    "turned, area", [(1, [10, 20, 6, 4]), (3, [54, 28, 6, 4]), (6, [28, 10, 4, 6]), (8, [20, 54, 4, 6])]
)
def test_places_in_the_picture_are_turned_along_or_left_out(tmp_path, turned, area):
    xmp = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/"><r:Regions>Anna</r:Regions>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = turned
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.SubjectLocation.value] = 10, 20, 6, 4  # as SubjectArea
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=tags, xmp=xmp)
    photo = read_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "b.jpg", photo, photo.rgb)
    written = Image.open(tmp_path / "b.jpg")
    found = written.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.SubjectLocation.value]
    assert list(found) == area
    assert (b"Anna" in written.info["xmp"]) == (turned == 1) == (photo.left_out == ())


def test_a_video_right_behind_the_picture_is_named(tmp_path):
    PICTURE.save(tmp_path / "a.jpg")
    with open(tmp_path / "a.jpg", "ab") as file:
        file.write(b"\0\0\0\x18ftypmp42" + b"a video" * 9)
    assert read_photo(tmp_path / "a.jpg").left_out == (MOTION_PHOTO,)


def test_a_motion_photo_of_an_earlier_samsung_is_named(tmp_path):
    PICTURE.save(tmp_path / "a.jpg")
    with open(tmp_path / "a.jpg", "ab") as file:
        file.write(b"\0\0\x30\x0a\x10\0\0\0MotionPhoto_Data" + b"a video" * 9 + b"SEFHSEFT")
    assert read_photo(tmp_path / "a.jpg").left_out == (MOTION_PHOTO,)
