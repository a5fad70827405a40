"""Formats of pictures: each read by what it is, and written again as itself, at its own quality and depth."""

import dataclasses
import io
import struct
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, PngImagePlugin

from deepdeblur_tf.compat import tf
from deepdeblur_tf.images import deep
from deepdeblur_tf.images.formats import FORMATS, SUFFIXES
from deepdeblur_tf.images.metadata import OTHER_PICTURES
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.picture_files import read_photo, write_photo
from deepdeblur_tf.images.rgb import image_size, read_rgb
from deepdeblur_tf.model import build_model
from deepdeblur_tf.restoration.restorer import Restorer
from tests.images.exif_data import NOTE, PICTURE, assert_turned, exif_block, xmp

cv2 = pytest.importorskip("cv2")
pillow_heif = pytest.importorskip("pillow_heif")
tifffile = pytest.importorskip("tifffile")  # which scikit-image brings


@pytest.fixture(scope="module")
def picture():
    """Colours and some noise, 128x96."""
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((128, 96), Image.BICUBIC)
    return Image.fromarray(np.clip(np.asarray(small) + random.normal(0, 4, (96, 128, 3)), 0, 255).astype(np.uint8))


def transparent(picture):
    """The picture, opacity rising from the upper border down."""
    image = picture.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def save(path, image, kind, **options):
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(path, **options)
    else:
        image.save(path, kind, **options)


def opened(path):
    content = path.read_bytes()
    if content[4:8] == b"ftyp" and b"avif" not in content[:32]:
        return pillow_heif.HeifImageFile(io.BytesIO(content))
    return Image.open(path)


def again(path, change=lambda rgb: rgb):
    photo = read_photo(path)
    target = path.with_name(f"again{path.suffix}")
    write_photo(target, photo, change(photo.rgb))
    return photo, target


def difference(first, second):
    return np.abs(np.asarray(first).astype(int) - np.asarray(second)).mean()


AVIF = pytest.param("AVIF", marks=pytest.mark.skipif(find_spec("PIL._avif") is None, reason="Pillow before 11.3"))
SLOW_HEIF = pytest.param("HEIF", marks=pytest.mark.slow)
LOSSY = {"WEBP": "webp", "AVIF": "avif", "HEIF": "heic", "JPEG": "jfif"}


@pytest.mark.parametrize("kind", ["WEBP", AVIF, "JPEG", SLOW_HEIF])
@pytest.mark.parametrize("quality", [30, 60, 90])
def test_lossy_formats_keep_their_quality(tmp_path, picture, kind, quality):
    path = tmp_path / f"a.{LOSSY[kind]}"
    save(path, picture, kind, quality=quality)
    photo, target = again(path)
    assert opened(target).format == kind
    sizes = path.stat().st_size, target.stat().st_size
    assert 0.8 < sizes[1] / sizes[0] < 1.4
    assert difference(opened(target), photo.rgb) < 0.7 * difference(photo.rgb, picture) + 1


@pytest.mark.parametrize("kind", ["WEBP", AVIF, "HEIF"])
@pytest.mark.parametrize("turned", [1, 3, 6])
def test_what_stands_around_the_pixels_is_kept(tmp_path, picture, kind, turned):
    path = tmp_path / f"a.{LOSSY[kind]}"
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    save(path, PICTURE, kind, quality=95, exif=exif_block(turned=turned), xmp=xmp(turned), icc_profile=icc)
    photo, target = again(path)
    assert_turned(photo.rgb, turned)
    assert_turned(read_photo(target).rgb, turned)
    content = target.read_bytes()
    assert content.count(NOTE) == 1 and b"a maker" in content and b"2024:05:01 10:00:00" in content
    assert b"blurry" not in content and opened(target).info["icc_profile"] == icc
    assert opened(target).getexif().get(0x0112, 1) == 1 and b"<x:xmpmeta" in opened(target).info["xmp"]


