import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf.compat import tf
from deepdeblur_tf.images.opening import ImageError, pillow_errors
from deepdeblur_tf.images.rgb import image_size, read_rgb
from tests.helpers import flip_a_bit


@pytest.fixture
def colour(random):
    return random.integers(0, 256, (10, 14, 3), dtype=np.uint8)


def test_png_is_read_exactly(tmp_path, colour):
    iio.imwrite(tmp_path / "a.png", colour)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), colour)
    assert image_size(tmp_path / "a.png") == (10, 14)


def test_png_equals_tensorflows_decoder(tmp_path, frame):
    iio.imwrite(tmp_path / "a.png", frame)
    expected = tf.image.decode_png(tf.io.read_file(str(tmp_path / "a.png")), channels=3)
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), expected)


@pytest.mark.real_data
def test_real_frame_equals_tensorflows_decoder(shared):
    path = shared / "gopro" / "test" / "GOPR0384_11_00" / "blur" / "000001.png"
    np.testing.assert_array_equal(read_rgb(path), tf.image.decode_png(tf.io.read_file(str(path)), channels=3))


def test_jpeg_equals_tensorflows_accurate_decoder(tmp_path, frame):
    Image.fromarray(frame).save(tmp_path / "a.jpg", quality=90)
    encoded = tf.io.read_file(str(tmp_path / "a.jpg"))
    expected = tf.image.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.jpg"), expected)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_grey_and_palette_become_rgb(tmp_path, colour, mode):
    image = Image.fromarray(colour).convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def test_exif_orientation_is_applied(tmp_path):
    image = Image.fromarray(np.full((10, 14, 3), 200, np.uint8))
    image.paste((0, 0, 0), (0, 0, 7, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the top of the scene is at the right
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    read = read_rgb(tmp_path / "a.jpg")
    assert read.shape == (14, 10, 3) and image_size(tmp_path / "a.jpg") == (14, 10)
    assert read[:6].max() < 60 < read[8:].min()


def save_16_bit_rgb(path):
    # Pillow cannot write one; TensorFlow can.
    tf.io.write_file(str(path), tf.io.encode_png(tf.fill((4, 4, 3), tf.constant(300, tf.uint16))))


def save_transparent_palette(path):
    Image.fromarray(np.zeros((4, 4), np.uint8), "P").save(path, transparency=0)


REFUSED = {
    "16-bit grey": ("a.png", lambda path: Image.fromarray(np.full((4, 4), 300, np.uint16)).save(path), "16 bits"),
    "16-bit colour": ("a.png", save_16_bit_rgb, "16 bits"),
    "alpha": ("a.png", lambda path: Image.new("RGBA", (4, 4)).save(path), "transparency"),
    "grey with alpha": ("a.png", lambda path: Image.new("LA", (4, 4)).save(path), "transparency"),
    "palette with transparency": ("a.png", save_transparent_palette, "transparency"),
    "animation": (
        "a.png",
        lambda path: Image.new("RGB", (4, 4)).save(
            path, save_all=True, append_images=[Image.new("RGB", (4, 4), "red")]
        ),
        "2 frames",
    ),
    "cmyk": ("a.jpg", lambda path: Image.new("CMYK", (4, 4)).save(path), "CMYK"),
    "text": ("a.png", lambda path: path.write_text("no image"), "not a readable image"),
    "empty": ("a.png", lambda path: path.write_bytes(b""), "not a readable image"),
    "missing": ("a.png", lambda path: None, "no such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_become_a_wrong_picture_is_refused_by_name(tmp_path, case):
    name, save, word = REFUSED[case]
    save(tmp_path / name)
    for read in (image_size, read_rgb):
        with pytest.raises(ImageError, match=word) as error:
            read(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_truncated_file_is_refused_by_name(tmp_path, random, name):
    path = tmp_path / name
    iio.imwrite(path, random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match="does not decode") as error:
        read_rgb(path)
    assert str(path) in str(error.value)


def test_a_flipped_bit_in_a_png_is_refused(tmp_path, random):
    path = tmp_path / "a.png"
    iio.imwrite(path, random.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    flip_a_bit(path)
    with pytest.raises(ImageError, match="does not decode"):
        read_rgb(path)


def test_a_file_that_vanishes_while_it_is_read_is_missing_not_damaged(tmp_path):
    with pytest.raises(ImageError, match="gone.png: no such file"), pillow_errors(tmp_path / "gone.png"):
        raise OSError("An unknown error occurred while initializing plugin")


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    (tmp_path / "a.png").touch()
    words = r"a.png: cannot be read \(Permission denied\)"
    with pytest.raises(ImageError, match=words), pillow_errors(tmp_path / "a.png"):
        raise PermissionError(13, "Permission denied", "a.png")
