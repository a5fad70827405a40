"""A trained network's file: writing it and reading it. Loads no TensorFlow at import.

A network is settings and arrays, not a program. Its file is a Keras archive, a zip file of

    config.json             the layers and what connects them, in Keras's words
    model.weights.h5        their arrays, in groups that Keras names by class and counter: layers/conv2d_1/vars/0
    deepdeblur_tf.json      the settings of `build_model`; older files lack it

so that Keras can read it too, on the stack that wrote it. `load_model` reads it without Keras, on either stack: it
builds the network from the settings, assigns the arrays, and compares its layers with those of config.json, for a later
version of `model` may build others. Nothing of a file is executed, and whatever it claims, it takes no more memory than
its own size justifies.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from deepdeblur_tf.config import GROWING, ConfigError, Experiment, Model, checked
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.networks.graph import graph_differences
from deepdeblur_tf.networks.location import NetworkError, model_file

if TYPE_CHECKING:
    from deepdeblur_tf.compat import tf

SETTINGS_FILE = "deepdeblur_tf.json"
FORMAT = 1  # of deepdeblur_tf.json; a reader refuses higher ones

_MOST_JSON = 4_000_000  # bytes; the largest network that `build_model` builds takes a third of it
_GROUPS = {"Conv2D": "conv2d", "Conv2DTranspose": "conv2d_transpose"}  # the layers with arrays, as Keras names groups
_ARRAYS = ("kernel", "bias")  # of each, in Keras's order


def save_network(network: tf.keras.Model, path) -> None:
    """Writes a network's file, whole or not at all.

    Args:
        network: A network of `build_model` or `load_model`.
        path: The file; its name ends in .keras.
    """
    if Path(path).suffix != ".keras":  # Keras takes the suffix for the format
        raise ValueError(f"a network's file ends in .keras. Received: path={str(path)!r}")
    content = json.dumps({"format": FORMAT, "settings": vars(network.settings)})

    def write(beside):
        network.save(beside)
        with zipfile.ZipFile(beside, "a") as archive:
            archive.writestr(SETTINGS_FILE, content)

    write_whole(Path(path), write)


def load_model(run_folder_or_keras_file) -> tf.keras.Model:
    """Loads a trained network, whichever stack it was trained on. Executes nothing from the file.

    Args:
        run_folder_or_keras_file: A finished run's folder, a `.keras` file such as RUN/checkpoints/best.keras, or
            "photographs", the network that comes with the package.

    Returns:
        The network, as `build_model` describes it. It computes in the precision that Keras is set to.

    Raises:
        NetworkError: there is no such file or finished run, or the file is damaged or holds no such network.

    Example:
        >>> import deepdeblur_tf
        >>> deepdeblur_tf.build_model(blocks=1, filters=4).save("model.keras")
        >>> deepdeblur_tf.load_model("model.keras").count_params()
        6669
    """
    from deepdeblur_tf.model import build_model

    file = model_file(run_folder_or_keras_file)
    with open(file, "rb") as opened, _unloadable(file):
        settings, arrays, graph = _read(opened)
        network = build_model(**vars(settings))
        assign(network, arrays)
        _refuse(
            "its layers are not those of this version. What differs (there / here)", graph_differences(graph, network)
        )
    return network


def check_pretrained(experiment: Experiment) -> None:
    """Checks the network that an experiment trains further, `training.pretrained`.

    Raises:
        NetworkError: there is no such network, or it is damaged.
        ConfigError: it is another network than the experiment's.
    """
    pretrained = experiment.training.pretrained
    file = model_file(pretrained)
    with open(file, "rb") as opened, _unloadable(file):
        settings, _, _ = _read(opened)
    held, wanted = vars(settings), vars(experiment.model)
    other = [
        f"model.{key}: {held[key]} / {wanted[key]}"
        for key in wanted
        if held[key] != wanted[key] and not (key in GROWING and held[key] < wanted[key])
    ]
    if other:
        raise ConfigError(
            f"training.pretrained: {pretrained} is another network than this experiment's. What differs (there / "
            f"here): {', '.join(other)}. Give the experiment the network's settings; it may have more blocks, "
            "pass_features, and a wider border."
        )


@contextlib.contextmanager
def _unloadable(file: Path):
    """Raises NetworkError, with the reason, for whatever goes wrong with a network's file."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # zipfile, json and HDF5 raise nearly anything for damaged files
        raise NetworkError(
            f"{file}: is not a network that this version of deepdeblur_tf can load: {str(error)[:300]}"
        ) from error


