import gc
import weakref

import numpy as np
import pytest
from PIL import Image
from skimage.transform import pyramid_gaussian

from deepdeblur_tf.compat import tf
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.model import build_model, to_network, to_uint8
from deepdeblur_tf.networks.archive import load_model, save_network
from deepdeblur_tf.resizing import imresize
from deepdeblur_tf.restoration.restorer import OVERLAP, Restorer, bytes_per_pixel, restore, restoring_graph
from deepdeblur_tf.restoration.tiling import spans, tile_shape


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


@pytest.mark.parametrize("height", range(8, 12))
def test_every_size_modulo_4(network, random, height):
    for width in range(16, 20):
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
    whole, tiled = Restorer(network).levels(image), Restorer(network, tile=128, overlap=52).levels(image)
    height, width = {1: (150, 203), 2: (150, 204), 3: (152, 204)}[levels]
    assert [level.shape for level in whole] == [(height >> k, width >> k, 3) for k in range(levels)]
    for one, other in zip(whole, tiled):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.parametrize("tile", [256, 260])
@pytest.mark.parametrize("settings", [{"pyramid": "gaussian"}, {"shuffle_input": 2, "widening": 2}])
def test_tiles_equal_the_whole_with_other_pyramids_and_cells(frame, settings, tile):
    network = build_model(blocks=1, filters=4, kernel_size=3, **settings)
    image = frame[:291, :333]
    restorer = Restorer(network, tile=tile, overlap=96)
    for one, other in zip(Restorer(network).levels(image), restorer.levels(image)):
        np.testing.assert_allclose(one, other, atol=2e-5)
    assert restorer.tiles > 1


def test_a_network_of_other_layers_restores_too(random):
    image = tf.keras.layers.Input((None, None, 3))
    network = tf.keras.Model((image,), (tf.keras.layers.DepthwiseConv2D(3, padding="same")(image),))
    assert restore(network, random.integers(0, 256, (30, 42, 3), dtype=np.uint8)).shape == (30, 42, 3)


def test_a_gaussian_network_gets_its_own_pyramid(random, tmp_path):
    network = build_model(blocks=1, filters=4, kernel_size=3, pyramid="gaussian")
    image = random.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    padded = np.pad(image, [(0, 3), (0, 2), (0, 0)], "edge").astype(np.float32)
    levels = pyramid_gaussian(padded, 2, channel_axis=-1)
    expected = [level[0] for level in network(tuple(tf.constant(level[None] / 255 - 0.5) for level in levels))]
    network.save(tmp_path / "by_keras.keras")
    save_network(network, tmp_path / "network.keras")
    read_by_keras = tf.keras.models.load_model(tmp_path / "by_keras.keras", compile=False)
    loaded = [load_model(tmp_path / name) for name in ("network.keras", "by_keras.keras")]
    assert [one.settings.pyramid for one in loaded] == ["gaussian"] * 2
    for one in (network, *loaded, read_by_keras):
        for level, expected_level in zip(Restorer(one).levels(image), expected):
            np.testing.assert_allclose(level, expected_level, atol=1e-5)


@pytest.mark.slow
def test_the_default_overlap_leaves_no_seam(frame):
    tf.keras.utils.set_random_seed(0)
    network = build_model(blocks=4, filters=8, kernel_size=3)
    restorer = Restorer(network, tile=256)
    assert float(psnr(restorer(frame), restore(network, frame))) > 60
    assert restorer.tiles == 3 * 7


