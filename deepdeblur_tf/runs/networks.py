"""A trained network's file: where it lies, writing it and reading it. Loads no TensorFlow at import.

A network is settings and arrays, not a program. Its file is a Keras archive, a zip file of

    config.json             the layers, in Keras's words
    model.weights.h5        their arrays, in groups that Keras names by class and counter: layers/conv2d_1/vars/0
    deepdeblur_tf.json      the settings of `build_model`; older files lack it

so that Keras can read it too, on the stack that wrote it. `load_model` reads it without Keras, on either stack: it
builds the network from the settings and assigns the arrays. Nothing of a file is executed, and whatever it claims, it
takes no more memory than its own size justifies.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from deepdeblur_tf.config import ConfigError, Experiment, Model
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.runs.folder import Run

if TYPE_CHECKING:
    from deepdeblur_tf.compat import tf

SETTINGS_FILE = "deepdeblur_tf.json"
FORMAT = 1  # of deepdeblur_tf.json; a reader refuses higher ones

# The networks that come with the package, each NAME.keras with its card NAME.md.
TRAINED = Path(__file__).parents[1] / "trained"

_GROWING = ("blocks", "pass_features")  # settings that a network may be given more of as it is trained further
_MOST_JSON = 4_000_000  # bytes; the largest network that `build_model` builds takes a third of it
_GROUPS = {"Conv2D": "conv2d", "Conv2DTranspose": "conv2d_transpose"}  # the layers with arrays, as Keras names groups
_ARRAYS = ("kernel", "bias")  # of each, in Keras's order


class NetworkError(UserError):
    """A network that is not there or cannot be loaded; the message names the file and says why."""


def _path(model) -> Path:
    """Where a MODEL lies: a name stands for the network that comes with the package, whatever the folder holds."""
    trained = TRAINED / f"{model}.keras"
    return trained if Path(str(model)).name == str(model) and trained.is_file() else Path(model).expanduser()


def model_file(model) -> Path:
    """The file of a network, from what a command's MODEL or `load_model` may be given.

    Another kind of MODEL belongs here: all commands ask this function, and go on with the file.

    Args:
        model: The folder of a finished run, a `.keras` file such as RUN/checkpoints/best.keras, or photographs, the
            network that comes with the package; a folder of that name is ./photographs.

    Raises:
        NetworkError: names what is missing, and for an unfinished run what there is instead.
    """
    path = _path(model)
    file = Run(path).model if path.is_dir() else path
    if not file.is_file():
        best = Run(path).best
        hint = f" The run is not finished; its best network so far is {best}." if best.is_file() else ""
        missing = "no such file" if path.is_dir() or path.suffix else "no such run"
        raise NetworkError(
            f"{file}: {missing}. Give the folder of a finished run, a .keras file, or photographs, the network that "
            f"comes with the package.{hint}"
        )
    return file


def run_of(model) -> Run | None:
    """The run folder that a network lies in; None for a file outside of one. `model` is as `model_file` has it."""
    path = _path(model).resolve()
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return Run(folder) if Run(folder).config.is_file() and Run(folder).logs.is_dir() else None


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
        settings, arrays = _read(opened)
        network = build_model(**settings)
        assign(network, arrays)
    return network


def pretrained_arrays(experiment: Experiment) -> dict[str, np.ndarray]:
    """The arrays of the network that an experiment trains further, `training.pretrained`, as `begin_with` takes them.

    Raises:
        NetworkError: there is no such network, or it is damaged.
        ConfigError: it is another network than the experiment's.
    """
    pretrained = experiment.training.pretrained
    file = model_file(pretrained)
    with open(file, "rb") as opened, _unloadable(file):
        settings, arrays = _read(opened)
    wanted = vars(experiment.model)
    other = [
        f"model.{key}: {settings[key]} / {wanted[key]}"
        for key in wanted
        if settings[key] != wanted[key] and not (key in _GROWING and settings[key] < wanted[key])
    ]
    if other:
        raise ConfigError(
            f"training.pretrained: {pretrained} is another network than this experiment's. What differs (there / "
            f"here): {', '.join(other)}. Give the experiment the network's settings; it may have more blocks, and "
            "pass_features."
        )
    return arrays


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


def _read(opened) -> tuple[dict, dict]:
    """A network's settings and its arrays, {"level1_head/kernel": [5, 5, 3, 64], ...}, from its opened file.

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
            settings = _checked(json.loads(archive.read(SETTINGS_FILE)))
        else:
            settings = _read_off(config)
        arrays = _read_arrays(archive.read("model.weights.h5"), config["layers"])
    # Before anything is built: most of a network is these kernels, and so are its memory and the time to build it.
    side = settings["kernel_size"]
    maps = {settings["filters"] * settings["widening"] ** level for level in range(min(3, settings["levels"]))}
    shapes = [(side, side, count, count) for count in maps]
    held = sum(array.shape in shapes for array in arrays.values())
    wanted = 2 * settings["levels"] * settings["blocks"]
    if held < wanted:
        raise ValueError(f"it holds {held} of the {wanted} kernels of its residual blocks")
    return settings, arrays


