import numpy as np
import pytest

from deepdeblur_tf.synthesis.camera import GAMMA
from deepdeblur_tf.synthesis.embedded import make_embedded_scene


def scene(index, seed=0):
    return make_embedded_scene(np.random.default_rng((seed, index)))


def test_blurry_images_are_blurred_by_motion_not_changed_in_colour():
    pairs = np.stack([scene(index) for index in range(12)]).astype(np.float64)
    blurry, sharp = pairs[..., :3], pairs[..., 3:]
    psnr = 10 * np.log10(255**2 / ((blurry - sharp) ** 2).mean((1, 2, 3)))
    assert 20 < psnr.mean() < 30 and psnr.min() > 15 and psnr.max() < 40  # GOPRO's test set: 25.6 on average
    assert abs(blurry.mean() - sharp.mean()) < 1
    gradient = [np.abs(np.diff(image, axis=2)).mean() for image in (blurry, sharp)]
    assert gradient[0] < 0.8 * gradient[1]


def test_both_kinds_of_blur_show_the_same_scene():
    # Averaging linear light makes bright things win: the result is nowhere darker than the average of 8-bit values.
    plain, gamma = (make_embedded_scene(np.random.default_rng(5), blur).astype(int) for blur in ("blur", "blur_gamma"))
    np.testing.assert_array_equal(plain[..., 3:], gamma[..., 3:])
    difference = gamma[..., :3] - plain[..., :3]
    assert difference.min() >= -1 and difference.max() > 10
    assert GAMMA == 2.2


@pytest.mark.parametrize("seed", [0, 1])
def test_sharp_scenes_have_the_spectrum_of_natural_images(seed):
    # Power falls as frequency^-2 to ^-3 (Ruderman and Bialek 1994; dead leaves: Lee, Mumford and Huang 2001).
    window = np.hanning(256)
    power = 0
    for index in range(12):
        grey = scene(index, seed)[..., 3:].mean(-1)
        power = power + np.abs(np.fft.fft2((grey - grey.mean()) * window * window[:, None])) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))) * 256
    rings = np.arange(4, 100)
    mean = [power[(radius >= ring) & (radius < ring + 1)].mean() for ring in rings]
    slope = np.polyfit(np.log(rings), np.log(mean), 1)[0]
    assert -3.2 < slope < -2
