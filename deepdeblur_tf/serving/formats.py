"""A network as files that other runtimes read, each from uint8 [N, H, W, 3] to the same, and how each of them runs.

All of them hold `signatures.Service.restore_unbounded`; only the SavedModel decodes files and chooses scales, too.
Loads no TensorFlow at import. Another format is two functions here and its line in `FORMATS`: the flag, the checks and
the card follow.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepdeblur_tf.errors import quiet_libraries

if TYPE_CHECKING:
    from deepdeblur_tf.serving.signatures import Service

Runner = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A kind of export.

    Attributes:
        file: What is written, relative to the version's folder.
        about: What that is, for the model card.
        write: Writes a service to such a path.
        load: Reads a path; the result restores uint8 [N, H, W, 3].
        packages: What must be installed, by the extra of the format's name.
    """

    file: str
    about: str
    write: Callable[[Service, Path], None]
    load: Callable[[Path], Runner]
    packages: tuple[str, ...] = ()


def _write_saved_model(service: Service, path: Path) -> None:
    from deepdeblur_tf.compat import tf
    from deepdeblur_tf.serving.signatures import SIGNATURES

    signatures = {name: getattr(service, name).get_concrete_function() for name in SIGNATURES}
    tf.saved_model.save(service, str(path.parent), signatures=signatures)


def _load_saved_model(path: Path) -> Runner:
    from deepdeblur_tf.compat import tf

    restore = tf.saved_model.load(str(path.parent)).signatures["restore_uint8"]
    return lambda images: restore(image=tf.constant(images))["restored"].numpy()


def _write_onnx(service: Service, path: Path) -> None:
    import tf2onnx

    from deepdeblur_tf.serving.signatures import IMAGES

    # It reports with tracebacks that it cannot move some transpositions; ONNX Runtime moves them when it loads.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    tf2onnx.convert.from_function(service.restore_unbounded, input_signature=[IMAGES], opset=17, output_path=str(path))


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["restored"], {"image": images})[0]


def _write_tflite(service: Service, path: Path) -> None:
    from deepdeblur_tf.compat import tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [service.restore_unbounded.get_concrete_function()], service
    )
    path.write_bytes(converter.convert())


def _load_tflite(path: Path) -> Runner:
    from deepdeblur_tf.compat import tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the same interpreter moves to a package of its own
        interpreter = tf.lite.Interpreter(str(path))
    restore = interpreter.get_signature_runner()
    return lambda images: restore(image=images)["restored"]


def _write_openvino(service: Service, path: Path) -> None:
    from deepdeblur_tf.restoration.openvino import openvino, to_openvino

    openvino().save_model(to_openvino(service, service.restore_unbounded), str(path), compress_to_fp16=False)


def _load_openvino(path: Path) -> Runner:
    from deepdeblur_tf.restoration.openvino import openvino

    # By itself it computes in bfloat16 where the CPU can.
    compiled = openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled([images])["restored"]


FORMATS = {
    "saved_model": Format("saved_model.pb", "the SavedModel, with `variables/`", _write_saved_model, _load_saved_model),
    "onnx": Format(
        "deepdeblur.onnx",
        "ONNX, opset 17: `image` to `restored`, as `restore_uint8` but at scale 1 and without a bound",
        _write_onnx,
        _load_onnx,
        ("tf2onnx", "onnxruntime"),
    ),
    "tflite": Format(
        "deepdeblur.tflite", "TFLite, the same; resize its input to the image's shape", _write_tflite, _load_tflite
    ),
    "openvino": Format(
        "deepdeblur.xml",
        "OpenVINO, the same, with `deepdeblur.bin`; compile it with `INFERENCE_PRECISION_HINT: f32` for equal results, "
        "for OpenVINO computes in bfloat16 where the CPU can",
        _write_openvino,
        _load_openvino,
        ("openvino",),
    ),
}
FURTHER = tuple(FORMATS)[1:]  # beside the SavedModel, which every export has


def write_quietly(name: str, service: Service, path: Path) -> None:
    """Writes a service in a format, without what the converters have to say unless they fail."""
    with quiet_libraries(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FORMATS[name].write(service, path)


def newest_version(folder: Path) -> Path | None:
    """The version folder that is served of an export, the highest number; `folder` may be one. None for others."""
    file = FORMATS["saved_model"].file
    if (folder / file).is_file():
        return folder.resolve()
    versions = [path.parent for path in folder.glob(f"*/{file}") if version_number(path.parent)]
    return max(versions, key=version_number, default=None)


def version_number(folder: Path) -> int:
    """A version's number by its folder's name; 0 for a name that servers take for none."""
    return int(folder.name) if re.fullmatch("[0-9]{1,18}", folder.name) else 0
