"""Experiments: YAML files read into typed, checked settings. Loads no TensorFlow, so a wrong key answers at once."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from jsonargparse.typing import NonNegativeInt, OpenUnitInterval, PositiveFloat, PositiveInt

from deepdeblur_tf.errors import UserError

SCENES = "scenes"  # the value of data.root that stands for the embedded scenes
SCENE_SIZE = 256  # the side of an embedded scene, in pixels


class ConfigError(UserError):
    """A setting that cannot be used; the message names the key, what was received and what is allowed."""


@dataclass
class Data:
    """The pairs of blurry and sharp images.

    Args:
        root: The data set's folder, or `scenes` for the embedded scenes, which need no download.
        layout: How the folder is laid out; `auto` finds out.
        blur: GOPRO's kind of blur: `blur` averages 8-bit values, `blur_gamma` linear light (gamma 2.2).
        patch_size: Side of the square training patches, in pixels; a multiple of 4.
        cache: Where decoded images are kept: `none` decodes at every use, `memory` keeps them in RAM, `disk` in
            memory-mapped files that later runs reuse (5.5 MB a 1280x720 pair; 11.6 GB for GOPRO's training set).
        cache_folder: The folder of `cache: disk`.
        scenes: How many training pairs of 256x256 pixels `root: scenes` makes.
        on_error: What a training image does that fails to decode: `stop` ends the training with its name, `skip` takes
            the next pair in its place, and lists it at the end. Headers are checked at the start in either case.
    """

    root: str = SCENES
    layout: Literal["auto", "gopro", "reds", "paired"] = "auto"
    blur: Literal["blur", "blur_gamma"] = "blur"
    patch_size: PositiveInt = 256
    cache: Literal["none", "memory", "disk"] = "none"
    cache_folder: str = "~/.cache/deepdeblur_tf"
    scenes: PositiveInt = 400
    on_error: Literal["stop", "skip"] = "stop"


@dataclass
class Model:
    """The multi-scale network.

    Args:
        upsampling: How a level's output goes up to the next finer level.
        levels: Levels of the pyramid, 1 to 3; 3 in the paper and the report.
        blocks: Residual blocks a level; 9 in the report.
        filters: Feature maps of each convolution; 64 in the report.
        kernel_size: Side of the convolutions' kernels, an odd number; 5 in the report.
        global_skip: Whether each level's blurry input is added to its output; not in the report.
    """

    upsampling: Literal["pixel_shuffle", "transposed_conv"] = "pixel_shuffle"
    levels: Literal[1, 2, 3] = 3
    blocks: PositiveInt = 9
    filters: PositiveInt = 64
    kernel_size: PositiveInt = 5
    global_skip: bool = False


@dataclass
class Decay:
    """The piecewise-constant learning rate.

    Args:
        epochs: After each of these numbers of epochs the learning rate is multiplied by `factor`; rising.
        factor: The multiplier.
    """

    epochs: list[int] = field(default_factory=lambda: [400, 500, 600, 700, 800, 900])
    factor: OpenUnitInterval = 0.5


@dataclass
class Training:
    """How the network is trained.

    Args:
        epochs: Passes over the training pairs, one random patch of each pair a pass.
        batch_size: Patches a step.
        learning_rate: Adam's learning rate at the start.
        decay: When the learning rate falls.
        clip: Gradients are clipped by value to [-clip, clip] before Adam.
        checkpoint_minutes: At most so many minutes of training are lost when the process is killed.
        keep_checkpoints: How many checkpoints are kept, the newest; each is checked against its hash when it is read.
        on_nan: What a batch with a NaN or infinite loss or gradient does: `stop` ends the training before the weights
            change and names the batch's images, `skip` leaves the batch out and counts it.
        deterministic: Whether TensorFlow uses only operations that give the same bits each time. On a CPU they do so
            anyway; on a GPU this makes two equal runs equal, and slower.
    """

    epochs: PositiveInt = 1000
    batch_size: PositiveInt = 2
    learning_rate: PositiveFloat = 5e-5
    decay: Decay = field(default_factory=Decay)
    clip: PositiveFloat = 0.5
    checkpoint_minutes: PositiveFloat = 10
    keep_checkpoints: PositiveInt = 3
    on_nan: Literal["stop", "skip"] = "stop"
    deterministic: bool = False


@dataclass
class Validation:
    """The validation during training, on whole images.

    Args:
        every: Epochs from one validation to the next; the last epoch is always validated.
        images: How many images of the validation set are measured, evenly spread over it.
        samples: How many of them are shown as pictures, blurry, restored and sharp; 0 for none.
    """

    every: PositiveInt = 10
    images: PositiveInt = 20
    samples: NonNegativeInt = 4


@dataclass
class Experiment:
    """One training run, whole.

    Args:
        name: The experiment's name; its run folder is runs/<name> unless --output says otherwise.
        seed: Fixes the initial weights, the order of the pairs, the crops, the flips and the embedded scenes.
    """

    name: str
    seed: NonNegativeInt = 0
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    validation: Validation = field(default_factory=Validation)


def _leaves(kind: type, prefix: str = "") -> dict[str, Any]:
    """Every setting's dotted key with its type."""
    leaves = {}
    for key, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            leaves.update(_leaves(hint, f"{prefix}{key}."))
        else:
            leaves[prefix + key] = hint
    return leaves


SETTINGS = _leaves(Experiment)

# What changes how fast or how safely a training goes, and nothing of its result.
_WITHOUT_EFFECT = ("data.cache", "data.cache_folder", "training.checkpoint_minutes", "training.keep_checkpoints")

_ALLOWED = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    OpenUnitInterval: "a number between 0 and 1",
    PositiveFloat: "a number above 0",
    PositiveInt: "a whole number above 0",
    NonNegativeInt: "a whole number, 0 or above",
}


