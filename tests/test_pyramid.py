import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import to_network, to_uint8
from deepdeblur_tf.pyramid import mirror_pad, pyramid
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
