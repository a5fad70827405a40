import imageio.v3 as iio
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from deepdeblur_tf import metrics


def pair(shared, scene, kind="blur"):
    return [iio.imread(shared / "gopro" / "test" / scene / folder / "000001.png") for folder in (kind, "sharp")]


@pytest.mark.parametrize(
    "scene, kind, expected",
    [("GOPR0384_11_00", "blur", 24.050), ("GOPR0396_11_00", "blur", 25.107), ("GOPR0396_11_00", "blur_gamma", 24.592)],
)
def test_psnr_of_real_pairs(shared, scene, kind, expected):
    blurry, sharp = pair(shared, scene, kind)
    assert float(metrics.psnr(blurry, sharp)) == pytest.approx(expected, abs=5e-4)
    assert float(metrics.psnr(blurry, sharp)) == pytest.approx(peak_signal_noise_ratio(sharp, blurry), abs=1e-9)


def test_psnr_of_floats_is_that_of_the_saved_picture(random):
    a = random.uniform(-0.2, 1.2, (8, 9, 3)).astype(np.float32)
    b = random.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    saved = np.rint(np.clip(a, 0, 1).astype(np.float64) * 255).astype(np.uint8)
    assert float(metrics.psnr(a, b)) == float(metrics.psnr(saved, b))


def test_psnr_is_one_number_per_image(random):
    a, b = random.integers(0, 256, (2, 3, 8, 9, 3), dtype=np.uint8)
    expected = [peak_signal_noise_ratio(b[i], a[i]) for i in range(3)]
    np.testing.assert_allclose(metrics.psnr(a, b), expected, atol=1e-9)
    assert np.isinf(metrics.psnr(a[0], a[0]))


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="int32"):
        metrics.psnr(np.zeros((4, 4, 3), np.int32), np.zeros((4, 4, 3), np.int32))
