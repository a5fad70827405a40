"""The multi-scale network (Nah et al., CVPR 2017, section 3; report, Figure 2.1) as a functional Keras model."""

from __future__ import annotations

import inspect
import re

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Model, checked
from deepdeblur_tf.pyramid import padded, padded_pyramid

layers = tf.keras.layers

# What Keras calls a network. No layer tells the pyramid, so the name does, for files that Keras itself writes.
_NAMES = {"matlab_bicubic": "deepdeblur", "gaussian": "deepdeblur_gaussian"}


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


class _Bordered(layers.Layer):
    """A layer with a border of so many pixels."""

    def __init__(self, border: int = 0, **keywords):
        super().__init__(**keywords)
        self.border = border

    def get_config(self):
        return {**super().get_config(), "border": self.border}


@tf.keras.utils.register_keras_serializable("deepdeblur_tf")
class ContinueBorder(_Bordered):
    """Continues an image on all sides by so many pixels, which repeat its outermost ones."""

    def call(self, inputs):
        # Repeated rather than mirrored: images may be smaller than the border.
        above, below = (tf.tile(row, [1, self.border, 1, 1]) for row in (inputs[:, :1], inputs[:, -1:]))
        inputs = tf.concat([above, inputs, below], axis=1)
        left, right = (tf.tile(column, [1, 1, self.border, 1]) for column in (inputs[:, :, :1], inputs[:, :, -1:]))
        return tf.concat([left, inputs, right], axis=2)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return batch, height and height + 2 * self.border, width and width + 2 * self.border, channels


@tf.keras.utils.register_keras_serializable("deepdeblur_tf")
class CropLike(_Bordered):
    """Cuts the first of two images to the size of the second, from so many pixels from the left and from above."""

    def call(self, inputs):
        image, like = inputs
        bottom, right = self.border + tf.shape(like)[1], self.border + tf.shape(like)[2]
        return image[:, self.border : bottom, self.border : right]

    def compute_output_shape(self, input_shape):
        image, like = input_shape
        return (*like[:3], image[3])


def build_model(*arguments, **settings) -> tf.keras.Model:
    """Builds the network.

    Each level is a convolution, residual blocks (convolution, ReLU, convolution, addition; no batch normalisation,
    nothing after the addition) and a convolution to 3 channels. A coarser level's output goes up and is concatenated
    with the next finer blurry image.

    Args:
        The settings of `deepdeblur_tf.config.Model`, which explains them, by name or in its order: upsampling, levels,
        blocks, filters, kernel_size and others. Those left out are the report's.

    Returns:
        Keras model from a tuple of `levels` blurry images, finest first, to as many restored ones: float32
        [N, H, W, 3], [N, H / 2, W / 2, 3], ..., in [-0.5, 0.5]. Height and width of the finest are multiples of
        2 ** (levels - 1). The defaults have 5,573,481 parameters. Its attribute `settings`, a `config.Model`, holds
        these arguments.

    Raises:
        ConfigError: for a value that is not allowed.

    Example:
        >>> import numpy as np
        >>> import deepdeblur_tf
        >>> network = deepdeblur_tf.build_model("transposed_conv", levels=2, blocks=1, filters=4)
        >>> restored = network((np.zeros((1, 64, 96, 3)), np.zeros((1, 32, 48, 3))))
        >>> [tuple(level.shape) for level in restored]
        [(1, 64, 96, 3), (1, 32, 48, 3)]
    """
    chosen = checked(Model(*arguments, **settings))

    def convolution(channels, name, activation=None, size=chosen.kernel_size):
        return layers.Conv2D(channels, size, padding="same", activation=activation, name=name)

    def up(x, level):
        if chosen.upsampling == "transposed_conv":
            return layers.Conv2DTranspose(3, 3, strides=2, padding="same", name=f"level{level}_up")(x)
        x = convolution(12, f"level{level}_up", size=5)(x)
        return DepthToSpace(name=f"level{level}_depth_to_space")(x)

    def continued(x, name):
        return ContinueBorder(chosen.border, name=name)(x) if chosen.border else x

    blurry = [layers.Input((None, None, 3), name=f"blurry_{level}") for level in range(1, chosen.levels + 1)]
    restored: list = []
    features = None  # of the next coarser level
    for level in range(chosen.levels, 0, -1):  # coarse to fine
        x = continued(blurry[level - 1], f"level{level}_border")
        if restored:
            coarser = up(continued(restored[-1], f"level{level}_up_border"), level)
            if chosen.border:  # which is twice as wide now
                coarser = CropLike(chosen.border, name=f"level{level}_up_crop")([coarser, x])
            x = layers.Concatenate(name=f"level{level}_concatenate")([x, coarser])
        if chosen.shuffle_input == 2:
            x = SpaceToDepth(name=f"level{level}_space_to_depth")(x)
        channels = chosen.channels[level - 1]
        x = convolution(channels, f"level{level}_head")(x)
        if chosen.pass_features and features is not None:
            passed = layers.Conv2D(4 * channels, 1, kernel_initializer="zeros", name=f"level{level}_features")(features)
            passed = DepthToSpace(name=f"level{level}_features_up")(passed)
            border = chosen.border // chosen.shuffle_input  # twice of it, as it comes
            passed = CropLike(border, name=f"level{level}_features_crop")([passed, x])
            x = layers.Add(name=f"level{level}_features_add")([x, passed])
        for block in range(1, chosen.blocks + 1):
            name = f"level{level}_block{block}"
            y = convolution(channels, f"{name}_conv1", "relu")(x)
            y = convolution(channels, f"{name}_conv2")(y)
            x = layers.Add(name=f"{name}_add")([x, y])
        features = x
        x = layers.Conv2D(
            3 * chosen.shuffle_input**2,
            chosen.kernel_size,
            padding="same",
            name=f"level{level}_tail",
            dtype="float32",  # also under mixed precision: the output is compared with 8-bit values
            kernel_initializer="zeros" if chosen.global_skip else "glorot_uniform",
        )(x)
        if chosen.shuffle_input == 2:
            x = DepthToSpace(name=f"level{level}_to_pixels", dtype="float32")(x)
        if chosen.shuffle_input == 2 or chosen.border:
            x = CropLike(chosen.border, name=f"level{level}_crop", dtype="float32")([x, blurry[level - 1]])
        if chosen.global_skip:
            x = layers.Add(name=f"level{level}_global_skip", dtype="float32")([x, blurry[level - 1]])
        restored.append(x)
    network = tf.keras.Model(tuple(blurry), tuple(restored[::-1]), name=_NAMES[chosen.pyramid])
    # A dataclass: Keras would take a dict or a list for a part of the network, and look for it in checkpoints.
    network.settings = chosen
    return network


