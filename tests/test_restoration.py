import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.model import build_model, to_network, to_uint8
from deepdeblur_tf.resizing import imresize
from deepdeblur_tf.restoration import restorer as restoration
from deepdeblur_tf.restoration.restorer import restore, restore_levels


@pytest.fixture(scope="module")
def network():
    tf.keras.utils.set_random_seed(1)
    return build_model(blocks=2, filters=8, kernel_size=3)


def plain(network, image):
    """What the report does: MATLAB's resizing outside of the graph, the network whole."""
    mirrored = np.pad(image, [(0, -side % 4) for side in image.shape[:2]] + [(0, 0)], "symmetric")
    levels = [mirrored, imresize(mirrored, 1 / 2), imresize(mirrored, 1 / 4)]
    restored = network(tuple(to_network(level[None]) for level in levels))
    return to_uint8(restored[0][0, : image.shape[0], : image.shape[1]]).numpy()


@pytest.mark.parametrize("height", range(8, 16))
def test_every_size_modulo_8(network, random, height):
    for width in range(16, 24):
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        difference = restore(network, image).astype(int) - plain(network, image)
        assert abs(difference).max() <= 1 and (difference != 0).mean() < 0.01  # one graph rounds as another


@pytest.mark.parametrize("height", range(1, 8))
def test_the_smallest_images(network, random, height):
    for width in range(1, 8):
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        assert abs(restore(network, image).astype(int) - plain(network, image)).max() <= 1


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_tiles_equal_the_whole_beyond_the_receptive_field(random, levels):
    network = build_model(levels=levels, blocks=1, filters=4, kernel_size=3)
    image = random.integers(0, 256, (150, 203, 3), dtype=np.uint8)
    # 4 convolutions of radius 1 a level, one of radius 2 on the way up, and the pyramid's own taps.
    whole, tiled = restore_levels(network, image), restore_levels(network, image, tile=128, overlap=52)
    assert [level.shape for level in whole] == [(152 >> k, 204 >> k, 3) for k in range(levels)] or levels < 3
    for one, other in zip(whole, tiled):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_the_default_overlap_leaves_no_seam_on_a_real_frame(shared):
    tf.keras.utils.set_random_seed(0)
    network = build_model(blocks=4, filters=8, kernel_size=3)
    image = iio.imread(shared / "gopro" / "test" / "GOPR0384_11_00" / "blur" / "000001.png")[:480, :640]
    assert float(psnr(restore(network, image, tile=256), restore(network, image))) > 60


def test_a_memory_budget_cuts_into_tiles(network, random, monkeypatch):
    image = random.integers(0, 256, (600, 640, 3), dtype=np.uint8)
    graph, sizes = restoration.restoring_graph(network), []

    def recorded(pixels):
        sizes.append(pixels.shape[1] * pixels.shape[2])
        return graph(pixels)

    monkeypatch.setattr(restoration, "restoring_graph", lambda model: recorded)
    whole = restore(network, image, memory=2**30)
    assert sizes == [600 * 640]
    sizes.clear()
    steps = []
    tiled = restore(network, image, memory=160 * 300**2, progress=steps.append)
    assert len(sizes) > 1 and max(sizes) <= 300**2
    assert steps == sorted(steps) and steps[-1] == 1 and len(steps) == len(sizes)
    assert abs(tiled.astype(int) - whole).max() <= 1


class Hungry(tf.keras.layers.Layer):
    """Asks TensorFlow's allocator for more than any machine has, for images above a size."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def call(self, image):
        pixels = tf.shape(image, tf.int64)[1] * tf.shape(image, tf.int64)[2]
        extra = tf.fill([tf.where(pixels > self.most, tf.constant(2**46, tf.int64), 1)], tf.constant(0, tf.uint8))
        return image + tf.cast(extra[0], tf.float32)

    def compute_output_shape(self, shape):
        return shape


def hungry_network(most):
    image = tf.keras.layers.Input((None, None, 3))
    layer = tf.keras.layers.Conv2D(3, 1, kernel_initializer="ones")
    return tf.keras.Model((image,), (layer(Hungry(most)(image)),))


def test_smaller_tiles_where_memory_runs_out(random):
    image = random.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    expected = restore(hungry_network(10**9), image)
    np.testing.assert_array_equal(restore(hungry_network(500**2), image, memory=2**40), expected)


def test_where_no_tile_fits_it_says_so(random):
    image = random.integers(0, 256, (200, 220, 3), dtype=np.uint8)
    with pytest.raises(MemoryError, match="not enough memory to restore 220x200 pixels"):
        restore(hungry_network(100), image)


def test_self_ensemble_is_the_mean_of_eight_views(network, random):
    image = random.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    expected = []
    for flipped in (image, image[:, ::-1]):
        for turns in range(4):
            view = restore_levels(network, np.rot90(flipped, turns))[0]
            view = np.rot90(view, -turns)
            expected.append(view[:, ::-1] if flipped is not image else view)
    np.testing.assert_allclose(restore_levels(network, image, self_ensemble=True)[0], np.mean(expected, 0), atol=1e-5)
    # Turning the input turns the output.
    turned = restore_levels(network, np.rot90(image), self_ensemble=True)[0]
    np.testing.assert_allclose(np.rot90(turned, -1), np.mean(expected, 0), atol=1e-5)
    assert restore(network, image[:39, :51], self_ensemble=True).shape == (39, 51, 3)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"tile": 130}, "tile=130"),
        ({"tile": 128}, "tile=128"),
        ({"overlap": 6}, "overlap=6"),
        ({"overlap": -4}, "overlap=-4"),
        ({"memory": 0}, "memory=0"),
    ],
)
def test_wrong_options_are_named(network, options, word):
    with pytest.raises(ValueError, match=word):
        restore(network, np.zeros((8, 8, 3), np.uint8), **options)