@pytest.mark.parametrize("kind", ["WEBP", AVIF, SLOW_HEIF])
def test_damaged_exif_data_keep_no_pixels_from_being_read(tmp_path, picture, kind):
    path = tmp_path / f"a.{LOSSY[kind]}"
    save(path, picture.resize((48, 32)), kind, quality=90, exif=exif_block(turned=1))
    content = path.read_bytes()
    random = np.random.default_rng(1)
    begin = content.index(b"MM\0*")
    for number in range(40):
        damaged = bytearray(content)
        for at in random.integers(0, 200, 8):
            damaged[begin + at] = random.integers(256)
        path.write_bytes(damaged)
        photo = read_photo(path)
        assert sorted(photo.rgb.shape[:2]) == [32, 48]
        if number % 10 == 0:
            write_photo(tmp_path / "b", photo, photo.rgb)
            assert sorted(opened(tmp_path / "b").size) == [32, 48]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_lossless_webp_stays_so(tmp_path, picture, mode):
    image = transparent(picture) if mode == "RGBA" else picture
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    _, target = again(tmp_path / "a.webp")
    np.testing.assert_array_equal(np.asarray(Image.open(target)), np.asarray(image))


@pytest.mark.parametrize("kind", ["WEBP", AVIF, SLOW_HEIF])
def test_transparency_is_kept(tmp_path, picture, kind):
    image = transparent(picture)
    save(tmp_path / "a", image, kind, quality=90)
    photo, target = again(tmp_path / "a")
    assert photo.alpha is not None and difference(opened(target).getchannel("A"), image.getchannel("A")) < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_hidden_is_not_seen_by_the_network_and_stays(tmp_path, dtype):
    most = np.iinfo(dtype).max
    pixels = np.zeros((20, 30, 4), dtype)
    pixels[5:15, 8:20] = most // 2, most // 3, most // 4, most
    pixels[5, 8:20, 3] = most // 5  # a soft edge
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    photo, _ = again(tmp_path / "a.tif")
    assert (photo.visible == pixels[10, 10, :3]).all()
    write_photo(tmp_path / "b.tif", photo, photo.visible // 2)
    written = tifffile.imread(tmp_path / "b.tif")
    np.testing.assert_array_equal(written[..., 3], pixels[..., 3])
    np.testing.assert_array_equal(written[..., :3], np.where(pixels[..., 3:] == 0, pixels, pixels // 2)[..., :3])


def test_a_tiff_whose_directory_ends_it_is_turned_once(tmp_path, picture):
    picture.save(tmp_path / "a.tif", exif=exif_block())
    content = bytearray((tmp_path / "a.tif").read_bytes())
    (at,) = struct.unpack("<I", content[4:8])
    (count,) = struct.unpack("<H", content[at : at + 2])
    content[4:8] = struct.pack("<I", len(content))
    (tmp_path / "b.tif").write_bytes(content + content[at : at + 6 + 12 * count])
    for read in (read_rgb, lambda path: read_photo(path).rgb):
        first, second = (read(tmp_path / name) for name in ("a.tif", "b.tif"))
        assert first.shape[:2] != (picture.height, picture.width)  # it lies on its side
        np.testing.assert_array_equal(first, second)


def test_a_tiff_that_begins_with_its_thumbnail_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((8, 8, 3), np.uint8), photometric="rgb", subfiletype=1)
        file.write(np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    with pytest.raises(ImageError, match="has 2 frames"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["WEBP", AVIF, SLOW_HEIF, "PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_file_is_read_by_what_it_is(tmp_path, picture, kind, name):
    save(tmp_path / name, picture, kind)
    photo, target = again(tmp_path / name)
    assert photo.rgb.shape == (96, 128, 3) and opened(target).format == kind
    assert image_size(tmp_path / name) == (96, 128)
    np.testing.assert_array_equal(read_rgb(tmp_path / name), photo.rgb)


def test_each_format_has_its_suffixes_once():
    assert len(set(SUFFIXES)) == len(SUFFIXES) == sum(len(known.suffixes) for known in FORMATS)
    assert {".jfif", ".jpe", ".webp", ".avif", ".heic", ".heif"} < set(SUFFIXES)


@pytest.mark.parametrize("kind", ["WEBP", AVIF, "PNG", "TIFF"])
def test_animations_are_refused_with_advice(tmp_path, picture, kind):
    others = [Image.new("RGB", picture.size, "red")]
    picture.save(tmp_path / "a", kind, save_all=True, append_images=others)
    with pytest.raises(ImageError, match="a: has 2 frames; .* Save the one that you want as a picture of its own"):
        read_photo(tmp_path / "a")


def test_a_smaller_version_in_a_tiff_is_no_second_page(tmp_path, picture):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.asarray(picture), photometric="rgb")
        writer.write(np.asarray(picture.resize((16, 12))), photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").rgb, np.asarray(picture))


@pytest.mark.parametrize(
    "content, words",
    [
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\xff\x0a....", "JPEG XL"),
        (b"%!PS-Adobe-3.0 EPSF", "PostScript"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a raw file of a camera"),
        (b"GIF89a", "a GIF"),
    ],
)
def test_other_formats_are_refused_with_what_to_do(tmp_path, content, words):
    (tmp_path / "a.jpg").write_bytes(content.ljust(500, b"\0"))
    for read in (read_photo, read_rgb, image_size):
        with pytest.raises(ImageError, match=f"a.jpg: is {words}, which is not read. Save it as JPEG or PNG."):
            read(tmp_path / "a.jpg")


@pytest.mark.parametrize("missing, words", [("pillow_heif", "\\[heif\\]'"), ("PIL._avif", "pillow")])
def test_what_has_to_be_installed_is_named(tmp_path, picture, monkeypatch, missing, words):
    brand = b"heic" if missing == "pillow_heif" else b"avif"
    (tmp_path / "a").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(200))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == missing else object())
    with pytest.raises(ImageError, match=f"{tmp_path}/a: .*Install it: pip install .*{words}"):
        read_photo(tmp_path / "a")


# 16 bits a channel.


def deep_picture(channels):
    random = np.random.default_rng(3)
    return random.integers(0, 65536, (30, 41, channels), dtype=np.uint16)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("turned", [1, 6])
def test_a_png_of_16_bits_stays_one(tmp_path, channels, turned):
    pixels = deep_picture(channels)
    content = tf.io.encode_png(pixels).numpy()
    block = exif_block(turned=turned)
    chunk = io.BytesIO()
    PngImagePlugin.putchunk(chunk, b"eXIf", block)
    (tmp_path / "a.png").write_bytes(content[:33] + chunk.getvalue() + content[33:])
    photo, target = again(tmp_path / "a.png")
    upright = np.rot90(pixels, 3) if turned == 6 else pixels
    assert photo.rgb.dtype == np.uint16 and photo.has_colours == (channels > 2)
    np.testing.assert_array_equal(tf.io.decode_png(target.read_bytes(), dtype=tf.uint16), upright)
    assert Image.open(target).getexif()[0x010F] == "a maker"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_of_16_bits_keeps_its_transparent_colour(tmp_path, channels):
    pixels = deep_picture(channels)
    content = tf.io.encode_png(pixels).numpy()
    chunk = io.BytesIO()
    PngImagePlugin.putchunk(chunk, b"tRNS", pixels[3, 5].astype(">u2").tobytes())
    (tmp_path / "a.png").write_bytes(content[:33] + chunk.getvalue() + content[33:])
    photo, target = again(tmp_path / "a.png")
    expected = np.full((30, 41), 65535)
    expected[3, 5] = 0
    np.testing.assert_array_equal(photo.alpha, expected)
    both = tf.io.decode_png(target.read_bytes(), dtype=tf.uint16)
    np.testing.assert_array_equal(both, np.dstack([pixels, expected]))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("compression", [1, 5, 8])
def test_a_tiff_of_16_bits_stays_one(tmp_path, channels, compression):
    pixels = deep_picture(channels)
    turned = pixels if channels == 1 else pixels[..., [2, 1, 0, 3][:channels]]
    cv2.imwrite(str(tmp_path / "a.tif"), turned, [cv2.IMWRITE_TIFF_COMPRESSION, compression])
    photo, target = again(tmp_path / "a.tif")
    assert photo.rgb.dtype == np.uint16
    written = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written.reshape(turned.shape), turned)
    tags = Image.open(target).tag_v2
    assert tags[259] == compression and (tags.get(338) == (2,)) == (channels == 4)


def test_colours_of_16_bits_that_were_multiplied_by_their_alpha_are_shown_as_before(tmp_path):
    colours, alpha = deep_picture(3), np.linspace(0, 65535, 30 * 41).reshape(30, 41).round()
    multiplied = np.round(colours * (alpha[..., None] / 65535)).astype(np.uint16)
    both = np.dstack([multiplied, alpha.astype(np.uint16)])
    tifffile.imwrite(tmp_path / "a.tif", both, photometric="rgb", extrasamples=["assocalpha"])
    _, target = again(tmp_path / "a.tif")
    assert tifffile.TiffFile(target).pages[0].extrasamples == (2,)
    found = tifffile.imread(target).astype(float)
    np.testing.assert_array_equal(found[..., 3], alpha)
    np.testing.assert_allclose(found[..., :3] * (alpha[..., None] / 65535), multiplied, atol=0.51)


def test_a_tiff_of_16_bits_a_channel_after_the_other_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", deep_picture(3).transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    with pytest.raises(ImageError, match="a.tif: is a TIFF of 16 bits that holds one channel after the other"):
        read_photo(tmp_path / "a.tif")


def test_a_grey_tiff_of_16_bits_has_one_plane_whatever_it_says(tmp_path):
    pixels = deep_picture(1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", extratags=[(285, 3, 1, 2, True)])
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content.replace(struct.pack("<HHI", 285, 3, 1), struct.pack("<HHI", 284, 3, 1)))
    assert Image.open(tmp_path / "a.tif").tag_v2[284] == 2
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").rgb[..., 0], pixels)


@pytest.mark.parametrize(
    "dtype, photometric, extra, left",
    [
        (np.uint8, "rgb", [0], 1),
        (np.uint16, "rgb", [0], 1),
        (np.uint8, "rgb", [0, 0], 2),
        (np.uint8, "rgb", [2, 0], 1),
        (np.uint8, "separated", [0], 1),
    ],
)
def test_channels_that_are_no_transparency_are_left_out(tmp_path, dtype, photometric, extra, left):
    """An infrared channel of a scanner, a saved selection, or a spot colour."""
    colours = 3 if photometric == "rgb" else 4
    pixels = np.dstack([deep_picture(4), deep_picture(4)])[..., : colours + len(extra)].astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, extrasamples=extra)
    photo, target = again(tmp_path / "a.tif")
    assert f"{left} of its channels, neither colours nor transparency" in photo.left_out
    assert (photo.alpha is not None) == (extra[0] == 2)
    if photometric == "rgb":
        np.testing.assert_array_equal(tifffile.imread(target)[..., :3], pixels[..., :3])


def test_photoshops_layers_are_left_out(tmp_path):
    layers = b"Adobe Photoshop Document Data Block\0 the blurry layers"
    tifffile.imwrite(tmp_path / "a.tif", deep_picture(3), photometric="rgb", extratags=[(37724, 7, None, layers, True)])
    photo, target = again(tmp_path / "a.tif")
    assert photo.left_out == ("Photoshop's layers",) and b"blurry layers" not in target.read_bytes()


def test_a_heics_gain_map_is_said_to_be_left_out(tmp_path, picture):
    save(tmp_path / "a.heic", transparent(picture), "HEIF", quality=90)
    content = (tmp_path / "a.heic").read_bytes()
    kinds = [b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha"]
    (kind,) = (kind for kind in kinds if kind in content)
    gain = b"urn:x:hdrgainmap".ljust(len(kind), b"\0")  # as phones have it, under a shorter name
    (tmp_path / "a.heic").write_bytes(content.replace(kind, gain))
    assert OTHER_PICTURES in read_photo(tmp_path / "a.heic").left_out


def test_a_negative_of_16_bits_becomes_a_positive(tmp_path):
    pixels = deep_picture(1)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    _, target = again(tmp_path / "a.tif")
    assert tifffile.TiffFile(target).pages[0].photometric.name == "MINISBLACK"
    np.testing.assert_array_equal(tifffile.imread(target), 65535 - pixels)


def test_16_bits_become_8_rounded():
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(deep.to_8_bits(values), np.round(values / 257).astype(np.uint8))


# Colours.


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb_and_says_so(tmp_path, picture, kind):
    picture.convert("CMYK").save(tmp_path / "a", kind)
    photo, target = again(tmp_path / "a")
    assert opened(target).mode == "RGB" and difference(photo.rgb, picture) < 8
    assert photo.left_out == ("the colour space CMYK; the picture is written as RGB, converted without a profile",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG", "TIFF", "BMP"])
def test_a_grey_picture_stored_in_colour_stays_grey(tmp_path, picture, kind):
    restorer = Restorer(build_model(levels=1, blocks=1, filters=4, kernel_size=3), scale=1)  # which gives all tints
    assert np.ptp(restorer(np.asarray(picture)), axis=2).max() > 0
    picture.convert("L").convert("RGB").save(tmp_path / "a", kind, **({"lossless": True} if kind == "WEBP" else {}))
    photo, target = again(tmp_path / "a", restorer)
    pixels = np.asarray(opened(target))
    assert photo.has_colours and opened(target).mode == "RGB"
    assert (pixels[..., :1] == pixels).all() and np.ptp(pixels) > 0


def test_a_large_picture_leaves_pillow_as_it_was(tmp_path, random):
    before = ImageFile.MAXBLOCK
    Image.fromarray(random.integers(0, 256, (300, 400, 3), dtype=np.uint8)).save(tmp_path / "a.jpg", progressive=True)
    photo = read_photo(tmp_path / "a.jpg")
    write_photo(tmp_path / "b.jpg", photo, photo.rgb)
    assert before == ImageFile.MAXBLOCK  # of 90 megapixels it was so large that no other image could be read


# What public collections of cameras' files and of an image library's tests hold.


@pytest.mark.slow
@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_heic_of_10_or_12_bits_stays_one(tmp_path, picture, bits, channels):
    wide = np.asarray(picture).astype(np.uint16)[..., [0, 1, 2, 0][:channels]] * 257
    wide[10:20] = 65535
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    mode = {1: "L;16", 3: "RGB;16", 4: "RGBA;16"}[channels]
    pillow_heif.encode(mode, picture.size, wide.tobytes(), tmp_path / "a.heic", quality=95)
    photo, target = again(tmp_path / "a.heic")
    assert photo.rgb.dtype == np.uint16 and photo.rgb.max() == 65535 and photo.has_colours == (channels > 1)
    assert not photo.left_out and opened(target).info["bit_depth"] == bits
    assert difference(read_photo(target).rgb, photo.rgb) < 257 * 8


@pytest.mark.parametrize("kind", [AVIF, "HEIF"])
def test_colours_of_hdr_stay_what_they_are_called(tmp_path, picture, kind):
    """BT.2020 and PQ in an "nclx" box, as cameras' HIFs have them: without it the picture would be shown as sRGB."""
    path = tmp_path / "a"
    save(path, picture, kind, quality=90)
    content = path.read_bytes()
    at = content.index(b"colrnclx") + 8
    path.write_bytes(content[:at] + b"\0\x09\0\x10" + content[at + 4 :])
    photo, target = again(path)
    assert b"colrnclx\0\x09\0\x10" in target.read_bytes() and b"colrnclx\0\x01" not in target.read_bytes()
    assert difference(read_photo(target).rgb, photo.rgb) < 8


def test_a_heic_that_cannot_be_written_is_refused_before_it_is_restored(tmp_path, monkeypatch, picture):
    known = next(known for known in FORMATS if known.name == "HEIF")
    assert known.most_pixels == 142_606_336
    monkeypatch.setattr("deepdeblur_tf.images.formats.FORMATS", (dataclasses.replace(known, most_pixels=100),))
    save(tmp_path / "a.heic", picture.resize((16, 16)), "HEIF")
    words = "a.heic: has 16x16 pixels; no HEIC of more than 100 .* Save it as JPEG or PNG"
    with pytest.raises(ImageError, match=words):
        read_photo(tmp_path / "a.heic")


def test_a_bmp_keeps_its_transparency(tmp_path, picture):
    image = transparent(picture)
    image.save(tmp_path / "opaque.bmp", dpi=(300, 300))  # as Pillow writes it, nobody knows of the alpha
    assert read_photo(tmp_path / "opaque.bmp").alpha is None
    content = (tmp_path / "opaque.bmp").read_bytes()
    longer = content[:14] + (108).to_bytes(4, "little") + content[18:30] + b"\3\0\0\0" + content[34:54]
    longer += bytes.fromhex("0000ff00 00ff0000 ff000000 000000ff") + b"BGRs" + bytes(48) + content[54:]
    (tmp_path / "a.bmp").write_bytes(longer[:10] + (122).to_bytes(4, "little") + longer[14:])
    photo, target = again(tmp_path / "a.bmp")
    np.testing.assert_array_equal(np.asarray(opened(target)), np.asarray(image))
    assert photo.alpha is not None and round(opened(target).info["dpi"][0]) == 300


def test_lab_becomes_rgb_and_says_so(tmp_path, picture):
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    ImageCms.applyTransform(picture, transform).save(tmp_path / "a.tif")
    photo, target = again(tmp_path / "a.tif")
    assert photo.left_out == ("the colour space Lab; the picture is written as RGB",)
    assert opened(target).mode == "RGB" and difference(opened(target), picture) < 4


def test_cmyk_of_16_bits_becomes_rgb(tmp_path, picture):
    deep_cmyk = np.asarray(picture.convert("CMYK")).astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", deep_cmyk, photometric="separated")
    photo, _ = again(tmp_path / "a.tif")
    assert photo.rgb.dtype == np.uint8 and difference(photo.rgb, picture) < 8
    assert photo.left_out[0] == "16 bits a channel, of which 8 are written"


def test_the_preview_of_a_raw_file_is_not_taken_for_the_picture(tmp_path, picture):
    """As DNG and NEF begin: a small version, and the directories with the camera's data."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.asarray(picture), photometric="rgb", subfiletype=1, subifds=1)
        writer.write(np.zeros((200, 300), np.uint16), photometric="cfa", extratags=[])
    for read in (read_photo, read_rgb, image_size):
        with pytest.raises(ImageError, match="a.tif: is a raw file of a camera, which is not read. Save it as JPEG"):
            read(tmp_path / "a.tif")


def test_libraries_say_nothing_of_damaged_and_coarse_files(tmp_path, picture, capfd):
    picture.save(tmp_path / "a.jpg", qtables=[[300] * 64] * 2)
    capfd.readouterr()
    again(tmp_path / "a.jpg")
    picture.save(tmp_path / "a.tif", compression="tiff_lzw")
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:8] + bytes(len(content) // 2) + content[8 + len(content) // 2 :])
    with pytest.raises(ImageError, match="a.tif: does not decode .* save it anew with one of them"):
        read_photo(tmp_path / "a.tif")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("order", ["<", ">"])
def test_iptc_in_a_tiff_keeps_its_order_of_bytes(tmp_path, picture, order):
    """Many programs call its bytes numbers of four, which are swapped in nobody's mind."""
    block = b"\x1c\x02\x05\x00\x07Holiday\x1c\x02\x50\x00\x03Ann"
    numbers = np.frombuffer(block.ljust(24, b"\0"), f"{order}u4")
    tags = [(33723, "I", len(numbers), numbers.tolist(), True)]
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(picture), photometric="rgb", byteorder=order, extratags=tags)
    assert block in (tmp_path / "a.tif").read_bytes()
    _, target = again(tmp_path / "a.tif")
    assert block in target.read_bytes()
