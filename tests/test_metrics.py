import imageio.v3 as iio
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.measure import block_reduce
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deepdeblur_tf import metrics
from deepdeblur_tf.compat import tf


def pair(shared, scene, kind="blur"):
    return [iio.imread(shared / "gopro" / "test" / scene / folder / "000001.png") for folder in (kind, "sharp")]


def patterns(height, width):
    """Two images that a formula makes, much alike, with every kind of contrast."""
    y, x, colour = np.indices((height, width, 3))
    one = (3 * x * x + x * y + 7 * y + 50 * colour) // 5 % 256
    other = np.clip(one + (11 * x + 5 * y + 17 * colour) % 41 - 20, 0, 255)
    return one.astype(np.uint8), other.astype(np.uint8)


def test_numbers_of_scikit_image():
    # scikit-image 0.26.0: peak_signal_noise_ratio; structural_similarity with the options of `scikit_ssim`.
    one, other = patterns(24, 31)
    assert (one.sum(dtype=int), other.sum(dtype=int)) == (237415, 237437)
    assert float(metrics.psnr(one, other)) == pytest.approx(26.830032207412597, abs=1e-9)
    assert float(metrics.ssim(one, other)) == pytest.approx(0.9211398103999403, abs=1e-9)
    # SciPy 1.17.1's gaussian_filter over a volume, as `ssim_of_a_volume` uses it.
    assert float(metrics.ssim_matlab(one, other)) == pytest.approx(0.8992733631451904, abs=1e-9)
    # scikit-image's structural_similarity at five scales, as `ms_ssim_by_scikit` puts them together.
    assert float(metrics.ms_ssim(*patterns(163, 170))) == pytest.approx(0.9940628840937457, abs=1e-9)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    "scene, kind, psnr, ssim",
    [
        ("GOPR0384_11_00", "blur", 24.050, 0.71696),
        ("GOPR0396_11_00", "blur", 25.107, 0.82099),
        ("GOPR0396_11_00", "blur_gamma", 24.592, None),
    ],
)
def test_whole_frames_of_gopro(shared, scene, kind, psnr, ssim):
    blurry, sharp = pair(shared, scene, kind)
    assert float(metrics.psnr(blurry, sharp)) == pytest.approx(psnr, abs=5e-4)
    assert float(metrics.psnr(blurry, sharp)) == pytest.approx(peak_signal_noise_ratio(sharp, blurry), abs=1e-9)
    assert float(metrics.ssim(blurry, sharp)) == pytest.approx(np.mean(scikit_ssim(blurry, sharp)), abs=1e-9)
    if ssim:
        assert float(metrics.ssim(blurry, sharp)) == pytest.approx(ssim, abs=1e-5)


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


def scikit_ssim(a, b, k1=0.01):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "K1": k1}
    return [structural_similarity(a[..., i], b[..., i], **options) for i in range(3)]


def test_psnr_and_ssim_are_those_of_scikit_image(scenes):
    for blurry, sharp in scenes:
        assert float(metrics.psnr(blurry, sharp)) == pytest.approx(peak_signal_noise_ratio(sharp, blurry), abs=1e-9)
        assert float(metrics.ssim(blurry, sharp)) == pytest.approx(np.mean(scikit_ssim(blurry, sharp)), abs=1e-9)


def ssim_of_a_volume(a, b):
    """The definition that MATLAB's `ssim` documents, for H x W x 3 voxels, with SciPy's filter."""
    a, b = a.astype(float), b.astype(float)

    def mean(volume):
        return gaussian_filter(volume, 1.5, mode="nearest", truncate=3.5)

    u, v = mean(a), mean(b)
    covariance, variances = mean(a * b) - u * v, mean(a * a) - u * u + mean(b * b) - v * v
    c1, c2 = 2.55**2, 7.65**2
    return ((2 * u * v + c1) * (2 * covariance + c2) / ((u * u + v * v + c1) * (variances + c2))).mean()


