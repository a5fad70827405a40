import imageio.v3 as iio
import numpy as np
import pytest
from scipy.io import loadmat

from deepdeblur_tf.resizing import cubic, imresize, mirror
from tests.helpers import plain_imresize


def ramp(side):
    """float64 [side, side]: 0, 1, 2, ... row by row."""
    return np.arange(side * side, dtype=np.float64).reshape(side, side)


# What MATLAB R2019b's imresize(..., 'bicubic') gave for ramps of doubles, from MIT-licensed test data: the ramp's side,
# and the output's first row and first column. The other values follow from these, for the rows of a ramp differ by
# constants. "noaa" in a name: without antialiasing.
# fmt: off
RAMPS = {
    "down_down_small_aa": (
        4,
        [0.7505518764, 2.1004415011, 3.4503311258],
        [0.7505518764, 6.1501103753, 11.5496688742],
    ),
    "down_down_small_noaa": (
        4,
        [0.5439814815, 1.9351851852, 3.3263888889],
        [0.5439814815, 6.1087962963, 11.6736111111],
    ),
    "down_down_aa": (
        8,
        [6.4725287733, 8.5115912733, 10.5350287733, 12.5740912733],
        [6.4725287733, 28.44921875, 50.4259087267],
    ),
    "down_down_noaa": (
        8,
        [7.0115740741, 9.0740740741, 11.0740740741, 13.1365740741],
        [7.0115740741, 28.4375, 49.8634259259],
    ),
    "down_down_irregular_aa": (
        8,
        [2.1845251254, 3.3191373856, 4.4688413715, 5.6204597701, 6.7720781688, 7.9217821547, 9.0563944149],
        [2.1845251254, 15.21977157, 28.0640653553, 40.9083591406, 53.9436055851],
    ),
    "down_down_irregular_noaa": (
        8,
        [1.8526341108, 3.0262857143, 4.1691428571, 5.312, 6.4548571429, 7.5977142857, 8.7713658892],
        [1.8526341108, 15.2406341108, 28.0406341108, 40.8406341108, 54.2286341108],
    ),
    "down_down_x2_aa": (
        8,
        [4.04296875, 6.08203125, 8.10546875, 10.14453125],
        [4.04296875, 20.35546875, 36.54296875, 52.85546875],
    ),
    "down_down_x3_aa": (
        15,
        [14.4197530864, 17.5061728395, 20.5185185185, 23.5308641975, 26.6172839506],
        [14.4197530864, 60.7160493827, 105.9012345679, 151.0864197531, 197.3827160494],
    ),
    "down_down_x4_aa": (
        8,
        [12.3837890625, 16.6318359375],
        [12.3837890625, 46.3681640625],
    ),
    "down_down_x5_aa": (
        15,
        [29.1072, 34.288, 39.4688],
        [29.1072, 106.8192, 184.5312],
    ),
    "up_up_irregular_aa": (
        8,
        [-0.5487371021, -0.1184059687, 0.5673871583, 1.1827717737, 1.7981563891, 2.4135410045, 3.0289256198,
         3.6443102352, 4.2596948506, 4.875079466, 5.4904640814, 6.1762572084, 6.6065883417],
        [-0.5487371021, 4.2540427627, 10.4677918236, 16.2859736417, 22.1041554599, 27.9223372781, 33.7405190963,
         39.5587009145, 45.3768827327, 51.5906317935, 56.3934116583],
    ),
}
# fmt: on
# Antialiasing changes nothing where an image grows.
RAMPS["up_up_irregular_noaa"] = RAMPS["up_up_irregular_aa"]

# The same for a 4x4 image, zero but for its corners, to 5x5; without antialiasing.
CORNERS = np.array([[100, 1, 0, 100], [10, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float64)
CORNERS_5X5 = [
    [108.685225, 27.6970975, -12.4465625, 26.8841925, 109.2025],
    [35.471365, 8.970789, -3.5895625, 6.637437, 26.961],
    [-0.6503125, -0.21221875, 0.39453125, -1.60790625, -6.53125],
    [-0.768075, -0.18963, 0.0459375, 0, 0],
    [0, 0, 0, 0, 0],
]


@pytest.mark.parametrize("name", RAMPS)
def test_ramps_equal_matlab(name):
    side, row, column = RAMPS[name]
    expected = np.array(column)[:, None] + np.array(row) - row[0]
    actual = imresize(ramp(side), output_shape=expected.shape, antialiasing="noaa" not in name)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-10)


@pytest.mark.parametrize("scale, name", [(1 / 2, "down_down_x2_aa"), (1 / 4, "down_down_x4_aa")])
def test_scale_equals_the_matlab_output_shape(scale, name):
    side, row, column = RAMPS[name]
    actual = imresize(ramp(side), scale)
    np.testing.assert_array_equal(actual[0], row)
    np.testing.assert_array_equal(actual[:, 0], column)


def test_borders_equal_matlab_at_both_ends():
    for turned in (slice(None), slice(None, None, -1)):  # MATLAB's other output is this one turned by 180 degrees
        actual = imresize(CORNERS[turned, turned], output_shape=(5, 5), antialiasing=False)
        np.testing.assert_allclose(actual[turned, turned], CORNERS_5X5, rtol=0, atol=2e-10)


def matlab(shared, name):
    return loadmat(shared / "imresize_matlab" / "double" / f"{name}.mat")[name]


@pytest.mark.real_data
def test_every_value_of_the_small_arrays_equals_matlab(shared):
    images = {name: ramp(side) for name, (side, _, _) in RAMPS.items()}
    images.update(up_up_topleft_noaa=CORNERS, up_up_bottomright_noaa=CORNERS[::-1, ::-1])
    for name, image in images.items():
        expected = matlab(shared, name)
        actual = imresize(image, output_shape=expected.shape, antialiasing="noaa" not in name)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["down_down_butterfly_irregular_aa", "down_down_butterfly_irregular_noaa"])
def test_double_colour_image_equals_matlab(shared, name):
    expected = matlab(shared, name)
    image = iio.imread(shared / "imresize_matlab" / "double" / "butterfly.png") / 255
    actual = imresize(image, output_shape=expected.shape[:2], antialiasing="noaa" not in name)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


@pytest.mark.real_data
def test_uint8_image_equals_matlab_in_every_pixel(shared):
    folder = shared / "imresize_matlab"
    image = iio.imread(folder / "lena_512x512.png")
    actual = imresize(image, output_shape=(123, 234))
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, iio.imread(folder / "lena_123x234_uint8.png"))


@pytest.mark.real_data
def test_double_image_is_rounded_once_and_not_between_the_passes(shared):
    folder = shared / "imresize_matlab"
    image = iio.imread(folder / "lena_512x512.png").astype(np.float64)
    rounded = np.clip(np.floor(imresize(image, output_shape=(123, 234)) + 0.5), 0, 255)
    np.testing.assert_array_equal(rounded, iio.imread(folder / "lena_123x234_double.png"))


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
