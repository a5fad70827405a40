import numpy as np
import pytest
from scipy.signal import correlate

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import begin_with, build_model
from deepdeblur_tf.restoration.restorer import restore


@pytest.mark.parametrize("upsampling, parameters", [("pixel_shuffle", 5_573_481), ("transposed_conv", 5_571_825)])
def test_the_reports_network_has_the_reports_size(upsampling, parameters):
    # Per level 9 blocks of two 5x5 convolutions of 64 (1,844,352), a head of 3 or 6 channels (4,864 or 9,664) and a
    # tail (4,803); two up-convolutions: 5x5 from 3 to 12 (912 each), or transposed 3x3 from 3 to 3 (84 each).
    assert 3 * 1_844_352 + 4_864 + 2 * 9_664 + 3 * 4_803 + 2 * {"p": 912, "t": 84}[upsampling[0]] == parameters
    network = build_model(upsampling)
    assert network.count_params() == parameters
    assert not any("normalization" in layer.name for layer in network.layers)


def test_widening_doubles_the_maps_of_each_coarser_level():
    network = build_model(blocks=6, filters=32, kernel_size=3, shuffle_input=2, widening=2)
    assert [network.get_layer(f"level{level}_head").filters for level in (1, 2, 3)] == [32, 64, 128]
    # Six blocks of two 3x3 convolutions a level; heads from 24 and, on the coarsest level, 12; tails to 12; two 5x5 up.
    blocks = sum(12 * (9 * maps**2 + maps) for maps in (32, 64, 128))
    heads = sum(9 * inputs * maps + maps for inputs, maps in ((24, 32), (24, 64), (12, 128)))
    tails = sum(9 * maps * 12 + 12 for maps in (32, 64, 128))
    assert network.count_params() == blocks + heads + tails + 2 * (25 * 3 * 12 + 12)


def test_features_are_passed_to_the_next_finer_level():
    """A 1x1 convolution to four times as many maps as the finer level has; two of them for three levels."""
    network = build_model(blocks=1, filters=8, kernel_size=3, widening=2, pass_features=True)
    plain = build_model(blocks=1, filters=8, kernel_size=3, widening=2)
    assert network.count_params() - plain.count_params() == (16 * 32 + 32) + (32 * 64 + 64)
    blurry = [tf.random.stateless_uniform((1, 16 >> k, 24 >> k, 3), [k, 1]) - 0.5 for k in range(3)]
    before = network(tuple(blurry))
    for level in (1, 2):
        kernel, bias = network.get_layer(f"level{level}_features").get_weights()
        assert not kernel.any() and not bias.any()
    kernel[:] = 0.1
    network.get_layer("level2_features").set_weights([kernel, bias])
    after = network(tuple(blurry))
    changed = [not np.array_equal(one, other) for one, other in zip(before, after)]
    assert changed == [True, True, False]


@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "transposed_conv"])
@pytest.mark.parametrize(
    "pass_features, shuffle_input, border", [(False, 1, 0), (True, 1, 0), (True, 2, 0), (False, 1, 4), (True, 2, 6)]
)
@pytest.mark.parametrize("height, width", [(4, 4), (12, 20), (36, 8)])
def test_any_multiple_of_4_keeps_its_size(upsampling, height, width, pass_features, shuffle_input, border):
    settings = {"shuffle_input": shuffle_input, "pass_features": pass_features, "border": border}
    network = build_model(upsampling, blocks=1, filters=4, kernel_size=3, **settings)
    blurry = tuple(tf.zeros((2, height // factor, width // factor, 3)) for factor in (1, 2, 4))
    assert [level.shape for level in network(blurry)] == [level.shape for level in blurry]


def test_a_border_keeps_what_is_flat_flat_and_leaves_the_rest():
    """Images whose outermost pixels are repeated far enough are restored as the middle of larger images is."""
    settings = {"blocks": 1, "filters": 4, "kernel_size": 3, "shuffle_input": 2, "pass_features": True}
    plain, bordered = build_model(**settings), build_model(**settings, border=24)
    for number, weights in enumerate(plain.trainable_variables):
        weights.assign(tf.random.stateless_normal(weights.shape, [number, 2], stddev=0.2))
    begin_with(bordered, plain)
    image = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 32, 48, 3)).astype(np.float32)
    coarse = bordered((image, image[:, ::2, ::2], image[:, ::4, ::4]))[2]
    larger = np.pad(image[:, ::4, ::4], ((0, 0), (24, 24), (24, 24), (0, 0)), "edge")
    whole = plain((np.repeat(np.repeat(larger, 4, 1), 4, 2), np.repeat(np.repeat(larger, 2, 1), 2, 2), larger))[2]
    np.testing.assert_allclose(coarse, whole[:, 24:-24, 24:-24], atol=1e-5)
    flat = tuple(np.full((1, 16 >> level, 24 >> level, 3), [0.3, -0.1, 0.5], np.float32) for level in range(3))
    first = [np.ptp(network(flat)[2][:, ::2, ::2], axis=(1, 2)).max() for network in (bordered, plain)]  # of each cell
    assert first[0] < 1e-5 < first[1]


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels(levels):
    network = build_model(levels=levels, blocks=2, filters=4)
    assert len(network.inputs) == len(network.outputs) == levels


def convolve(x, layer):
    """A 'same' convolution of [H, W, C] by SciPy, in float64."""
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())
    half = kernel.shape[0] // 2
    padded = np.pad(x, ((half, half), (half, half), (0, 0)))
    return (
        np.stack([correlate(padded, kernel[..., out], mode="valid")[..., 0] for out in range(kernel.shape[3])], axis=-1)
        + bias
    )


