"""Decoding in the graph gives the pixels that Pillow gives, and refuses what would become a wrong picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image

from deepdeblur_tf.compat import tf
from deepdeblur_tf.images import picture_files
from deepdeblur_tf.serving.decoding import decode

MAX_PIXELS = 100_000


@pytest.fixture(scope="module")
def decoded():
    """The graph: bytes to (rgb, alpha, is_grey) as NumPy's."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def graph(data):
        return decode(data, MAX_PIXELS, tf.constant("image 1 of 1"))

    return lambda data: [tensor.numpy() for tensor in graph(data)]


@pytest.fixture(scope="module")
def picture(scenes):
    return Image.fromarray(scenes[0][1]).resize((111, 83))


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(samples, depth, colour, chunks=b""):
    """A PNG that Pillow would not write: grey of few bits."""
    bits = np.unpackbits(samples[..., None].astype(np.uint8), axis=2)[..., 8 - depth :].reshape(len(samples), -1)
    rows = b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))
    header = struct.pack(">IIBBBBB", samples.shape[1], len(samples), depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunks + pixels + chunk(b"IEND", b"")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def assert_as_photo(decoded, data, suffix, folder):
    path = folder / f"image{suffix}"
    path.write_bytes(data)
    photo, (rgb, alpha, is_grey) = picture_files.read_photo(path), decoded(data)
    np.testing.assert_array_equal(rgb, photo.rgb)
    assert is_grey != photo.has_colours and alpha.shape[2] == (photo.alpha is not None)
    if photo.alpha is not None:
        np.testing.assert_array_equal(alpha[..., 0], photo.alpha)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png(decoded, picture, tmp_path, random, mode):
    image = picture.convert(mode)
    if mode[-1] == "A":
        image.putalpha(Image.fromarray(random.integers(0, 256, (83, 111), dtype=np.uint8)))
    assert_as_photo(decoded, encoded(image, "PNG"), ".png", tmp_path)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("options", [{}, {"transparency": 0}])
def test_png_with_a_palette(decoded, picture, tmp_path, bits, options):
    image = picture.quantize(2**bits)
    assert_as_photo(decoded, encoded(image, "PNG", bits=bits, **options), ".png", tmp_path)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_png_grey_of_few_bits(decoded, tmp_path, random, depth):
    samples = random.integers(0, 2**depth, (20, 37))
    assert_as_photo(decoded, png(samples, depth, colour=0), ".png", tmp_path)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_png_with_one_transparent_colour(decoded, picture, tmp_path, mode):
    image = picture.convert(mode)
    assert_as_photo(decoded, encoded(image, "PNG", transparency=image.getpixel((3, 3))), ".png", tmp_path)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(decoded, picture, tmp_path, subsampling, progressive):
    data = encoded(picture, "JPEG", quality=80, subsampling=subsampling, progressive=progressive)
    assert_as_photo(decoded, data, ".jpg", tmp_path)


def test_grey_jpeg(decoded, picture, tmp_path):
    assert_as_photo(decoded, encoded(picture.convert("L"), "JPEG"), ".jpg", tmp_path)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA"])
def test_bmp(decoded, picture, tmp_path, mode):
    assert_as_photo(decoded, encoded(picture.convert(mode), "BMP"), ".bmp", tmp_path)


def test_bmp_that_begins_at_the_top(decoded, picture, tmp_path):
    data = encoded(picture, "BMP")
    assert_as_photo(decoded, data[:22] + struct.pack("<i", -83) + data[26:], ".bmp", tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind, suffix", [("JPEG", ".jpg"), ("PNG", ".png")])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exifs_orientation(decoded, picture, tmp_path, orientation, kind, suffix, order):
    exif = Image.Exif()
    exif.endian = order
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = "a camera", orientation
    assert_as_photo(decoded, encoded(picture, kind, exif=exif.tobytes()), suffix, tmp_path)


@pytest.mark.parametrize("options", [{}, {"interlace": 1}, {"comment": b"words " * 200}])
def test_the_first_frame_of_a_gif(decoded, picture, options):
    frames = [picture.quantize(colours) for colours in (64, 9, 5)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], **options)
    rgb, alpha, is_grey = decoded(data)
    np.testing.assert_array_equal(rgb, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert alpha.shape[2] == 0 and not is_grey


def test_later_frames_of_a_gif_are_not_decoded(decoded, picture):
    # The second frame claims 65535x65535 pixels.
    one = encoded(picture.quantize(4), "GIF")
    huge = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00"
    rgb, _, _ = decoded(one[:-1] + huge + b"\x3b")
    assert rgb.shape == (83, 111, 3)


def huge(kind, picture):
    """A header of 70000x70000 or 65000x65000 pixels, with next to nothing behind it."""
    if kind == "PNG":
        data = png(np.zeros((1, 1)), 8, 0)
        return data[:16] + struct.pack(">II", 70_000, 70_000) + data[24:]
    data = bytearray(encoded(picture.quantize(4) if kind == "GIF" else picture, kind))
    if kind == "BMP":
        data[18:26] = struct.pack("<ii", 70_000, 70_000)
    elif kind == "GIF":
        data[6:10] = struct.pack("<HH", 65_000, 65_000)
    else:
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
def test_a_decompression_bomb_is_refused_by_its_header(decoded, picture, kind):
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 1 of 1 has (70000x70000|65000x65000) pixels"):
        decoded(huge(kind, picture))


def test_the_bound_is_exact(decoded):
    for size in ((100, 1000), (99, 997), (25_000, 1), (1, 25_000)):
        rgb, _, _ = decoded(encoded(Image.new("RGB", size), "PNG"))
        assert rgb.shape == (*size[::-1], 3)
    for size in ((250, 401), (101, 990), (25_001, 1), (1, 25_001), (65_536, 1), (1, 65_536)):  # of rows of four
        words = f"has {size[0]}x{size[1]} pixels; allowed are 1 to 100000 in all"
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            decoded(encoded(Image.new("RGB", size), "PNG"))


def scans(picture, count):
    """A progressive JPEG whose last scan comes so often."""
    data = encoded(picture, "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_a_jpeg_of_very_many_scans_is_refused(decoded, picture, tmp_path):
    assert_as_photo(decoded, scans(picture, 50), ".jpg", tmp_path)
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 1 of 1 is a JPEG of more than 200 scans"):
        decoded(scans(picture, 1000))
    by_chance = b"\xff\xda" * 300 + bytes(4_000_000)  # as in a video that a phone puts behind its picture
    assert_as_photo(decoded, encoded(picture, "JPEG") + by_chance, ".jpg", tmp_path)


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "is none of PNG, JPEG, BMP, GIF"),
        (b"no picture at all", "is none of PNG, JPEG, BMP, GIF"),
        (b"\x89PNG\r\n\x1a\n", "is a damaged PNG"),
        (b"\xff\xd8\xff", "Invalid JPEG data"),
        (b"BM", "has 0x0 pixels"),
        (b"GIF89a", "is a GIF without an image"),
    ],
)
def test_what_is_no_image_is_refused(decoded, data, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        decoded(data)


def test_what_would_become_a_wrong_picture_is_refused(decoded, picture):
    for data, words in [
        (encoded(Image.new("I;16", (9, 9)), "PNG"), "has 16 bits a channel"),
        (encoded(picture.convert("CMYK"), "JPEG"), "is a CMYK image"),
        (encoded(picture.convert("1"), "BMP"), "is a BMP of a rare kind"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            decoded(data)


def test_a_chunk_before_a_pngs_header_hides_nothing(decoded):
    # libpng passes over it, so that a size and depth read at the header's offset are not those of the picture.
    large = png(np.zeros((400, 300)), 8, 0)
    hidden = large[:8] + chunk(b"teSt", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)) + large[8:]
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 1 of 1 is a damaged PNG"):
        decoded(hidden)


def test_exif_behind_fill_bytes(decoded, picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture, "JPEG", exif=exif)
    offset = data.index(b"\xff\xe1")
    assert_as_photo(decoded, data[:offset] + b"\xff\xff" + data[offset:], ".jpg", tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF"])
def test_what_is_cut_off_is_refused(decoded, picture, kind):
    data = encoded(picture.quantize(9) if kind == "GIF" else picture, kind)
    for fraction in (0.1, 0.5, 0.9):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoded(data[: int(fraction * len(data))])
