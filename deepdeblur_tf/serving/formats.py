"""A network as files that other runtimes read, each from uint8 [N, H, W, 3] to the same, and how each of them runs.

All of them hold `signatures.Service.restore_unbounded`; only the SavedModel decodes files too.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.errors import quiet_libraries
from deepdeblur_tf.restoration.openvino import openvino, to_openvino
from deepdeblur_tf.serving.signatures import IMAGES, Service

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A kind of export.

    Attributes:
        file: What is written, relative to the version's folder; "" for the folder itself.
        write: Writes a service to a path.
        load: Reads a path; the result restores uint8 [N, H, W, 3].
        packages: What must be installed.
        extra: The extra of this project that installs them.
    """

    file: str
    write: Callable[[Service, Path], None]
    load: Callable[[Path], Runner]
    packages: tuple[str, ...] = ()
    extra: str = ""

    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [package for package in self.packages if importlib.util.find_spec(package) is None]


def _write_saved_model(service: Service, folder: Path) -> None:
    signatures = {name: getattr(service, name).get_concrete_function() for name in ("serving_default", "restore_uint8")}
    tf.saved_model.save(service, str(folder), signatures=signatures)


def _load_saved_model(folder: Path) -> Runner:
    restore = tf.saved_model.load(str(folder)).signatures["restore_uint8"]
    return lambda images: restore(image=tf.constant(images))["restored"].numpy()


def _write_onnx(service: Service, path: Path) -> None:
    import tf2onnx

    # It reports with tracebacks that it cannot move some transpositions; ONNX Runtime moves them when it loads.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    tf2onnx.convert.from_function(service.restore_unbounded, input_signature=[IMAGES], opset=17, output_path=str(path))


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["restored"], {"image": images})[0]


def _write_tflite(service: Service, path: Path) -> None:
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [service.restore_unbounded.get_concrete_function()], service
    )
    path.write_bytes(converter.convert())


def _load_tflite(path: Path) -> Runner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the same interpreter moves to a package of its own
        interpreter = tf.lite.Interpreter(str(path))
    restore = interpreter.get_signature_runner()
    return lambda images: restore(image=images)["restored"]


def _write_openvino(service: Service, path: Path) -> None:
    openvino().save_model(to_openvino(service, service.restore_unbounded), str(path), compress_to_fp16=False)


def _load_openvino(path: Path) -> Runner:
    # By itself it computes in bfloat16 where the CPU can.
    model = openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: model([images])["restored"]


FORMATS = {
    "saved_model": Format("", _write_saved_model, _load_saved_model),
    "onnx": Format("deepdeblur.onnx", _write_onnx, _load_onnx, ("tf2onnx", "onnxruntime"), "onnx"),
    "tflite": Format("deepdeblur.tflite", _write_tflite, _load_tflite),
    "openvino": Format("deepdeblur.xml", _write_openvino, _load_openvino, ("openvino",), "openvino"),
}


def write_quietly(name: str, service: Service, path: Path) -> None:
    """Writes a service in a format, without what the converters have to say unless they fail."""
    with quiet_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FORMATS[name].write(service, path)
