"""Users' own pictures: read, and written as they came."""

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from deepdeblur_tf.images import opening
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.picture_files import photo_pixels, read_photo, write_photo
from deepdeblur_tf.images.rgb import image_size, read_rgb


@pytest.fixture
def picture(random):
    small = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return small.resize((64, 48), Image.Resampling.BICUBIC)


def through(path, output):
    """The picture written again without a change."""
    photo = read_photo(path)
    write_photo(output, photo, photo.rgb)
    return photo, Image.open(output)


@pytest.mark.parametrize(
    "mode, written", [("RGB", "RGB"), ("L", "L"), ("LA", "LA"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "L")]
)
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_lossless_formats_keep_every_value(tmp_path, picture, mode, written, suffix):
    if suffix == "bmp" and mode in ("LA", "RGBA"):
        pytest.skip("Pillow reads no transparency from BMP")
    image = picture.convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / f"a.{suffix}")
    photo, again = through(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}")
    assert again.format == Image.open(tmp_path / f"a.{suffix}").format and again.mode == written
    np.testing.assert_array_equal(np.asarray(again), np.asarray(image.convert(written)))
    assert photo.has_colours == (written not in ("L", "LA")) and photo.rgb.shape == (48, 64, 3)


def test_a_transparent_palette_becomes_rgba(tmp_path, picture):
    picture.convert("P").save(tmp_path / "a.png", transparency=3)
    _, again = through(tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_array_equal(np.asarray(again), np.asarray(Image.open(tmp_path / "a.png").convert("RGBA")))


def test_jpeg_keeps_quality_and_metadata(tmp_path, picture):
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    options = {"quality": 71, "subsampling": 1, "progressive": True, "dpi": (300, 300), "comment": b"hello"}
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'></x:xmpmeta>"
    picture.save(tmp_path / "a.jpg", exif=exif, icc_profile=b"profile", xmp=xmp, **options)
    _, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    source = Image.open(tmp_path / "a.jpg")
    assert again.quantization == source.quantization and again.layer == source.layer
    for key in ("icc_profile", "dpi", "progressive", "xmp", "comment"):
        assert again.info[key] == source.info[key]
    assert dict(again.getexif()) == {0x010F: "a maker"}
    # Coded anew from its own pixels with its own tables: hardly a change.
    assert np.abs(np.asarray(again).astype(int) - np.asarray(source)).mean() < 1


def test_colours_of_a_jpeg_that_lies_on_its_side_lose_nothing_more(tmp_path):
    """4:2:2 halves colours across; after the turn that is down."""
    random = np.random.default_rng(0)
    rows = Image.fromarray(random.integers(0, 256, (64, 1, 3), dtype=np.uint8)).resize((96, 64), Image.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6
    rows.save(tmp_path / "a.jpg", quality=95, subsampling=1, exif=exif)
    photo, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    source = Image.open(tmp_path / "a.jpg")
    assert again.size == (64, 96) and np.abs(np.asarray(again).astype(int) - photo.rgb).mean() < 2
    tables = [np.reshape(table, (8, 8)).T.ravel().tolist() for table in source.quantization.values()]
    assert list(again.quantization.values()) == tables


def test_a_jpeg_for_print_may_lie_on_its_side(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (64, 48), (20, 90, 40, 10)).save(tmp_path / "a.jpg", exif=exif)
    _, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert again.size == (48, 64) and again.mode == "RGB"


def test_a_noisy_jpeg_of_full_quality_can_be_written(tmp_path, random, monkeypatch):
    noise = Image.fromarray(random.integers(0, 256, (400, 500, 3), dtype=np.uint8))
    for progressive in (False, True):
        with monkeypatch.context() as patch:  # Pillow's own buffer is too small
            patch.setattr(ImageFile, "MAXBLOCK", 2**22)
            noise.save(tmp_path / "a.jpg", quality=100, subsampling=0, progressive=progressive)
        photo, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
        assert np.abs(np.asarray(again).astype(int) - photo.rgb).max() <= 4  # complete, and hardly changed


def test_iptc_captions_are_kept(tmp_path, picture):
    caption = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x0a\x1c\x02x\x00\x05hello"
    segment = b"\xff\xed" + (len(caption) + 2).to_bytes(2, "big") + caption
    picture.save(tmp_path / "a.jpg", extra=segment)
    _, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert dict(again.applist)["APP13"] == caption


def test_png_keeps_what_its_values_mean(tmp_path, picture):
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", (100000).to_bytes(4, "big"))
    primaries = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    chunks.add(b"cHRM", b"".join(value.to_bytes(4, "big") for value in primaries))
    picture.save(tmp_path / "a.png", pnginfo=chunks)
    _, again = through(tmp_path / "a.png", tmp_path / "b.png")
    assert again.info["gamma"] == 1.0
    assert again.info["chromaticity"] == Image.open(tmp_path / "a.png").info["chromaticity"]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")  # of each damaged tag
def test_damaged_tiffs_are_refused_by_name(tmp_path, picture, random):
    picture.save(tmp_path / "a.tif")
    content, refused = (tmp_path / "a.tif").read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(content)
        for offset in random.integers(0, len(content), 2):
            # Mostly among the tags, which Pillow writes in front of the pixels.
            damaged[offset if random.random() < 0.3 else 4 + offset % 150] = random.integers(256)
        (tmp_path / "b.tif").write_bytes(damaged)
        try:
            assert read_photo(tmp_path / "b.tif").rgb.ndim == 3
        except ImageError as error:
            refused += 1
            assert str(error).startswith(str(tmp_path / "b.tif"))
    assert 30 < refused < 270  # of the others only pixels or texts are damaged


def test_a_grey_jpeg_stays_one(tmp_path, picture):
    picture.convert("L").save(tmp_path / "a.jpg", quality=60)
    photo, again = through(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (
        again.mode == "L"
        and not photo.has_colours
        and again.quantization == Image.open(tmp_path / "a.jpg").quantization
    )


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(tmp_path, picture, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    picture.save(tmp_path / name, exif=exif, **({"quality": 95} if name == "a.jpg" else {}))
    photo, again = through(tmp_path / name, tmp_path / f"again_{name}")
    assert photo.rgb.shape[:2] == ((64, 48) if orientation >= 5 else (48, 64))
    assert again.getexif().get(0x0112, 1) == 1 and again.getexif()[0x010F] == "a maker"
    assert again.size == (photo.rgb.shape[1], photo.rgb.shape[0])
    if name == "a.png":
        turned = {1: 0, 3: 2, 6: 3, 8: 1}.get(orientation)
        if turned is not None:
            np.testing.assert_array_equal(photo.rgb, np.rot90(np.asarray(picture), turned))


def test_png_keeps_its_texts(tmp_path, picture):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "hello")
    texts.add_itxt("Author", "Jürgen", "de", "Autor")
    picture.save(tmp_path / "a.png", pnginfo=texts, icc_profile=b"profile", dpi=(96, 96))
    _, again = through(tmp_path / "a.png", tmp_path / "b.png")
    assert again.text == {"Title": "hello", "Author": "Jürgen"} and again.text["Author"].lang == "de"
    assert again.info["icc_profile"] == b"profile" and again.info["dpi"] == Image.open(tmp_path / "a.png").info["dpi"]


REFUSED = {
    "32-bit": ("a.tif", lambda path: Image.fromarray(np.ones((4, 4), np.float32)).save(path), "32 bits a channel"),
    "text": ("a.png", lambda path: path.write_text("no image"), "not a readable image"),
    "missing": ("a.png", lambda path: None, "no such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_become_a_wrong_picture_is_refused_by_name(tmp_path, case):
    name, save, word = REFUSED[case]
    save(tmp_path / name)
    with pytest.raises(ImageError, match=word) as error:
        read_photo(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tif"])
def test_truncated_files_are_refused_by_name(tmp_path, random, name):
    Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for length in (1, 20, len(content) // 2, len(content) - 40):
        (tmp_path / name).write_bytes(content[:length])
        with pytest.raises(ImageError) as error:
            read_photo(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_pictures_of_any_size_are_read(tmp_path):
    Image.new("1", (20_000, 9_500), 1).save(tmp_path / "a.png")  # 190 megapixels, more than Pillow takes
    photo = read_photo(tmp_path / "a.png")
    assert photo.rgb.shape == (9_500, 20_000, 3) and photo_pixels(tmp_path / "a.png") == 190_000_000
    assert (photo.rgb[::500, ::500] == 255).all() and image_size(tmp_path / "a.png") == (9_500, 20_000)


def test_a_picture_that_the_memory_cannot_hold_is_refused_by_its_header(tmp_path, monkeypatch):
    Image.new("RGB", (3000, 2000)).save(tmp_path / "a.png")
    monkeypatch.setattr(opening, "available_memory", lambda: 100 * 2**20)
    words = r"a.png: 3000x2000 pixels need 0.134 GiB of memory; 0.0977 GiB are free. Close other programs, or make it"
    for read in (read_photo, read_rgb):
        with pytest.raises(ImageError, match=words):
            read(tmp_path / "a.png")
