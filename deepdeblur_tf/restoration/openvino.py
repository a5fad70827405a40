"""A network run by OpenVINO instead of TensorFlow, on a CPU (the extra `openvino`)."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from types import ModuleType

import numpy as np

from deepdeblur_tf.compat import tf, tf_variables
from deepdeblur_tf.errors import need, quiet_libraries
from deepdeblur_tf.model import run_network, settings_of, to_levels


def openvino() -> ModuleType:
    """OpenVINO, without the package by which it tells Google Analytics that it was imported, and from which machine."""
    telemetry = "openvino_telemetry"
    known = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == telemetry}
    sys.modules.update(dict.fromkeys((telemetry, *known)))  # as if it were not installed: OpenVINO then does without
    try:
        return importlib.import_module("openvino")
    finally:
        for name in (telemetry, *known):
            sys.modules.pop(name, None)
        sys.modules.update(known)


def to_openvino(module: tf.Module, function):
    """Converts a function of a module, with its variables, to an `openvino.Model`."""
    # It reads nothing but a SavedModel's default signature, and has no decoders of image files.
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=function.get_concrete_function())
        return openvino().Core().read_model(folder)


def openvino_network(network: tf.keras.Model, precision: str) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Compiles a network for OpenVINO, with the weights that it has now.

    Args:
        network: A network of `build_model` or `load_model`.
        precision: OpenVINO's name of it, "f32", or "bf16" for the faster units of some CPUs (AMX, AVX-512 BF16).

    Returns:
        From uint8 or uint16 [N, H, W, 3] to every level restored, float32, finest first, in [-0.5, 0.5].

    Raises:
        UserError: OpenVINO is not installed.
    """
    need("openvino", "openvino", "the runtime openvino")
    settings = settings_of(network)
    numbers = range(1, settings.levels + 1)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, f"blurry_{k}") for k in numbers])
    def restored(*blurry):
        levels = run_network(network, blurry, training=False)
        return {f"restored_{number}": level for number, level in zip(numbers, levels)}

    module = tf.Module()
    module.kept = tf_variables(network)  # what a SavedModel holds
    with quiet_libraries():
        converted = to_openvino(module, restored)
    # Left alone it takes bfloat16 wherever the CPU can.
    compiled = openvino().Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    @tf.function
    def blurry_levels(image):  # by TensorFlow: bfloat16 would round the pyramid
        return to_levels(image, settings.levels, settings.pyramid)

    blurry_levels_of = {
        dtype.name: blurry_levels.get_concrete_function(tf.TensorSpec([None, None, None, 3], dtype))
        for dtype in (tf.uint8, tf.uint16)
    }

    def run(image):
        blurry = blurry_levels_of[image.dtype.name](tf.constant(image))
        outputs = compiled({f"blurry_{number}": level.numpy() for number, level in zip(numbers, blurry)})
        return [outputs[f"restored_{number}"] for number in numbers]

    return run