@pytest.mark.parametrize("runtime", ["tensorflow", pytest.param("openvino", marks=pytest.mark.slow)])
def test_16_bits_are_kept_at_the_finest_level_and_the_pyramid_is_that_of_8_bits(network, random, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    deep = random.integers(0, 65536, (30, 41, 3), dtype=np.uint16)
    mirrored = np.pad(deep, [(0, -side % 4) for side in deep.shape[:2]] + [(0, 0)], "symmetric")
    rounded = np.round(mirrored / 257).astype(np.uint8)
    levels = [to_network(imresize(rounded, scale)[None]) for scale in (1 / 2, 1 / 4)]
    expected = network((tf.constant(mirrored[None].astype(np.float32) / 65535 - 0.5), *levels))[0][0, :30, :41].numpy()
    expected = np.round(np.clip(expected + 0.5, 0, 1) * 65535)
    restored = restore(network, deep, runtime=runtime)
    assert restored.dtype == np.uint16 and np.abs(restored - expected).max() < 3


def test_16_bits_in_tiles_and_in_eight_views(random):
    unchanged = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)
    deep = random.integers(0, 65536, (200, 301, 3), dtype=np.uint16)
    for options in ({"tile": 208}, {"self_ensemble": True}):
        np.testing.assert_array_equal(restore(unchanged, deep, **options), deep)


def test_a_memory_budget_cuts_into_tiles(network, random):
    image = random.integers(0, 256, (600, 640, 3), dtype=np.uint8)
    whole, tiled = (Restorer(network, memory=memory, scale=1) for memory in (2**30, bytes_per_pixel(network) * 300**2))
    assert (whole.tiles, tiled.tiles) == (0, 0)
    expected = whole(image)
    assert whole.tiles == 1
    steps = []
    assert abs(tiled(image, steps.append).astype(int) - expected).max() <= 1
    rows, columns = tile_shape(600, 640, 300**2, OVERLAP)
    assert tiled.tiles == len(spans(600, rows, OVERLAP)) * len(spans(640, columns, OVERLAP)) > 1
    assert steps == sorted(steps) and steps[-1] == 1 and len(steps) == tiled.tiles


def test_passed_features_take_no_memory_worth_counting():
    """Their convolutions have four times as many filters as the level that they go to, at a quarter of its pixels."""
    plain, passing = (
        build_model(blocks=1, filters=4, shuffle_input=2, pass_features=passes) for passes in (False, True)
    )
    assert bytes_per_pixel(passing) == bytes_per_pixel(plain)


def test_one_graph_for_all_images_and_options(network, random):
    for size in (8, 21, 40):
        restore(network, random.integers(0, 256, (size, size, 3), dtype=np.uint8), self_ensemble=size == 21)
    assert restoring_graph(network).experimental_get_tracing_count() == 1