def depth_to_space(x):
    height, width, channels = x.shape
    return x.reshape(height, width, 2, 2, channels // 4).transpose(0, 2, 1, 3, 4).reshape(2 * height, 2 * width, -1)


def transposed_convolve(x, layer):
    """The adjoint of a 3x3 'same' convolution of stride 2, whose output pixel i sees the rows 2 i to 2 i + 2."""
    kernel, bias = (np.asarray(w, np.float64) for w in layer.get_weights())  # [3, 3, out, in]
    height, width, _ = x.shape
    result = np.zeros((2 * height + 1, 2 * width + 1, kernel.shape[2]))
    for i in range(height):
        for j in range(width):
            result[2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += kernel @ x[i, j]
    return result[:-1, :-1] + bias


def forward(network, blurry, levels, blocks, upsampling, global_skip):
    """The network of the report's Figure 2.1 in NumPy and SciPy."""
    restored = []
    for level in range(levels, 0, -1):
        x = blurry[level - 1]
        if restored:
            layer = network.get_layer(f"level{level}_up")
            up = restored[-1]
            up = (
                depth_to_space(convolve(up, layer)) if upsampling == "pixel_shuffle" else transposed_convolve(up, layer)
            )
            x = np.concatenate([x, up], axis=2)
        x = convolve(x, network.get_layer(f"level{level}_head"))
        for block in range(1, blocks + 1):
            y = np.maximum(convolve(x, network.get_layer(f"level{level}_block{block}_conv1")), 0)
            x = x + convolve(y, network.get_layer(f"level{level}_block{block}_conv2"))
        x = convolve(x, network.get_layer(f"level{level}_tail"))
        restored.append(x + blurry[level - 1] if global_skip else x)
    return restored[::-1]


@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "transposed_conv"])
@pytest.mark.parametrize("global_skip", [False, True])
def test_forward_pass_equals_scipys(random, upsampling, global_skip):
    network = build_model(upsampling, levels=3, blocks=2, filters=5, kernel_size=5, global_skip=global_skip)
    network.set_weights([random.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    blurry = [random.uniform(-0.5, 0.5, (16 // factor, 24 // factor, 3)) for factor in (1, 2, 4)]
    expected = forward(network, blurry, 3, 2, upsampling, global_skip)
    actual = network(tuple(tf.constant(level[None], tf.float32) for level in blurry))
    for level, expected_level in zip(actual, expected):
        np.testing.assert_allclose(level[0], expected_level, rtol=0, atol=2e-6)


def test_global_skip_starts_as_the_identity(random):
    image = random.integers(0, 256, (9, 14, 3), dtype=np.uint8)
    np.testing.assert_array_equal(restore(build_model(blocks=1, filters=4, global_skip=True), image), image)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"upsampling": "bilinear"}, "upsampling: received 'bilinear'; allowed: one of pixel_shuffle, transposed_conv"),
        ({"levels": 4}, "levels: received 4; allowed: one of 1, 2, 3"),
        ({"blocks": 0}, "blocks: received 0; allowed: a whole number from 1 to 100"),
        ({"blocks": 101}, "blocks: received 101; allowed"),
        ({"filters": 1.5}, "filters: received 1.5; allowed"),
        ({"kernel_size": 4}, "kernel_size: received 4; allowed: an odd number"),
    ],
)
def test_wrong_settings_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        build_model(**arguments)


@pytest.mark.parametrize("height, width", [(1, 1), (2, 7), (5, 3), (8, 8), (13, 30)])
def test_restore_keeps_any_size(random, height, width):
    network = build_model(blocks=1, filters=4, kernel_size=3)
    restored = restore(network, random.integers(0, 256, (height, width, 3), dtype=np.uint8))
    assert restored.shape == (height, width, 3) and restored.dtype == np.uint8


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_restore_refuses_other_arrays(image):
    with pytest.raises(ValueError, match="restore takes uint8"):
        restore(None, image)
