"""The multi-scale network (Nah et al., CVPR 2017, section 3; report, Figure 2.1) as a functional Keras model."""

from __future__ import annotations

from deepdeblur_tf import config
from deepdeblur_tf.compat import tf
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.pyramid import PADDING, padded_pyramid

layers = tf.keras.layers

UPSAMPLINGS = ("pixel_shuffle", "transposed_conv")
MOST_BLOCKS = 100  # a level; building takes minutes beyond them, and a damaged file may ask for any number


@tf.keras.utils.register_keras_serializable("deepdeblur_tf")
class DepthToSpace(layers.Layer):
    """Rearranges [N, H, W, 4 C] into [N, 2 H, 2 W, C] (report, Figure 2.2). A layer, for Keras 3 takes no raw op."""

    def call(self, inputs):
        return tf.nn.depth_to_space(inputs, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height and 2 * height, width and 2 * width, channels // 4


@tf.keras.utils.register_keras_serializable("deepdeblur_tf")
class SpaceToDepth(layers.Layer):
    """Rearranges [N, H, W, C] into [N, H / 2, W / 2, 4 C]; an odd side's last row or column is repeated."""

    def call(self, inputs):
        height, width = tf.shape(inputs)[1], tf.shape(inputs)[2]
        inputs = tf.concat([inputs, inputs[:, height - height % 2 :]], axis=1)
        inputs = tf.concat([inputs, inputs[:, :, width - width % 2 :]], axis=2)
        return tf.nn.space_to_depth(inputs, 2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height and (height + 1) // 2, width and (width + 1) // 2, 4 * channels


@tf.keras.utils.register_keras_serializable("deepdeblur_tf")
class CropLike(layers.Layer):
    """Cuts the first of two images at the right and at the bottom to the size of the second."""

    def call(self, inputs):
        image, like = inputs
        return image[:, : tf.shape(like)[1], : tf.shape(like)[2]]

    def compute_output_shape(self, input_shape):
        image, like = input_shape
        return (*like[:3], image[3])


def build_model(
    upsampling: str = "pixel_shuffle",
    levels: int = 3,
    blocks: int = 9,
    filters: int = 64,
    kernel_size: int = 5,
    global_skip: bool = False,
    shuffle_input: int = 1,
    widening: int = 1,
    pyramid: str = "matlab_bicubic",
    pass_features: bool = False,
) -> tf.keras.Model:
    """Builds the network.

    Each level is a convolution, residual blocks (convolution, ReLU, convolution, addition; no batch normalisation,
    nothing after the addition) and a convolution to 3 channels. A coarser level's output goes up and is concatenated
    with the next finer blurry image.

    Args:
        upsampling: "pixel_shuffle" (5x5 convolution to 12 channels, depth to space; the authors' code) or
            "transposed_conv" (3 filters, 3x3, stride 2; the paper). Defaults to "pixel_shuffle".
        levels: int. Levels of the pyramid, 1 to 3. Defaults to 3.
        blocks: int. Residual blocks a level, 1 to 100. Defaults to 9.
        filters: int. Feature maps, of the finest level. Defaults to 64.
        kernel_size: int. Side of the kernels, odd. Defaults to 5.
        global_skip: bool. Whether each level's blurry input is added to its output, so that the network learns the
            difference, and starts as the identity. Not in the paper. Defaults to False.
        shuffle_input: 1, or 2 for levels that work at half their resolution: 2x2 pixels become channels before the
            first convolution, and pixels again after the last one. Not in the paper. Defaults to 1.
        widening: 1, or 2 for coarser levels with twice as many feature maps as the next finer one, where long blur is
            undone at a quarter of the pixels. Not in the paper. Defaults to 1.
        pyramid: "matlab_bicubic" (the report's) or "gaussian" (the authors' PyTorch code); see `pyramid.pyramid`. It
            changes nothing in the network, which keeps it for whoever makes its levels. Defaults to "matlab_bicubic".
        pass_features: bool. Whether the next finer level gets, beside a coarser one's output, its feature maps,
            enlarged by a 1x1 convolution and a pixel shuffle and added behind the first convolution (as Cho et al.,
            ICCV 2021, pass them on). The convolution begins as zeros. Not in the paper. Defaults to False.

    Returns:
        Keras model from a tuple of `levels` blurry images, finest first, to as many restored ones: float32
        [N, H, W, 3], [N, H / 2, W / 2, 3], ..., in [-0.5, 0.5]. Height and width of the finest are multiples of
        2 ** (levels - 1). The defaults have 5,573,481 parameters. Its attribute `settings`, a `config.Model`, holds
        these arguments.

    Raises:
        UserError: for a value that is not allowed.

    Example:
        >>> import numpy as np
        >>> import deepdeblur_tf
        >>> network = deepdeblur_tf.build_model("transposed_conv", levels=2, blocks=1, filters=4)
        >>> restored = network((np.zeros((1, 64, 96, 3)), np.zeros((1, 32, 48, 3))))
        >>> [tuple(level.shape) for level in restored]
        [(1, 64, 96, 3), (1, 32, 48, 3)]
    """
    if upsampling not in UPSAMPLINGS:
        raise UserError(f"upsampling must be one of {', '.join(UPSAMPLINGS)}. Received: upsampling={upsampling!r}")
    if levels not in (1, 2, 3):
        raise UserError(f"levels must be 1, 2 or 3. Received: levels={levels!r}")
    if shuffle_input not in (1, 2):
        raise UserError(f"shuffle_input must be 1 or 2. Received: shuffle_input={shuffle_input!r}")
    if widening not in (1, 2):
        raise UserError(f"widening must be 1 or 2. Received: widening={widening!r}")
    if pyramid not in PADDING:
        raise UserError(f"pyramid must be one of {', '.join(PADDING)}. Received: pyramid={pyramid!r}")
    for name, value in (("blocks", blocks), ("filters", filters), ("kernel_size", kernel_size)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{name} must be a whole number above 0. Received: {name}={value!r}")
    if blocks > MOST_BLOCKS:
        raise UserError(f"blocks must be at most {MOST_BLOCKS}. Received: blocks={blocks!r}")
    if kernel_size % 2 == 0:
        raise UserError(f"kernel_size must be odd. Received: kernel_size={kernel_size!r}")

    def convolution(channels, name, activation=None, size=kernel_size):
        return layers.Conv2D(channels, size, padding="same", activation=activation, name=name)

    def up(x, level):
        if upsampling == "transposed_conv":
            return layers.Conv2DTranspose(3, 3, strides=2, padding="same", name=f"level{level}_up")(x)
        x = convolution(12, f"level{level}_up", size=5)(x)
        return DepthToSpace(name=f"level{level}_depth_to_space")(x)

    blurry = [layers.Input((None, None, 3), name=f"blurry_{level}") for level in range(1, levels + 1)]
    restored: list = []
    features = None  # of the next coarser level
    for level in range(levels, 0, -1):  # coarse to fine
        x = blurry[level - 1]
        if restored:
            x = layers.Concatenate(name=f"level{level}_concatenate")([x, up(restored[-1], level)])
        if shuffle_input == 2:
            x = SpaceToDepth(name=f"level{level}_space_to_depth")(x)
        maps = filters * widening ** (level - 1)
        x = convolution(maps, f"level{level}_head")(x)
        if pass_features and features is not None:
            passed = layers.Conv2D(4 * maps, 1, kernel_initializer="zeros", name=f"level{level}_features")(features)
            passed = DepthToSpace(name=f"level{level}_features_up")(passed)
            passed = CropLike(name=f"level{level}_features_crop")([passed, x])
            x = layers.Add(name=f"level{level}_features_add")([x, passed])
        for block in range(1, blocks + 1):
            name = f"level{level}_block{block}"
            y = convolution(maps, f"{name}_conv1", "relu")(x)
            y = convolution(maps, f"{name}_conv2")(y)
            x = layers.Add(name=f"{name}_add")([x, y])
        features = x
        x = layers.Conv2D(
            3 * shuffle_input**2,
            kernel_size,
            padding="same",
            name=f"level{level}_tail",
            dtype="float32",  # also under mixed precision: the output is compared with 8-bit values
            kernel_initializer="zeros" if global_skip else "glorot_uniform",
        )(x)
        if shuffle_input == 2:
            x = DepthToSpace(name=f"level{level}_to_pixels", dtype="float32")(x)
            x = CropLike(name=f"level{level}_crop", dtype="float32")([x, blurry[level - 1]])
        if global_skip:
            x = layers.Add(name=f"level{level}_global_skip", dtype="float32")([x, blurry[level - 1]])
        restored.append(x)
    # No layer tells the pyramid, so the name does, for files that Keras itself writes.
    name = "deepdeblur" if pyramid == "matlab_bicubic" else f"deepdeblur_{pyramid}"
    network = tf.keras.Model(tuple(blurry), tuple(restored[::-1]), name=name)
    # A dataclass: Keras would take a dict or a list for a part of the network, and look for it in checkpoints.
    network.settings = config.Model(
        upsampling, levels, blocks, filters, kernel_size, global_skip, shuffle_input, widening, pyramid, pass_features
    )
    return network


def run_network(network: tf.keras.Model, blurry, training: bool) -> list:
    """All levels that a network restores, finest first: one level too comes as a list, which Keras unwraps at times."""
    return tf.nest.flatten(network(blurry, training=training))


def to_network(image):
    """uint8 or float32 [0, 255] to the network's float32 [-0.5, 0.5]."""
    return tf.cast(image, tf.float32) * (1 / 255) - 0.5


def to_levels(image, levels: int, pyramid: str) -> tuple:
    """uint8 [N, H, W, 3] of any size to the network's levels, float32 in [-0.5, 0.5]; see `pyramid.padded_pyramid`."""
    return tuple(map(to_network, padded_pyramid(image, levels, pyramid)))


def to_uint8(values):
    """The network's float [-0.5, 0.5] to uint8 [0, 255], clipped and rounded."""
    return tf.cast(tf.round(tf.clip_by_value(tf.cast(values, tf.float32) + 0.5, 0.0, 1.0) * 255.0), tf.uint8)
