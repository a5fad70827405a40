"""The scale at which a picture is restored."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from deepdeblur_tf import load_model, metrics
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.model import build_model
from deepdeblur_tf.resizing import imresize
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.restoration.scale import LEAST_CHANGE, SCALES, add_enlarged, best_scale, relative_change, shrunk


@pytest.fixture(scope="module")
def photographs():
    return load_model("photographs")


@pytest.fixture(scope="module")
def sharp(scenes):
    """A sharp picture, large enough for every scale: 1536x1536, with detail at all sizes."""
    scene = Image.fromarray(scenes[0][1])
    return np.asarray(scene.resize((768, 768), Image.Resampling.LANCZOS).resize((1536, 1536), Image.Resampling.LANCZOS))


def opened(file):
    return np.asarray(Image.open(file).convert("RGB"))


def moved(image, length):
    """The image under a straight path to the right, of whole pixels: the mean of 8-bit values."""
    return ndimage.uniform_filter1d(image.astype(np.float32), length, axis=1).round().astype(np.uint8)


def test_an_unchanged_picture_stays_at_every_scale(scenes):
    network = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)  # untrained, it changes nothing
    image = np.pad(scenes[0][0], ((0, 101), (0, 64), (0, 0)), "symmetric")
    for scale in SCALES:
        restorer = Restorer(network, scale=scale)
        np.testing.assert_array_equal(restorer(image), image)
        assert restorer.scale == scale and restorer.change < 0.05


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_change_is_enlarged_and_added(dtype):
    """A step of a tenth of white at half the size is one at the full size, as soft as bicubic interpolation has it."""
    image = np.full((20, 40, 3), np.iinfo(dtype).max // 2, dtype)
    change = np.zeros((10, 20, 3), np.float32)
    change[:, 10:] = 0.1
    added = (add_enlarged(image, change, 0.5).astype(float) - image) / np.iinfo(dtype).max
    assert np.abs(added[:, :15]).max() < 0.003 and np.abs(added[:, 25:] - 0.1).max() < 0.003
    assert np.diff(added[10, :, 0]).argmax() in (18, 19, 20)
    white = add_enlarged(np.full((20, 40, 3), np.iinfo(dtype).max, dtype), change, 0.5)
    assert (white[:, 25:] == np.iinfo(dtype).max).all()


def test_a_change_is_enlarged_in_bands_as_in_one(random):
    image = np.zeros((1201, 37, 3), np.uint16)
    change = random.uniform(0.2, 0.8, (301, 10, 3)).astype(np.float32)
    expected = np.round(65535 * imresize(change, 4)[:1201, :37])
    np.testing.assert_array_equal(add_enlarged(image, change, 0.25), np.clip(expected, 0, 65535))


def test_relative_change_is_that_of_root_mean_squares(random):
    """Detail of one pixel, 10 up and 10 down around the mean of each cell, that grows by half."""
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 20.0 - 10
    image = (100 + checks)[..., None].repeat(3, 2).astype(np.uint8)
    restored = (100 + 1.5 * checks)[..., None].repeat(3, 2)
    assert relative_change(image, restored) == pytest.approx(5 / 10.1)
    assert relative_change(image, image.astype(np.float32)) == 0


def test_small_pictures_are_restored_as_they_are():
    def refuse(crop):
        raise AssertionError("nothing is to be tried")

    assert best_scale(np.zeros((319, 4000, 3), np.uint8), refuse) == 1


@pytest.mark.slow
@pytest.mark.parametrize("length, scales", [(9, {1.0}), (41, {0.5, 0.25}), (121, {0.25, 0.125})])
def test_auto_finds_the_scale_of_a_blur(photographs, sharp, length, scales):
    """Where a path is longer than the network knows, the picture shrunk gains, and it as it is does not."""
    blurry = moved(sharp, length)
    restorer = Restorer(photographs)
    restored = restorer(blurry)
    assert restorer.scale in scales and restorer.change > 0.5
    gain = metrics.psnr(restored, sharp) - metrics.psnr(blurry, sharp)
    assert gain > 0.5
    if restorer.scale < 1:
        at_1 = metrics.psnr(Restorer(photographs, scale=1)(blurry), sharp) - metrics.psnr(blurry, sharp)
        assert gain > at_1 + 0.3


@pytest.mark.real_data
@pytest.mark.slow
def test_auto_is_never_below_scale_1_on_real_frames(photographs, shared):
    files = [
        *sorted(shared.glob("gopro/test/*/blur/*.png")),
        *sorted(shared.glob("gopro_clip/test/*/blur/*.png")),
        *sorted(shared.glob("reds/val/val_blur/*/*.png")),
    ]
    pairs = [(opened(file), opened(str(file).replace("blur", "sharp"))) for file in files]
    frames = sorted(shared.glob("raw240/*/*.png"))
    for first, count in ((0, 7), (8, 13), (22, 9), (32, 11), (45, 13)):
        values = np.stack([opened(file) for file in frames[first : first + count]]) / 255
        for gamma in (1, 2.2):  # averages of 8-bit values, and of linear light
            mean = np.round(255 * (values**gamma).mean(axis=0) ** (1 / gamma)).astype(np.uint8)
            pairs.append((mean, np.round(255 * values[count // 2]).astype(np.uint8)))
    automatic, as_it_is = Restorer(photographs), Restorer(photographs, scale=1)
    gains = [
        metrics.psnr(automatic(blurry), sharp) - metrics.psnr(as_it_is(blurry), sharp)
        for blurry, sharp in pairs
        if automatic.scale_of(blurry) != 1  # then it is the same
    ]
    assert len(pairs) > 20 and gains and min(gains) > -0.05


@pytest.mark.real_data
@pytest.mark.slow
def test_sharp_photos_are_taken_as_they_are(photographs, shared):
    restorer = Restorer(photographs)
    for file in sorted(shared.glob("sharp/*.png")):
        assert restorer.scale_of(opened(file)) == 1, file


def test_other_scales_are_refused():
    network = build_model(blocks=1, filters=4, kernel_size=3)
    with pytest.raises(UserError, match="scale must be auto or one of 1, 0.5, 0.25, 0.125. Received: scale=0.3"):
        Restorer(network, scale=0.3)


def test_shrunk_sides_are_rounded_up():
    assert shrunk(np.zeros((7, 10, 3), np.uint8), 0.25).shape == (2, 3, 3)
    assert shrunk(np.zeros((1, 3, 3), np.uint8), 0.125).shape == (1, 1, 3)


def test_all_frames_of_a_video_are_restored_at_one_scale(scenes):
    network = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)
    restorer = Restorer(network)
    restorer(scenes[0][0], scale=0.25)
    assert restorer.scale == 0.25 and restorer.change < LEAST_CHANGE
    assert Restorer(network, scale=0.5).scale_of(scenes[0][0]) == 0.5