def _read(opened) -> tuple[Model, dict, dict]:
    """A network's settings, arrays, {"level1_head/kernel": [5, 5, 3, 64], ...}, and layers, from its opened file.

    Raises:
        Exception: of nearly any kind, for a file that is no network's.
    """
    size = os.fstat(opened.fileno()).st_size
    with zipfile.ZipFile(opened) as archive:
        for entry in archive.infolist():  # Keras compresses nothing, so that a small file cannot unpack to a large one
            if entry.compress_type != zipfile.ZIP_STORED or not entry.compress_size == entry.file_size <= size:
                raise ValueError(f"its {entry.filename} is compressed")
            if entry.filename.endswith(".json") and entry.file_size > _MOST_JSON:
                raise ValueError(f"its {entry.filename} is too large")
        config = json.loads(archive.read("config.json"))["config"]
        if SETTINGS_FILE in archive.namelist():
            settings = _recorded(json.loads(archive.read(SETTINGS_FILE)))
        else:
            from deepdeblur_tf.model import settings_of_layers

            settings = settings_of_layers(config)
        arrays = _read_arrays(archive.read("model.weights.h5"), config["layers"])
    # Before anything is built: most of a network is these kernels, and so are its memory and the time to build it.
    checked(settings)
    shapes = [(settings.kernel_size, settings.kernel_size, count, count) for count in settings.channels]
    held = sum(array.shape in shapes for array in arrays.values())
    wanted = 2 * settings.levels * settings.blocks
    if held < wanted:
        raise ValueError(f"it holds {held} of the {wanted} kernels of its residual blocks")
    return settings, arrays, config


def _recorded(content: dict) -> Model:
    """The settings in a deepdeblur_tf.json, with defaults for those that came after it was written."""
    settings, known = content["settings"], vars(Model())
    if content["format"] > FORMAT or not settings.keys() <= known.keys():
        raise ValueError("it was made by a later version of deepdeblur_tf")
    for key, value in settings.items():
        if type(value) is not type(known[key]):
            raise ValueError(f"its {key} is {value!r}")
    return Model(**settings)


def _read_arrays(content: bytes, layers: list) -> dict:
    """The arrays of a model.weights.h5, by their layers' names; those of no layer by their names in the file."""
    names: dict[str, str] = {}
    counts: collections.Counter[str] = collections.Counter()
    for layer in layers:
        group = _GROUPS.get(layer["class_name"])
        if group:
            number = f"_{counts[group]}" if counts[group] else ""  # conv2d, conv2d_1, conv2d_2, ...
            counts[group] += 1
            for index, array in enumerate(_ARRAYS):
                names[f"layers/{group}{number}/vars/{index}"] = f"{layer['config']['name']}/{array}"
    arrays, room = {}, len(content)
    with h5py.File(io.BytesIO(content), "r") as file:
        groups = _member(file, "layers")
        for group in groups:
            variables = _member(_member(groups, group), "vars")
            for index in variables:
                array = _member(variables, index)
                path = f"layers/{group}/vars/{index}"
                if array.dtype.kind != "f" or array.chunks or array.external or array.is_virtual:
                    raise ValueError(f"its {path} is no plain array of floating-point numbers")
                room -= array.nbytes
                if room < 0:
                    raise ValueError(f"its {path} claims to be larger than the file")
                name = names.get(path, path)
                with np.errstate(over="ignore"):
                    arrays[name] = np.asarray(array[()], np.float32)
                if not np.isfinite(arrays[name]).all():
                    raise ValueError(f"its {name} holds NaN or infinity, as after a training that went astray")
    return arrays


def _member(group: h5py.Group, name: str):
    """A group's or an array's object in an HDF5 group; a link, which may lead to another file, is not followed."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"its {name} is missing or a link")
    return group[name]


def assign(network: tf.keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts arrays into a network, {"level1_head/kernel": [5, 5, 3, 64], ...}.

    Raises:
        ValueError: they are not the ones that it has; none is assigned.
    """
    variables = {
        f"{layer.name}/{name}": variable for layer in network.layers for name, variable in zip(_ARRAYS, layer.weights)
    }
    refuse_other_shapes(
        {name: array.shape for name, array in arrays.items()},
        {name: tuple(variable.shape) for name, variable in variables.items()},
    )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def refuse_other_shapes(held: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> None:
    """Raises ValueError where a file's arrays are not a network's, and names what differs."""
    wrong = [f"{name} is missing" for name in wanted.keys() - held.keys()]
    wrong += [f"{name} is not the network's" for name in held.keys() - wanted.keys()]
    wrong += [
        f"{name} has the shape {held[name]} and not {shape}"
        for name, shape in wanted.items()
        if name in held and held[name] != shape
    ]
    _refuse("", sorted(wrong))


def _refuse(reason: str, wrong: Sequence[str]) -> None:
    """Raises ValueError with the first of what is wrong, where anything is."""
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{reason}: " * bool(reason) + "; ".join(wrong[:3]) + more)