def test_ssim_as_matlab_has_it_is_that_of_a_volume(scenes, random):
    blurry, sharp = scenes[0]
    assert float(metrics.ssim_matlab(blurry, sharp)) == pytest.approx(ssim_of_a_volume(blurry, sharp), abs=1e-9)
    a, b = random.integers(0, 256, (2, 3, 5, 3), dtype=np.uint8)  # smaller than the window
    assert float(metrics.ssim_matlab(a, b)) == pytest.approx(ssim_of_a_volume(a, b), abs=1e-9)


@pytest.mark.slow
@pytest.mark.real_data
def test_on_gopro_the_two_kinds_of_ssim_must_not_stand_in_one_column(shared):
    blurry, sharp = pair(shared, "GOPR0384_11_00")
    assert 0.04 < float(metrics.ssim_matlab(blurry, sharp)) - float(metrics.ssim(blurry, sharp)) < 0.09


def ms_ssim_by_scikit(a, b):
    a, b = a.astype(float), b.astype(float)
    product = np.ones(3)
    for scale, weight in enumerate([0.0448, 0.2856, 0.3001, 0.2363, 0.1333]):
        # With a huge K1 the luminance term is 1, and what is left is contrast and structure.
        values = np.array(scikit_ssim(a, b, k1=0.01 if scale == 4 else 1e6))
        product *= np.maximum(values, 0) ** weight
        pad = [(0, side % 2) for side in a.shape[:2]] + [(0, 0)]
        a, b = (block_reduce(np.pad(image, pad, "edge"), (2, 2, 1), np.mean) for image in (a, b))
    return product.mean()


def assert_ms_ssim_by_scikit(blurry, sharp):
    measured = float(metrics.ms_ssim(blurry, sharp))
    assert measured == pytest.approx(ms_ssim_by_scikit(blurry, sharp), abs=1e-7)
    assert measured == pytest.approx(float(tf.image.ssim_multiscale(blurry, sharp, 255)), abs=1e-3)


def test_ms_ssim_by_scikit_image(scenes):
    for blurry, sharp in scenes:
        assert_ms_ssim_by_scikit(blurry, sharp)
        assert_ms_ssim_by_scikit(blurry[:201, :163], sharp[:201, :163])  # odd at several scales


@pytest.mark.slow
@pytest.mark.real_data
def test_ms_ssim_of_a_whole_frame_by_scikit_image(shared):
    assert_ms_ssim_by_scikit(*pair(shared, "GOPR0384_11_00"))


def test_ms_ssim_of_images_that_have_nothing_in_common_is_a_number(random):
    image = random.integers(0, 256, (161, 161, 3), dtype=np.uint8)
    assert 0 <= float(metrics.ms_ssim(image, 255 - image)) < 0.01


@pytest.mark.parametrize("name, smallest", [("ssim", 11), ("ms_ssim", 161)])
def test_too_small_an_image_is_refused(random, name, smallest):
    image = random.integers(0, 256, (smallest, smallest + 7, 3), dtype=np.uint8)
    assert float(getattr(metrics, name)(image, image)) == pytest.approx(1, abs=1e-12)
    with pytest.raises(ValueError, match=f"at least {smallest} pixels"):
        getattr(metrics, name)(image[1:], image[1:])


@pytest.mark.parametrize("name", ["psnr", "ssim", "ssim_matlab", "ms_ssim"])
def test_batches_and_graphs_give_one_number_per_image(random, name):
    a, b = random.integers(0, 256, (2, 2, 170, 165, 3), dtype=np.uint8)
    b = (0.8 * a + 0.2 * b).astype(np.uint8)
    measure = getattr(metrics, name)
    expected = [float(measure(a[i], b[i])) for i in range(2)]
    np.testing.assert_allclose(measure(a, b), expected, rtol=1e-12)
    unknown = tf.TensorSpec([None, None, None, 3], tf.uint8)
    np.testing.assert_allclose(tf.function(measure, input_signature=[unknown, unknown])(a, b), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["psnr", "ssim", "ssim_matlab", "ms_ssim"])
def test_two_shapes_are_refused(name):
    with pytest.raises(ValueError, match="one shape"):
        getattr(metrics, name)(np.zeros((200, 200, 3), np.uint8), np.zeros((1, 200, 200, 3), np.uint8))
