"""A trained network: where it lies, and loading it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from deepdeblur_tf.runs.folder import Run

if TYPE_CHECKING:
    from deepdeblur_tf.compat import tf

# What a network's file may name: the parts that `build_model` puts together, as Keras 2 and Keras 3 call them. Keras
# imports and calls whatever else a file names, also in its safe mode (CVE-2025-1550), and runs code from files in HDF5.
_PARTS = {
    "Functional": ("keras.src.engine.functional", "keras.src.models.functional"),
    "DepthToSpace": ("deepdeblur_tf.model",),
    "GlorotUniform": ("keras.initializers",),
    "Zeros": ("keras.initializers",),
    "Policy": ("keras.mixed_precision",),
    "DTypePolicy": ("keras",),
    "__keras_tensor__": (None,),
    **dict.fromkeys(("InputLayer", "Conv2D", "Conv2DTranspose", "Add", "Concatenate"), ("keras.layers",)),
}


def model_file(run_folder_or_keras_file) -> Path:
    """The `.keras` file of a finished run, or the file itself.

    Raises:
        FileNotFoundError: names what is missing, and for an unfinished run what there is instead.
    """
    path = Path(run_folder_or_keras_file).expanduser()
    file = Run(path).model if path.is_dir() else path
    if not file.is_file():
        best = Run(path).best
        hint = f" The run is not finished; its best network so far is {best}." if best.is_file() else ""
        missing = "no such file" if path.is_dir() or path.suffix else "no such run"
        raise FileNotFoundError(f"{file}: {missing}. Give the folder of a finished run or a .keras file.{hint}")
    return file


def run_of(run_folder_or_keras_file) -> Run | None:
    """The run folder that a network lies in; None for a file outside of one."""
    path = Path(run_folder_or_keras_file).expanduser().resolve()
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return Run(folder) if Run(folder).config.is_file() and Run(folder).logs.is_dir() else None


def load_model(run_folder_or_keras_file) -> tf.keras.Model:
    """Loads a trained network.

    Args:
        run_folder_or_keras_file: A finished run's folder, or a `.keras` file such as RUN/checkpoints/best.keras.

    Returns:
        The network, as `build_model` describes it.

    Raises:
        FileNotFoundError: names what is missing, and for an unfinished run what there is instead.
        ValueError: for a file that holds no such network.
    """
    import deepdeblur_tf.model  # noqa: F401 (registers the layers that the file names)
    from deepdeblur_tf.compat import KERAS_3, tf

    file = model_file(run_folder_or_keras_file)
    try:
        _refuse_foreign_parts(file)
        model = tf.keras.models.load_model(file, compile=False)
        if not _is_deblurring(model):
            raise ValueError("its inputs and outputs are not 1 to 3 levels of RGB images")
        return model
    except MemoryError:
        raise
    except Exception as error:  # from damaged files Keras and HDF5 raise nearly anything
        saved_by = _keras_version(file)
        if saved_by and saved_by.startswith("3") != KERAS_3:
            pythons = "3.12 or 3.13" if saved_by.startswith("3") else "3.9 to 3.11"
            raise ValueError(f"{file}: was saved by Keras {saved_by}. Load it with Python {pythons}.") from error
        raise ValueError(f"{file}: is not a network that deepdeblur_tf saved ({str(error)[:200]})") from error


def _refuse_foreign_parts(file: Path) -> None:
    """Raises ValueError for a file that names anything but the parts of a network, before Keras reads it."""

    def parts(node):
        if isinstance(node, dict):
            if "class_name" in node or "module" in node:
                yield node.get("class_name"), node.get("module")
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                yield from parts(item)

    if file.suffix != ".keras":
        # Then Keras 2 reads HDF5, and runs its code, even where a good zip file follows at its end.
        raise ValueError("its name does not end in .keras")
    with zipfile.ZipFile(file) as archive:
        for name, module in parts(json.loads(archive.read("config.json"))):
            if module not in _PARTS.get(name, ()):
                raise ValueError(f"it names {module}.{name}, which is no part of one")


def _is_deblurring(model) -> bool:
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (model.inputs, model.outputs)]
    return all(shape == [(None, None, None, 3)] * len(shapes[0]) for shape in shapes) and 1 <= len(shapes[0]) <= 3


def _keras_version(file: Path) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            return json.loads(archive.read("metadata.json"))["keras_version"]
    except Exception:  # a damaged file
        return None
