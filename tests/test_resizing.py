import imageio.v3 as iio
import numpy as np
import pytest
from scipy.io import loadmat

from deepdeblur_tf.resizing import cubic, imresize, mirror

from .benchmark_data import plain_imresize


def ramp(side):
    return np.arange(side * side, dtype=np.float64).reshape(side, side)


def spikes(entries):
    image = np.zeros((4, 4))
    for row, column, value in entries:
        image[row - 1, column - 1] = value
    return image


# Name of MATLAB's output -> its input; the names with "noaa" were made without antialiasing.
MATLAB = {
    "down_down_small_aa": ramp(4),
    "down_down_small_noaa": ramp(4),
    "down_down_aa": ramp(8),
    "down_down_noaa": ramp(8),
    "down_down_irregular_aa": ramp(8),
    "down_down_irregular_noaa": ramp(8),
    "down_down_x2_aa": ramp(8),
    "down_down_x3_aa": ramp(15),
    "down_down_x4_aa": ramp(8),
    "down_down_x5_aa": ramp(15),
    "up_up_irregular_aa": ramp(8),
    "up_up_irregular_noaa": ramp(8),
    "up_up_topleft_noaa": spikes([(1, 1, 100), (2, 1, 10), (1, 2, 1), (1, 4, 100)]),
    "up_up_bottomright_noaa": spikes([(4, 4, 100), (3, 4, 10), (4, 3, 1), (4, 1, 100)]),
}


def matlab(shared, name):
    return loadmat(shared / "imresize_matlab" / "double" / f"{name}.mat")[name]


@pytest.mark.parametrize("name", MATLAB)
def test_double_arrays_equal_matlab(shared, name):
    expected = matlab(shared, name)
    actual = imresize(MATLAB[name], output_shape=expected.shape, antialiasing="noaa" not in name)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["down_down_butterfly_irregular_aa", "down_down_butterfly_irregular_noaa"])
def test_double_colour_image_equals_matlab(shared, name):
    expected = matlab(shared, name)
    image = iio.imread(shared / "imresize_matlab" / "double" / "butterfly.png") / 255
    actual = imresize(image, output_shape=expected.shape[:2], antialiasing="noaa" not in name)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_uint8_image_equals_matlab_in_every_pixel(shared):
    folder = shared / "imresize_matlab"
    image = iio.imread(folder / "lena_512x512.png")
    actual = imresize(image, output_shape=(123, 234))
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, iio.imread(folder / "lena_123x234_uint8.png"))


def test_double_image_is_rounded_once_and_not_in_between(shared):
    folder = shared / "imresize_matlab"
    image = iio.imread(folder / "lena_512x512.png").astype(np.float64)
    rounded = np.clip(np.floor(imresize(image, output_shape=(123, 234)) + 0.5), 0, 255)
    np.testing.assert_array_equal(rounded, iio.imread(folder / "lena_123x234_double.png"))


def test_scale_equals_the_matlab_output_shape(shared):
    np.testing.assert_allclose(imresize(ramp(8), 0.5), matlab(shared, "down_down_x2_aa"), rtol=0, atol=1e-12)
    np.testing.assert_allclose(imresize(ramp(8), 0.25), matlab(shared, "down_down_x4_aa"), rtol=0, atol=1e-12)


def test_taps_of_a_half_are_the_published_ones():
    # An impulse shows the kernel: -3, -9, 29, 111 over 256, mirrored.
    image = np.zeros((1, 32))
    image[0, 15] = 256
    np.testing.assert_allclose(imresize(image, output_shape=(1, 16))[0, 6:10], [-9, 111, 29, -3], rtol=0, atol=1e-12)


def test_integers_round_half_up_and_saturate_after_each_pass():
    # Two white columns beside black ones overshoot below 0 and above 255; uint8 must not wrap around.
    image = np.zeros((8, 8), np.uint8)
    image[:, 3:5] = 255
    result = imresize(image, 2)
    assert result.min() == 0 and result.max() == 255
    assert imresize(image.astype(np.float64), 2).min() < 0
    assert imresize(image.astype(np.uint16) * 257, 2).max() == 65535


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_constant_stays_constant(dtype):
    image = np.full((5, 7, 3), 93, dtype)
    for arguments in ({"scale": 0.3}, {"scale": 2.5}, {"output_shape": (1, 20)}):
        result = imresize(image, **arguments)
        assert result.dtype == dtype
        np.testing.assert_allclose(result, 93, rtol=1e-6)


@pytest.mark.parametrize("scale", [1 / 2, 1 / 4])
def test_the_pipelines_factors_equal_a_plain_port_in_float64(random, scale):
    image = random.integers(0, 256, (64, 52, 3), dtype=np.uint8)
    for pixels in (image, 255 * (image > 127).astype(np.uint8)):
        np.testing.assert_array_equal(imresize(pixels, scale), plain_imresize(pixels, scale))


def test_output_size_is_rounded_up():
    assert imresize(np.zeros((5, 7, 3)), 0.5).shape == (3, 4, 3)
    assert imresize(np.zeros((1, 1)), 0.25).shape == (1, 1)


def test_kernel_is_keys_cubic():
    np.testing.assert_allclose(cubic(np.array([0, 0.5, 1, 1.5, 2, 3])), [1, 0.5625, 0, -0.0625, 0, 0])


def test_mirror_repeats_the_edge_and_folds_as_often_as_it_takes():
    assert mirror(np.arange(-3, 6), 3).tolist() == [2, 1, 0, 0, 1, 2, 2, 1, 0]
    assert mirror(np.arange(-8, 3), 1).tolist() == [0] * 11


@pytest.mark.parametrize(
    "image, arguments, word",
    [
        (np.zeros(4), {"scale": 0.5}, "shape"),
        (np.zeros((0, 4)), {"scale": 0.5}, "non-empty"),
        (np.zeros((4, 4), np.int32), {"scale": 0.5}, "int32"),
        (np.zeros((4, 4)), {}, "either"),
        (np.zeros((4, 4)), {"scale": 1, "output_shape": (2, 2)}, "either"),
        (np.zeros((4, 4)), {"scale": 0}, "scale=0"),
        (np.zeros((4, 4)), {"output_shape": (0, 2)}, "output_shape"),
        (np.zeros((4, 4)), {"output_shape": (2.5, 2)}, "output_shape"),
    ],
)
def test_wrong_arguments_are_named(image, arguments, word):
    with pytest.raises(ValueError, match=word):
        imresize(image, **arguments)
