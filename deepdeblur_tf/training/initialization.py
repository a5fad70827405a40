"""How the networks of a training begin: what they compute in, and their weights."""

from __future__ import annotations

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Training

# Keras's names of `training.precision`: what is computed in; the weights are float32 in all of them.
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def begun(training: Training, random: np.random.Generator, build, **settings) -> tf.keras.Model:
    """A network as a training begins with it.

    Args:
        training: The experiment's settings: precision and initialization.
        random: What weights are drawn by.
        build: A function such as `build_model`.
        settings: Its arguments.
    """
    tf.keras.mixed_precision.set_global_policy(POLICIES[training.precision])
    try:
        network = build(**settings)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    if training.initialization == "torch":
        _draw_as_torch(network, random)
    return network


def _draw_as_torch(network: tf.keras.Model, random: np.random.Generator) -> None:
    """Draws the weights as Torch's and PyTorch's convolutions do."""
    for layer in network.layers:
        weights = layer.get_weights()
        if any(weight.any() for weight in weights):  # and not what begins as zeros, for `global_skip`
            bound = np.prod(weights[0].shape[:3]) ** -0.5
            layer.set_weights([random.uniform(-bound, bound, weight.shape) for weight in weights])