@pytest.mark.parametrize("runtime", ["tensorflow", pytest.param("openvino", marks=pytest.mark.slow)])
def test_network_and_graph_are_let_go_with_their_owner(random, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    restorer = Restorer(build_model(blocks=1, filters=4, kernel_size=3), runtime=runtime)
    image = random.integers(0, 256, (20, 16, 3), dtype=np.uint8)
    restorer(image)
    restore(restorer.model, image)
    held = [weakref.ref(restorer), weakref.ref(restorer.model), weakref.ref(restoring_graph(restorer.model))]
    del restorer
    gc.collect()
    assert [reference() for reference in held] == [None, None, None]


@pytest.mark.parametrize("dtype, most", [(np.uint8, 255), (np.uint16, 65535)])
@pytest.mark.parametrize("scale", [1, 0.5])
def test_an_image_without_colours_gets_none(dtype, most, scale):
    network = build_model(blocks=1, filters=4, kernel_size=3)
    ramp = np.linspace(0, most, 60 * 80).reshape(60, 80, 1).astype(dtype)
    restored = restore(network, np.repeat(ramp, 3, axis=2), scale=scale)
    assert restored.dtype == dtype and np.ptp(restored, axis=2).max() == 0
    # One pixel of another colour, and it is an image with colours.
    image = np.repeat(ramp, 3, axis=2)
    image[-1, -1] = (0, most, 0)
    coloured = restore(network, image, scale=scale)
    assert np.ptp(coloured, axis=2).max() > 0
    if dtype == np.uint8:  # as Pillow has it
        grey = np.asarray(Image.fromarray(coloured).convert("L"))
        np.testing.assert_array_equal(grey[:4, :4], restored[:4, :4, 0])  # far from that pixel


def test_weights_that_change_change_the_result(random):
    network = build_model(blocks=1, filters=4, kernel_size=3)
    image = random.integers(0, 256, (20, 16, 3), dtype=np.uint8)
    before = restore(network, image)
    network.set_weights([0.5 * weight for weight in network.get_weights()])
    assert (restore(network, image) != before).any()


def test_a_restored_network_is_saved_as_it_was(tmp_path, random):
    network = build_model(blocks=1, filters=4, kernel_size=3)
    contents = []
    for name in ("before", "after"):
        path = tf.train.Checkpoint(network=network).write(str(tmp_path / name))
        contents.append(tf.train.load_checkpoint(path).get_variable_to_shape_map())
        restore(network, random.integers(0, 256, (20, 16, 3), dtype=np.uint8))
    assert contents[0] == contents[1]


class Hungry(tf.keras.layers.Layer):
    """Runs out of memory with images above a size.

    Args:
        most: int. Pixels that still fit.
        asks: Whether it asks TensorFlow's allocator for more than any machine has, which thinks for ten seconds, or
            only fails as that would.
    """

    def __init__(self, most, asks):
        super().__init__()
        self.most, self.asks = most, asks

    def call(self, image):
        pixels = tf.shape(image, tf.int64)[1] * tf.shape(image, tf.int64)[2]
        if self.asks:
            extra = tf.fill([tf.where(pixels > self.most, tf.constant(2**46, tf.int64), 1)], tf.constant(0, tf.uint8))
            return image + tf.cast(extra[0], tf.float32)
        return image + tf.ensure_shape(tf.numpy_function(self.fail, [pixels], tf.float32), [])

    def fail(self, pixels):
        if pixels > self.most:
            raise MemoryError
        return np.float32(0)

    def compute_output_shape(self, shape):
        return shape


def hungry_network(most, asks=False):
    image = tf.keras.layers.Input((None, None, 3))
    layer = tf.keras.layers.Conv2D(3, 1, kernel_initializer="ones")
    return tf.keras.Model((image,), (layer(Hungry(most, asks)(image)),))


@pytest.mark.parametrize("asks", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_smaller_tiles_where_memory_runs_out(random, asks):
    image = random.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    expected = restore(hungry_network(10**9), image, scale=1)
    restorer = Restorer(hungry_network(500**2, asks), memory=2**40, scale=1)
    np.testing.assert_array_equal(restorer(image), expected)
    assert restorer.tiles > 1  # and not the one of the first try


@pytest.mark.parametrize("options, advice", [({}, "Close other programs"), ({"tile": 200}, "Give a smaller tile")])
def test_where_no_tile_fits_it_says_so(random, options, advice):
    image = random.integers(0, 256, (200, 220, 3), dtype=np.uint8)
    with pytest.raises(MemoryError, match=f"not enough memory to restore .*200 pixels at once. {advice}"):
        restore(hungry_network(100), image, **options)


def test_self_ensemble_is_the_mean_of_eight_views(network, random):
    image = random.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    expected = []
    for flipped in (image, image[:, ::-1]):
        for turns in range(4):
            view = np.rot90(Restorer(network).levels(np.rot90(flipped, turns))[0], -turns)
            expected.append(view[:, ::-1] if flipped is not image else view)
    ensemble = Restorer(network, self_ensemble=True)
    np.testing.assert_allclose(ensemble.levels(image)[0], np.mean(expected, 0), atol=1e-5)
    # Turning the input turns the output.
    turned = ensemble.levels(np.rot90(image))[0]
    np.testing.assert_allclose(np.rot90(turned, -1), np.mean(expected, 0), atol=1e-5)
    assert ensemble(image[:39, :51]).shape == (39, 51, 3)


@pytest.mark.parametrize(
    "options, word",
    [
        ({"tile": 130}, "tile=130"),
        ({"tile": 128}, "tile=128"),
        ({"overlap": 6}, "overlap=6"),
        ({"overlap": -4}, "overlap=-4"),
        ({"memory": 0}, "memory=0"),
        ({"runtime": "torch"}, "runtime must be one of tensorflow, openvino, openvino_bfloat16.*'torch'"),
    ],
)
def test_wrong_options_are_named_before_an_image_comes(network, options, word):
    with pytest.raises(UserError, match=word):
        Restorer(network, **options)