def _allowed(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is list:
        return f"a list such as [400, 500], each entry {_allowed(get_args(hint)[0])}"
    return _ALLOWED[hint]


def _nearest(key: str) -> str:
    close = difflib.get_close_matches(key, SETTINGS, 1, cutoff=0.8)
    if not close:
        # By the last part, so that `batchsize` finds `training.batch_size` whatever stands before it.
        last_parts: dict[str, str] = {}
        for known in SETTINGS:
            last_parts.setdefault(known.rpartition(".")[2], known)
        close = [last_parts[part] for part in difflib.get_close_matches(key.rpartition(".")[2], last_parts, 1)]
    return f" Did you mean {close[0]}?" if close else ""


def _unknown(key: str, where: str) -> ConfigError:
    return ConfigError(f"{where}: there is no setting {key}.{_nearest(key)} The settings are: {', '.join(SETTINGS)}.")


def _check_keys(mapping: Any, where: str, prefix: str = "") -> None:
    """Raises ConfigError for the first key of a nested mapping that is no setting."""
    sections = {key.rpartition(".")[0] for key in SETTINGS}
    for key, value in mapping.items():
        full = f"{prefix}{key}"
        if full in sections:
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}: {full} is a section of settings. Received: {value!r}")
            _check_keys(value, where, f"{full}.")
        elif full not in SETTINGS:
            raise _unknown(full, where)