build_model.__signature__ = inspect.signature(Model)  # what `help` shows


def begin_with(network: tf.keras.Model, trained: tf.keras.Model) -> None:
    """Puts the arrays of a trained network into a new one, which may have more blocks or pass features.

    What is added changes nothing at first: the second convolutions of further blocks, and what passes features, are
    zeros. A wider border changes what lies near it.

    Raises:
        ValueError: an array has another shape, or the new network lacks a layer.
    """
    left = {layer.name: layer.get_weights() for layer in trained.layers}
    for layer in network.layers:
        if layer.name in left:
            layer.set_weights(left.pop(layer.name))
        elif layer.name.endswith(("_conv2", "_features")):
            layer.set_weights([0 * weight for weight in layer.get_weights()])
    if left:
        raise ValueError(f"the new network lacks the layers {', '.join(left)}")


def settings_of(network: tf.keras.Model) -> Model:
    """A network's settings; of one that Keras itself has read, which keeps none, as its layers tell them."""
    if hasattr(network, "settings"):
        return network.settings
    if any(layer.name == "level1_head" for layer in network.layers):
        return settings_of_layers(network.get_config())
    return Model(levels=len(network.inputs))  # of another program


def settings_of_layers(config: dict) -> Model:
    """The settings of a network that Keras itself wrote, from the name and the layers in its configuration.

    Raises:
        ValueError: it is another network.
    """
    kinds = {layer["class_name"] for layer in config["layers"]}
    layers = {layer["config"]["name"]: layer["config"] for layer in config["layers"]}
    if "level1_head" not in layers:
        raise ValueError("it holds another network")
    head = layers["level1_head"]
    return Model(
        upsampling="transposed_conv" if "Conv2DTranspose" in kinds else "pixel_shuffle",
        levels=sum(name.startswith("blurry_") for name in layers),
        blocks=sum(bool(re.fullmatch(r"level1_block\d+_add", name)) for name in layers),
        filters=head["filters"],
        kernel_size=head["kernel_size"][0],
        global_skip="level1_global_skip" in layers,
        shuffle_input=2 if "level1_space_to_depth" in layers else 1,
        pass_features="level1_features" in layers,
        border=layers.get("level1_border", {"border": 0})["border"],
        widening=layers.get("level2_head", head)["filters"] // head["filters"],
        pyramid=next((pyramid for pyramid, name in _NAMES.items() if name == config["name"]), "matlab_bicubic"),
    )


def run_network(network: tf.keras.Model, blurry, training: bool) -> list:
    """All levels that a network restores, finest first: one level too comes as a list, which Keras unwraps at times."""
    return tf.nest.flatten(network(blurry, training=training))


def to_network(image):
    """uint8, uint16 or float32 [0, 255] to the network's float32 [-0.5, 0.5]."""
    return tf.cast(image, tf.float32) * (1 / (65535 if image.dtype == tf.uint16 else 255)) - 0.5


def to_levels(image, levels: int, pyramid: str) -> tuple:
    """An image of any size to the network's levels, float32 in [-0.5, 0.5]; see `pyramid.padded_pyramid`.

    Args:
        image: uint8 [N, H, W, 3]; or uint16, which the finest level keeps, while the others are made of 8 bits.
        levels: int. 1 to 3.
        pyramid: As `pyramid.pyramid` has it.
    """
    if image.dtype != tf.uint16:
        return tuple(map(to_network, padded_pyramid(image, levels, pyramid)))
    image = padded(image, levels, pyramid)
    rounded = tf.cast((tf.cast(image, tf.int32) + 128) // 257, tf.uint8)
    return tuple(map(to_network, (image, *padded_pyramid(rounded, levels, pyramid)[1:])))


def to_uint8(values):
    """The network's float [-0.5, 0.5] to uint8 [0, 255], clipped and rounded."""
    return tf.cast(tf.round(tf.clip_by_value(tf.cast(values, tf.float32) + 0.5, 0.0, 1.0) * 255.0), tf.uint8)


def to_uint16(values):
    """The network's float [-0.5, 0.5] to uint16 [0, 65535], clipped and rounded."""
    return tf.cast(tf.round(tf.clip_by_value(tf.cast(values, tf.float32) + 0.5, 0.0, 1.0) * 65535.0), tf.uint16)