def _checked(content: dict) -> dict:
    """The settings in a deepdeblur_tf.json, with defaults for those that came after it was written."""
    settings, known = content["settings"], vars(Model())
    if content["format"] > FORMAT or not settings.keys() <= known.keys():
        raise ValueError("it was made by a later version of deepdeblur_tf")
    for key, value in settings.items():
        if type(value) is not type(known[key]):
            raise ValueError(f"its {key} is {value!r}")
    return {**known, **settings}


def network_settings(network: tf.keras.Model) -> Model:
    """A network's settings. One that Keras itself has read keeps none, but its levels and its pyramid are right."""
    told = {"levels": len(network.inputs), "pyramid": _pyramid_of(network.name)}
    return getattr(network, "settings", None) or Model(**{**vars(Model()), **told})


def _pyramid_of(name: str) -> str:
    """The pyramid of a network by its name in Keras."""
    return "gaussian" if name == "deepdeblur_gaussian" else "matlab_bicubic"


def _read_off(config: dict) -> dict:
    """The settings of a file without deepdeblur_tf.json, from the name and the layers in its config.json."""
    kinds = {layer["class_name"] for layer in config["layers"]}
    configs = {layer["config"]["name"]: layer["config"] for layer in config["layers"]}
    if "level1_head" not in configs:
        raise ValueError("it holds another network")
    filters = configs["level1_head"]["filters"]
    return {
        **vars(Model()),
        "upsampling": "transposed_conv" if "Conv2DTranspose" in kinds else "pixel_shuffle",
        "levels": sum(name.startswith("blurry_") for name in configs),
        "blocks": sum(bool(re.fullmatch(r"level1_block\d+_add", name)) for name in configs),
        "filters": filters,
        "kernel_size": configs["level1_head"]["kernel_size"][0],
        "global_skip": "level1_global_skip" in configs,
        "shuffle_input": 2 if "level1_space_to_depth" in configs else 1,
        "pass_features": "level1_features" in configs,
        "widening": configs.get("level2_head", {"filters": filters})["filters"] // filters,
        "pyramid": _pyramid_of(config["name"]),
    }


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
                arrays[names.get(path, path)] = array[()]
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


def begin_with(network: tf.keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Puts the arrays of a network into it, or into one that has more blocks or passes features.

    What is added changes nothing at first: the second convolutions of further blocks, and what passes features, are
    zeros.

    Raises:
        ValueError: as `assign`.
    """
    added = {}
    for layer in network.layers:
        for name, variable in zip(_ARRAYS, layer.weights):
            is_last = layer.name.endswith(("_conv2", "_features"))
            added[f"{layer.name}/{name}"] = np.zeros(variable.shape, np.float32) if is_last else variable.numpy()
    assign(network, {**added, **arrays})


def refuse_other_shapes(held: Mapping[str, tuple], wanted: Mapping[str, tuple]) -> None:
    """Raises ValueError where a file's arrays are not a network's, and names what differs."""
    wrong = [f"{name} is missing" for name in wanted.keys() - held.keys()]
    wrong += [f"{name} is not the network's" for name in held.keys() - wanted.keys()]
    wrong += [
        f"{name} has the shape {held[name]} and not {shape}"
        for name, shape in wanted.items()
        if name in held and held[name] != shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError("; ".join(sorted(wrong)[:3]) + more)