def _check_file(path: str) -> None:
    """Raises ConfigError for an experiment file that cannot be read or has a key that is no setting."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the experiment file {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} holds no settings. Received: {content!r}; allowed: 'key: value' lines.")
    _check_keys(content, path)


def _check_values(experiment: Experiment) -> None:
    """The rules that join several settings, or that a type cannot say."""

    def refuse(key, value, allowed):
        raise ConfigError(f"{key}: received {value!r}; allowed: {allowed}.")

    model, data, decay = experiment.model, experiment.data, experiment.training.decay
    if not re.fullmatch(r"[\w.-]+", experiment.name):
        refuse("name", experiment.name, "letters, digits, '.', '_' and '-', for it names a folder")
    if experiment.seed >= 2**32:
        refuse("seed", experiment.seed, "a whole number below 2**32")
    if model.kernel_size % 2 == 0:
        refuse("model.kernel_size", model.kernel_size, "an odd number, so that the kernel has a centre")
    if data.root == SCENES and data.cache == "disk":
        refuse("data.cache", data.cache, f"none or memory with data.root: {SCENES}, which has no files")
    if data.patch_size % 4:
        refuse("data.patch_size", data.patch_size, "a multiple of 4")
    if data.root == SCENES and data.patch_size > SCENE_SIZE:
        refuse("data.patch_size", data.patch_size, f"at most {SCENE_SIZE} with data.root: {SCENES}")
    for key in ("learning_rate", "clip", "checkpoint_minutes"):
        if not math.isfinite(getattr(experiment.training, key)):
            refuse(f"training.{key}", getattr(experiment.training, key), "a finite number above 0")
    if decay.epochs != sorted(set(decay.epochs)) or min(decay.epochs, default=1) < 1:
        refuse("training.decay.epochs", decay.epochs, "rising whole numbers above 0")


def experiment_parser(**options: Any) -> ArgumentParser:
    """A command-line parser that knows every setting as a dotted flag, and --config.

    Args:
        **options: What `argparse.ArgumentParser` takes: prog, description.
    """
    parser = ArgumentParser(exit_on_error=False, **options)
    parser.add_argument("--config", action="config", metavar="FILE", help="An experiment file. Flags win over it.")
    parser.add_class_arguments(Experiment)
    return parser


def parse_experiment(parser: ArgumentParser, arguments: Sequence[str]) -> tuple[Experiment, Any]:
    """Reads a command line with the parser of `experiment_parser`.

    Args:
        parser: The parser; a command may have added flags of its own.
        arguments: The command line's words, without the program.

    Returns:
        The experiment, and the namespace with the command's own flags.

    Raises:
        ConfigError: names the key, what was received, what is allowed and the nearest right key.
    """
    arguments = _config_first(arguments)
    words = [word for argument in arguments for word in argument.split("=", 1)] + [""]
    flags = {flag for action in parser._actions for flag in action.option_strings}
    for word, value in zip(words, words[1:]):
        if word == "--config":
            _check_file(value)
        elif word.startswith("--") and word not in flags:
            raise _unknown(word[2:], "command line")
    try:
        namespace = parser.parse_args(arguments)
    except ArgumentError as error:
        raise _explained(str(error)) from error
    values = parser.instantiate(namespace)
    experiment = _plain(Experiment(**{f.name: values[f.name] for f in dataclasses.fields(Experiment)}))
    _check_values(experiment)
    return experiment, namespace


def _config_first(arguments: Sequence[str]) -> list[str]:
    """The words with --config in front: a flag wins over the file wherever it stands."""
    config, rest, words = [], [], iter(arguments)
    for word in words:
        if word.split("=", 1)[0] != "--config":
            rest.append(word)
        else:
            config += [word] if "=" in word else [word, *itertools.islice(words, 1)]
    return config + rest


def _plain(value: Any) -> Any:
    """jsonargparse's bounded number types to Python's own, for YAML writes no others."""
    if dataclasses.is_dataclass(value):
        return dataclasses.replace(value, **{f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)})
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if isinstance(value, int) else float(value)
    return value


def _explained(message: str) -> ConfigError:
    """jsonargparse's word on a wrong value, in ours where it names a setting."""
    if "required: name" in message:
        return ConfigError(f"name: received nothing; allowed: {_allowed(SETTINGS['name'])} that names the experiment.")
    found = re.search(r'key "([\w.]+)":\s*(.*)', message, re.S)
    if not found or found[1] not in SETTINGS:
        return ConfigError(message)
    key, reason = found.groups()
    value = re.search(r".*(?:Got value: |base 10: |to float: |Not of type \w+: )(.+?)(?: does not conform.*)?$", reason)
    if not value:
        return ConfigError(message)
    received = value[1].strip("'")
    hint = SETTINGS[key]
    close = difflib.get_close_matches(received, map(str, get_args(hint)), 1) if get_origin(hint) is Literal else []
    meant = f" Did you mean {close[0]}?" if close else ""
    return ConfigError(f"{key}: received {received!r}; allowed: {_allowed(hint)}.{meant}")


def load_experiment(yaml_path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Reads an experiment file.

    Args:
        yaml_path: The file, such as "experiments/quickstart.yaml".
        overrides: Settings that win over the file, by dotted key: {"data.root": "GOPRO_Large"}.

    Returns:
        The experiment, with defaults for what the file leaves out.

    Raises:
        ConfigError: names the key, what was received, what is allowed and the nearest right key.
    """
    flags = [
        f"--{key}={os.fspath(value) if isinstance(value, (str, os.PathLike)) else json.dumps(value)}"
        for key, value in (overrides or {}).items()
    ]
    return parse_experiment(experiment_parser(), ["--config", os.fspath(yaml_path), *flags])[0]


def steps_per_epoch(training: Training, pairs: int) -> int:
    """Full batches in one pass over the training pairs. The pairs left over differ from epoch to epoch.

    Raises:
        ConfigError: there are fewer pairs than one batch takes.
    """
    if pairs < training.batch_size:
        raise ConfigError(
            f"training.batch_size: received {training.batch_size}; allowed: at most the number of training pairs, "
            f"{pairs}."
        )
    return pairs // training.batch_size


def to_yaml(experiment: Experiment) -> str:
    """The whole experiment as YAML, readable by `load_experiment`."""
    return yaml.safe_dump(dataclasses.asdict(experiment), sort_keys=False)


def differences(one: Experiment, other: Experiment) -> list[str]:
    """The settings in which two experiments differ in what they train, a line each: "training.epochs: 10 / 20"."""

    def value(experiment, key):
        for part in key.split("."):
            experiment = getattr(experiment, part)
        return experiment

    pairs = ((key, value(one, key), value(other, key)) for key in SETTINGS if key not in _WITHOUT_EFFECT)
    return [f"{key}: {a!r} / {b!r}" for key, a, b in pairs if a != b]
