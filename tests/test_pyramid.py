import numpy as np
import pytest
from skimage.transform import pyramid_gaussian

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import to_network, to_uint8
from deepdeblur_tf.pyramid import enlarged, mirror_pad, padded_pyramid, pyramid, shrunk
from deepdeblur_tf.resizing import imresize


@pytest.mark.parametrize("shape", [(4, 4), (8, 12), (64, 64), (120, 236)])
@pytest.mark.parametrize("in_graph", [False, True])
def test_levels_equal_matlab_imresize_in_every_pixel(random, shape, in_graph):
    image = random.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    image[0] = 255 * (image[0] > 127)  # black and white: the overshoot saturates between the passes
    make = tf.function(pyramid) if in_graph else pyramid
    levels = make(tf.constant(image), 3)
    for number in range(2):
        np.testing.assert_array_equal(levels[0][number], image[number])
        np.testing.assert_array_equal(levels[1][number], imresize(image[number], 1 / 2))
        np.testing.assert_array_equal(levels[2][number], imresize(image[number], 1 / 4))


def test_levels_of_a_frame_equal_matlab_imresize(frame):
    levels = pyramid(tf.constant(frame[None]), 3)
    np.testing.assert_array_equal(levels[1][0], imresize(frame, 1 / 2))
    np.testing.assert_array_equal(levels[2][0], imresize(frame, 1 / 4))


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (7, 16), (61, 83)])
def test_any_size_is_shrunk_and_enlarged_as_by_imresize(random, factor, shape):
    image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    small = shrunk(tf.constant(image[None]), factor)[0].numpy()
    np.testing.assert_array_equal(small, imresize(image, 1 / factor))
    values = (small / 255).astype(np.float32)
    expected = imresize(values, factor)[: shape[0], : shape[1]]
    np.testing.assert_array_equal(enlarged(tf.constant(values[None]), factor, *shape)[0], expected)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_number_of_levels(levels):
    assert [level.shape[1] for level in pyramid(tf.zeros((1, 16, 16, 3), tf.uint8), levels)] == [16, 8, 4][:levels]


@pytest.mark.parametrize("before, after", [(0, 3), (2, 5), (0, 0)])
def test_mirror_pad_equals_numpy(random, before, after):
    image = random.integers(0, 256, (1, 6, 5, 3), dtype=np.uint8)
    expected = np.pad(image, ((0, 0), (before, after), (0, 0), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(mirror_pad(tf.constant(image), before, after, axis=1), expected)


def test_mirror_pad_goes_beyond_the_image_size():
    assert mirror_pad(tf.constant([7, 8]), 3, 4, axis=0).numpy().tolist() == [8, 8, 7, 7, 8, 8, 7, 7, 8]


def test_every_8_bit_value_survives_the_network_range():
    values = np.arange(256, dtype=np.uint8)
    network = to_network(tf.constant(values))
    assert network.dtype == tf.float32
    assert float(network[0]) == -0.5 and float(network[-1]) == 0.5
    np.testing.assert_array_equal(to_uint8(network), values)


def test_values_outside_the_range_are_clipped():
    assert to_uint8(tf.constant([-3.0, 3.0])).numpy().tolist() == [0, 255]


def gaussian_levels(image, levels=3):
    """An image's levels in DeepDeblur-PyTorch: the edge repeated, then scikit-image's pyramid."""
    sides = [(0, -side % 2 ** (levels - 1)) for side in image.shape[:2]]
    padded = np.pad(image, [*sides, (0, 0)], "edge").astype(np.float32)
    return list(pyramid_gaussian(padded, levels - 1, channel_axis=-1))


@pytest.mark.parametrize("shape", [(4, 4), (64, 92), (61, 90), (5, 3), (1, 1)])
@pytest.mark.parametrize("in_graph", [False, True])
def test_gaussian_levels_equal_scikit_images(random, shape, in_graph):
    images = random.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    images[0] = 255 * (images[0] > 127)
    make = tf.function(padded_pyramid) if in_graph else padded_pyramid
    levels = make(tf.constant(images), 3, "gaussian")
    for number in range(2):
        for level, expected in zip(levels, gaussian_levels(images[number])):
            np.testing.assert_allclose(level[number], expected, rtol=0, atol=1e-4)
    assert shape == (1, 1) or np.abs(levels[1] - np.rint(levels[1])).max() > 0.01  # they are not rounded


@pytest.mark.real_data
def test_gaussian_levels_equal_the_authors(shared):
    with np.load(shared / "deepdeblur_pytorch" / "random_2_8_3.npz") as file:
        for level, made in enumerate(padded_pyramid(file["image"][None], 3, "gaussian")):
            np.testing.assert_allclose(made[0], file[f"pyramid_{level}"], rtol=0, atol=1e-4)


def test_eight_bits_to_the_network_are_as_tensorflow_converts_them():
    values = tf.cast(tf.range(256), tf.uint8)
    np.testing.assert_array_equal(to_network(values), tf.image.convert_image_dtype(values, tf.float32) - 0.5)
