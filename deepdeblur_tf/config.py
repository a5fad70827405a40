"""Experiments: YAML files read into typed, checked settings. Loads no TensorFlow, so a wrong key answers at once.

A new setting is a line in its section's class, which gives its type and default, and one in the docstring, which
explains it: the flag, its help and the checks follow from these.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import yaml

from deepdeblur_tf.errors import UserError, did_you_mean
from deepdeblur_tf.files import user_path
from deepdeblur_tf.layouts import LAYOUTS
from deepdeblur_tf.losses import ERRORS
from deepdeblur_tf.yaml_text import MOST, load_yaml, shown

SCENES = "scenes"  # the value of data.root that stands for the embedded scenes
SCENE_SIZE = 256  # the side of an embedded scene, in pixels
DISCRIMINATOR_PATCH = 256  # the smallest side of a patch that the discriminator judges, in pixels

# Types of settings: what Python takes them for, what they allow in words, and the rule.
Name = Annotated[
    str,
    "letters, digits, '.', '_' and '-', for it names a folder",
    lambda value: re.fullmatch(r"[\w.-]+", value) and value.strip("."),
]
OwnName = Annotated[
    str,
    "a folder's name or the end of files' names, such as lq, or nothing",
    lambda value: value == "" or (re.search(r"\w", value.strip("._-")) and not re.search(r"[/\\\0]", value)),
]
Seed = Annotated[int, "a whole number from 0 to 2**32 - 1", lambda value: 0 <= value < 2**32]
# Bounds, so that a typing error neither overflows what counts steps nor fills the memory with lists.
Count = Annotated[int, "a whole number from 0, below 2**31", lambda value: 0 <= value < 2**31]
PositiveInt = Annotated[int, "a whole number above 0, below 2**31", lambda value: 0 < value < 2**31]
Listed = Annotated[int, "a whole number from 1 to 1000000", lambda value: 1 <= value <= 10**6]
Blocks = Annotated[  # building takes minutes beyond them, and a damaged file may ask for any number
    int, "a whole number from 1 to 100", lambda value: 1 <= value <= 100
]
OddInt = Annotated[int, "an odd number from 1 to 99", lambda value: 0 < value < 100 and value % 2 == 1]
Filters = Annotated[int, "a whole number above 0, up to 10000", lambda value: 0 < value <= 10_000]
MultipleOf4 = Annotated[int, "a whole number above 0, a multiple of 4", lambda value: value > 0 and value % 4 == 0]
PositiveFloat = Annotated[  # float32 holds some more
    float, "a number from 1e-30 to 1e30", lambda value: 1e-30 <= value <= 1e30
]
Border = Annotated[  # as cells of 2x2 pixels have it on each level
    int, "0 or an even number up to 64", lambda value: 0 <= value <= 64 and value % 2 == 0
]
Fraction = Annotated[float, "a number between 0 and 1", lambda value: 0 < value < 1]
RisingInts = Annotated[
    list[int],
    "a list of rising whole numbers above 0, below 2**31, such as [400, 500]",
    lambda value: value == sorted(set(value)) and all(0 < number < 2**31 for number in value),
]
Share = Annotated[float, "a number from 0 to 1", lambda value: 0 <= value <= 1]
BelowOne = Annotated[float, "a number from 0, and below 1", lambda value: 0 <= value < 1]
NonNegativeFloat = Annotated[float, "a finite number from 0 to 1e30", lambda value: 0 <= value <= 1e30]
PositiveRange = Annotated[
    list[float],
    "two numbers above 0, the second no smaller, such as [0.5, 1.5]",
    lambda value: len(value) == 2 and 0 < value[0] <= value[1] < math.inf,
]
ToneCurves = Annotated[
    list[str],
    "a list of gamma, srgb and s_curve, each once at most, such as [gamma, srgb]",
    lambda value: value and len(set(value)) == len(value) and set(value) <= {"gamma", "srgb", "s_curve"},
]
if TYPE_CHECKING:
    Layout = str
    Loss = str
else:
    Layout, Loss = Literal[("auto", *LAYOUTS, "photos")], Literal[tuple(ERRORS)]
QualityRange = Annotated[
    list[int],
    "two whole numbers from 1 to 100, the second no smaller, such as [60, 98]",
    lambda value: len(value) == 2 and 1 <= value[0] <= value[1] <= 100,
]


class ConfigError(UserError):
    """A setting that cannot be used; the message names the key, what was received and what is allowed."""


@dataclass
class Data:
    """The pairs of blurry and sharp images.

    Args:
        root: The data set's folder, or `scenes` for the embedded scenes, which need no download.
        layout: How the folder is laid out; `auto` finds out. `photos` is a folder of sharp photos, from which blurry
            ones are made while the training runs, as the section `synthesis` says; every tenth photo is validated on.
        pairs: How many pairs an epoch of `layout: photos` has; each epoch makes new ones.
        blurry: What the folder of blurry images is called in a data set of paired folders, or what their files' names
            end with, beside `sharp` for the sharp ones. Both are empty for names that are recognised: input and target,
            blur and sharp, lq and gt, A and B, and more.
        sharp: See `blurry`.
        blur: GOPRO's kind of blur: `blur` averages 8-bit values, `blur_gamma` linear light (gamma 2.2).
        patch_size: Side of the square training patches, in pixels.
        cache: Where decoded pairs are kept: `none` decodes at every use, `memory` keeps them in RAM, `disk` in
            memory-mapped files that later runs reuse (5.5 MB a 1280x720 pair; 11.6 GB for GOPRO's training set).
            `layout: photos` keeps its photos in RAM, large ones shrunk, as far as half of it reaches.
        cache_folder: The folder of `cache: disk`.
        scenes: How many training pairs of 256x256 pixels `root: scenes` makes.
        on_error: What a training image does that cannot be used (damaged, empty, transparent, below the patch's size):
            `stop` ends the training with its name, mostly before it begins; `skip` takes the next pair in its place,
            and lists it at the end.
    """

    root: str = SCENES
    layout: Layout = "auto"
    pairs: Listed = 4000
    blurry: OwnName = ""
    sharp: OwnName = ""
    blur: Literal["blur", "blur_gamma"] = "blur"
    patch_size: MultipleOf4 = 256
    cache: Literal["none", "memory", "disk"] = "none"
    cache_folder: str = "~/.cache/deepdeblur_tf"
    scenes: Listed = 400
    on_error: Literal["stop", "skip"] = "stop"

    @property
    def folder(self) -> Path | None:
        """The data set's folder; None for data without one."""
        return None if self.root == SCENES else user_path(self.root)


def kind_of(data: Data) -> str:
    """The kind of data: the module of `deepdeblur_tf.data` that finds, describes and opens it."""
    if data.root == SCENES:
        return "scenes"
    return "photos" if data.layout == "photos" else "paired_files"


@dataclass
class Synthesis:
    """How blurry images are made from sharp pictures, for `data.layout: photos` and by `synthesize`.

    Args:
        painted: The share of pictures that are painted, as the embedded scenes are, and not taken from photos.
        path: The camera's path is 1 to 1 + this many pixels long.
        turn: The camera's turn during half of the exposure, in radians: a standard deviation.
        zoom: Its growth in that time, as a fraction: a standard deviation. What is drawn beyond a quarter is a quarter.
        tilt: The perspective's change in that time, in 1 / pixels: a standard deviation; 0 takes a fifth off the time.
            No corner comes nearer than three quarters of its distance.
        objects: At most so many things move on their own.
        object_path: Their own paths are up to this many pixels long.
        unblurred: The share of pairs in which nothing moves, so that sharp photos stay as they are.
        defocus: The share of pairs whose background is out of focus in both images, so that it stays so: discs of a
            radius of 1 to 12 pixels.
        long: The share of pairs whose camera's path is 1 to 1 + `long_path` pixels long instead.
        long_path: See `long`.
        flat: The share of pairs whose background is of one colour, so that colours are kept up to the border.
        grey: The share of pairs without colours, so that grey pictures stay grey.
        linear: The share of pairs whose light is averaged; the others average 8-bit values.
        tone_curves: Between light and values, one of these for each pair whose light is averaged: `gamma` of 2.2,
            `srgb`, or `s_curve`, a gamma with the contrast raised as phones do it.
        lights: The share of these pairs with lights that are 2 to 30 times as bright as white, and so stay saturated
            along their path.
        broken: The share of pairs that are averages of 7 to 13 views only, as GOPRO's are of frames: what moves fast
            leaves broken streaks. In the others nothing moves by more than a pixel from one view to the next.
        exposure: The share of pairs whose light is multiplied by 0.25 to 1.75 before the sensor clips it.
        noise: The share of pairs with a sensor's noise in the blurry image.
        noise_strength: From and to what the noise's published variances (RSBlur) are multiplied by; drawn evenly on a
            logarithmic scale.
        white_balance: The share of noisy pairs in which red and blue, and their noise, are multiplied as a camera does.
        demosaicing: The share of noisy pairs whose noise is that of a sensor which measures one colour a pixel.
        sharpening: The share of pairs whose blurry image is sharpened, as cameras do it.
        jpeg: The share of pairs whose blurry image is compressed.
        jpeg_quality: From and to which quality.
    """

    painted: Share = 0.35
    path: NonNegativeFloat = 30.0
    turn: NonNegativeFloat = 0.012
    zoom: NonNegativeFloat = 0.006
    tilt: NonNegativeFloat = 1e-5
    objects: Count = 3
    object_path: NonNegativeFloat = 40.0
    unblurred: Share = 0.0
    defocus: Share = 0.0
    long: Share = 0.0
    long_path: NonNegativeFloat = 80.0
    flat: Share = 0.0
    grey: Share = 0.0
    linear: Share = 0.0
    tone_curves: ToneCurves = field(default_factory=lambda: ["gamma"])
    lights: Share = 0.0
    broken: Share = 0.0
    exposure: Share = 0.0
    noise: Share = 0.0
    noise_strength: PositiveRange = field(default_factory=lambda: [0.5, 1.5])
    white_balance: Share = 0.0
    demosaicing: Share = 0.0
    sharpening: Share = 0.0
    jpeg: Share = 0.0
    jpeg_quality: QualityRange = field(default_factory=lambda: [60, 98])


@dataclass
class Augmentation:
    """What else is varied in the training patches, beside the report's crops and flips.

    Args:
        turns: Whether patches are also rotated, by 0, 90, 180 or 270 degrees.
        colours: Whether brightness and colour balance are varied, of both images alike.
        sharp_input: The share of patches whose blurry image is replaced by the sharp one.
        channel_order: Whether red, green and blue change places, of both images alike.
        saturation: The share of patches whose saturation (HSV's) is multiplied by 0.5 to 1.5, of both images alike.
        noise: Gaussian noise in the blurry image. Each patch has a standard deviation of its own, which is normally
            distributed around 0 with this one, of 255.
    """

    turns: bool = False
    colours: bool = False
    sharp_input: Share = 0.0
    channel_order: bool = False
    saturation: Share = 0.0
    noise: NonNegativeFloat = 0.0


@dataclass
class Model:
    """The multi-scale network.

    Args:
        upsampling: How a level's output goes up to the next finer level: `pixel_shuffle`, a 5x5 convolution to 12
            channels and depth to space, as in the authors' code; or `transposed_conv`, 3 filters, 3x3, stride 2, as in
            the paper.
        levels: Levels of the pyramid, 1 to 3; 3 in the paper and the report.
        blocks: Residual blocks a level; 9 in the report.
        filters: Channels of each convolution of the finest level; 64 in the report, on all levels.
        kernel_size: Side of the convolutions' kernels; 5 in the report.
        global_skip: Whether each level's blurry input is added to its output, so that the network learns the
            difference, and starts as the identity; not in the report.
        shuffle_input: What the levels work on: 1 for pixels, as in the report; 2 for half their resolution, with 2x2
            pixels as channels: a quarter of the work, twice the receptive field.
        widening: How many times as many channels a coarser level has as the next finer one: 1, as in the report,
            or 2, for all levels to take about as long; long blur is undone on the coarse ones.
        pyramid: How the coarser levels are made: `matlab_bicubic` by MATLAB's `imresize`, as in the report, `gaussian`
            as in the authors' PyTorch code; the network is always used with the one that it was trained with.
        pass_features: Whether the next finer level gets, beside a coarser one's output, its channels, enlarged by a
            1x1 convolution and a pixel shuffle and added behind the first convolution (as Cho et al., ICCV 2021, pass
            them on); not in the report.
        border: Pixels by which each level's images are continued on all sides, by repeating the outermost ones, before
            its convolutions, and cut again behind them; 0, as in the report, for zeros, near which flat colours change.
    """

    upsampling: Literal["pixel_shuffle", "transposed_conv"] = "pixel_shuffle"
    levels: Literal[1, 2, 3] = 3
    blocks: Blocks = 9
    filters: Filters = 64
    kernel_size: OddInt = 5
    global_skip: bool = False
    shuffle_input: Literal[1, 2] = 1
    widening: Literal[1, 2] = 1
    pyramid: Literal["matlab_bicubic", "gaussian"] = "matlab_bicubic"
    pass_features: bool = False
    border: Border = 0

    @property
    def channels(self) -> list[int]:
        """The channels of each level, finest first."""
        return [self.filters * self.widening**level for level in range(self.levels)]


GROWING = ("blocks", "pass_features", "border")  # settings that a network may be given more of as it is trained further


@dataclass
class Decay:
    """The piecewise-constant learning rate.

    Args:
        epochs: After each of these numbers of epochs the learning rate is multiplied by `factor`.
        factor: The multiplier.
    """

    epochs: RisingInts = field(default_factory=lambda: [400, 500, 600, 700, 800, 900])
    factor: Fraction = 0.5


@dataclass
class Training:
    """How the network is trained.

    Args:
        epochs: Passes over the training pairs, one random patch of each pair a pass.
        steps: Steps of an epoch, where it shall not be a pass over the pairs, which then follow each other without
            regard to epochs; 0 for a pass.
        batch_size: Patches a step, of all devices together; several devices take equal parts of it.
        pretrained: The network that is trained further: a finished run's folder, a .keras file, or photographs, the one
            that comes with the package. Its settings must be those of `model`, which may have more blocks, and
            `pass_features`: what is added changes nothing at first; or a wider border. Empty for random weights.
        precision: What the network computes in while it trains. bfloat16 and float16 keep float32 weights, and the
            network that is validated and saved computes in float32.
        loss: What is averaged over the pixels and summed over the levels: the squared error (mse, the report's), the
            absolute one (l1), Charbonnier's, sqrt(error^2 + 0.001^2), or of each image the logarithm of
            1 + 1000 mse (log_mse), by which images count alike, and not those the most that are worst.
        adversarial: The weight of the adversarial loss, 1e-4 in the paper; a second network, the discriminator, is
            then trained to tell restored patches from sharp ones. 0 for none, as in the report.
        initialization: How the weights begin: `keras`, Glorot's uniform distribution, biases 0; or `torch`, uniformly
            within 1 / sqrt(numbers that a kernel sums), biases too, which keeps the values of many blocks small.
        schedule: How the learning rate falls: `piecewise` by `decay`, `cosine` along half a cosine to 0.
        warmup: Steps in which the cosine's learning rate first rises from 0; fewer than the training has.
        ema: The network that is validated and saved is the weights' exponential moving average, which keeps this much
            of itself at each step, such as 0.999; 0 for the weights as they are.
        optimizer: Adam, the report's, or muon, which learns as much in half the steps: Muon for kernels from a number
            of channels to as many, above all the residual blocks', and Adam for all else, with a tenth of the learning
            rate for biases.
        learning_rate: The optimizer's learning rate at the start.
        decay: When the learning rate falls, unless along a cosine.
        epsilon: Adam's epsilon; Keras's default is 1e-7, others' is 1e-8.
        clip: Gradients are clipped by value to [-clip, clip] before the optimizer; 0 for no clipping.
        checkpoint_minutes: At most so many minutes of training are lost when the process is killed.
        keep_checkpoints: How many checkpoints are kept, the newest; each is checked against its hash when it is read.
        on_nan: What a batch with a NaN or infinite loss or gradient does: `stop` ends the training before the weights
            change and names the batch's images, `skip` leaves the batch out and counts it.
        deterministic: Whether TensorFlow uses only operations that give the same bits each time. On a CPU they do so
            anyway; on a GPU this makes two equal runs equal, and slower.
    """

    epochs: Listed = 1000
    steps: Count = 0
    batch_size: PositiveInt = 2
    pretrained: str = ""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    loss: Loss = "mse"
    adversarial: NonNegativeFloat = 0.0
    initialization: Literal["keras", "torch"] = "keras"
    schedule: Literal["piecewise", "cosine"] = "piecewise"
    warmup: Count = 0
    ema: BelowOne = 0.0
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: PositiveFloat = 5e-5
    decay: Decay = field(default_factory=Decay)
    epsilon: PositiveFloat = 1e-7
    clip: NonNegativeFloat = 0.5
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
    images: Listed = 20
    samples: Count = 4


@dataclass
class Experiment:
    """One training run, whole.

    Args:
        name: The experiment's name; its run folder is runs/<name> unless --output says otherwise.
        seed: Fixes the initial weights, the order of the pairs, what is varied in them, and the pairs that are made:
            embedded scenes, and those from photos.
    """

    name: Name
    seed: Seed = 0
    data: Data = field(default_factory=Data)
    synthesis: Synthesis = field(default_factory=Synthesis)
    augmentation: Augmentation = field(default_factory=Augmentation)
    model: Model = field(default_factory=Model)
    training: Training = field(default_factory=Training)
    validation: Validation = field(default_factory=Validation)


def _sections(section: Any, prefix: str = "") -> dict[str, Any]:
    """Every section by what stands before its settings' names: {"": Experiment, "data.": Data, ...}."""
    sections = {prefix: section}
    for name, hint in get_type_hints(section).items():
        if dataclasses.is_dataclass(hint):
            sections.update(_sections(hint, f"{prefix}{name}."))
    return sections


SECTIONS = _sections(Experiment)
SETTINGS = {  # every setting's type by its dotted key
    prefix + name: hint
    for prefix, section in SECTIONS.items()
    for name, hint in get_type_hints(section, include_extras=True).items()
    if not dataclasses.is_dataclass(hint)
}

# What changes how fast or how safely a training goes, and nothing of its result.
_WITHOUT_EFFECT = ("data.cache", "data.cache_folder", "training.checkpoint_minutes", "training.keep_checkpoints")

# What is converted to each type: flags are texts, YAML 1.1 takes 1e-3 for a text and 2024 for a number.
_TAKEN: dict[Any, tuple] = {
    bool: (bool,),
    int: (int, str),
    float: (int, float, str),
    str: (int, str, os.PathLike),
    list: (list, tuple),
}


def allowed(hint: Any) -> str:
    """What a setting of this type may be, in words."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    return {bool: "true or false", str: "a text"}.get(hint) or get_args(hint)[1]


def _converted(hint: Any, value: Any) -> Any:
    """A value from YAML, Python or the command line as a setting's type."""
    if get_origin(hint) is Literal:
        if isinstance(value, (list, dict)):
            raise ValueError
        return {str(choice): choice for choice in get_args(hint)}[str(value)]
    kind, _, rule = get_args(hint) or (hint, "", lambda value: True)
    origin = get_origin(kind) or kind
    if origin in (bool, list) and isinstance(value, str):
        value = load_yaml(value)
    if not isinstance(value, _TAKEN[origin]) or (isinstance(value, bool) and kind is not bool):  # a bool is an int
        raise ValueError
    value = [_converted(get_args(kind)[0], entry) for entry in value] if origin is list else kind(value)
    if not rule(value):
        raise ValueError
    return value


def _refused(key: str, value: Any, words: str, meant: str = "") -> ConfigError:
    return ConfigError(f"{key}: received {shown(value)}; allowed: {words}.{meant}")


def unknown_setting(key: str, where: str, others: Iterable[str] = ()) -> ConfigError:
    """The error for a key, received from `where`, that is no setting and none of `others`."""
    keys = list(dict.fromkeys((*SETTINGS, *others)))
    # Also by the name alone, so that `batchsize` finds `training.batch_size` whatever stands before it.
    names = {known.rpartition(".")[2]: known for known in reversed(keys)}
    close = difflib.get_close_matches(key, keys, 1, 0.8) or [
        names[name] for name in difflib.get_close_matches(key.rpartition(".")[2], names, 1)
    ]
    meant = f" Did you mean {close[0]}?" if close else ""
    return ConfigError(f"{where}: there is no setting {key[:100]}.{meant} The settings are: {', '.join(keys)}.")


def _by_key(mapping: Mapping, where: str, prefix: str = "") -> dict[str, Any]:
    """A nested mapping's values by dotted key. Raises ConfigError for the first key that is no setting."""
    values: dict[str, Any] = {}
    for name, value in mapping.items():
        key = f"{prefix}{name}"
        if key in SETTINGS:
            found = {key: value}
        elif f"{key}." not in SECTIONS:
            raise unknown_setting(key, where)
        elif isinstance(value, Mapping):
            found = _by_key(value, where, f"{key}.")
        else:
            raise ConfigError(f"{where}: {key} is a section of settings. Received: {shown(value)}")
        for twice in values.keys() & found.keys():  # once as model: levels: and once as model.levels:
            raise ConfigError(f"{where}: {twice} is there twice.")
        values.update(found)
    return values


def _packaged() -> dict[str, Path]:
    """The experiments that come with the package, by their names."""
    package = Path(__file__).parent
    # Beside the package in a checkout, inside it in an installed wheel.
    folders = (package.parent / "experiments", package / "experiments")
    folder = next((folder for folder in folders if (folder / "quickstart.yaml").is_file()), folders[1])
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def _read(name) -> dict[str, Any]:
    """An experiment's values by dotted key."""
    packaged = _packaged()
    path = packaged.get(str(name)) or user_path(name)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(MOST + 1)
        if len(text) > MOST:
            raise ValueError("it is too large for one")
        content = load_yaml(text)
    except FileNotFoundError as error:
        close = did_you_mean(path.stem, packaged)
        names = ", ".join(packaged)
        raise ConfigError(f"{path}: no such file. Give a file, or one of the package's own: {names}.{close}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: no UTF-8, or a date such as 2024-13-01
        reason, *more = str(error).splitlines() or [type(error).__name__]
        raise ConfigError(f"cannot read the experiment file {path}: {reason}", *more) from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} holds no settings. Received: {shown(content)}; allowed: 'key: value' lines.")
    return _by_key(content, str(path))


def _set(section: Any, name: str, hint: Any, key: str, value: Any) -> None:
    try:
        setattr(section, name, _converted(hint, value))
    except (KeyError, OverflowError, ValueError, yaml.YAMLError):
        choices = map(str, get_args(hint)) if get_origin(hint) is Literal else ()
        raise _refused(key, value, allowed(hint), did_you_mean(shown(value), choices)) from None


def set_all(experiment: Experiment, values: Mapping[str, Any]) -> None:
    """Sets settings by dotted key, converted and checked each by itself. Raises ConfigError as `load_experiment`."""
    for key, value in values.items():
        *sections, name = key.split(".")
        _set(reduce(getattr, sections, experiment), name, SETTINGS[key], key, value)


def checked(model: Model) -> Model:
    """A network's settings, each converted and checked by itself in place. Raises ConfigError as `load_experiment`."""
    for name, value in vars(model).items():
        _set(model, name, SETTINGS[f"model.{name}"], name, value)
    return model


def checked_names(data: Data) -> Data:
    """Data whose `blurry` and `sharp` are checked. Raises ConfigError."""
    for name in ("blurry", "sharp"):
        _set(data, name, OwnName, f"data.{name}", getattr(data, name))
    if data.blurry.lower() == data.sharp.lower() != "" or bool(data.blurry) != bool(data.sharp):
        raise _refused("data.sharp", data.sharp, f"another name than data.blurry, {data.blurry!r}; both or neither")
    if data.blurry and kind_of(data) != "paired_files":
        raise _refused("data.blurry", data.blurry, f"nothing for {kind_of(data)}, which are no pairs on disk")
    return data


def load_experiment(yaml_path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Reads an experiment file.

    Args:
        yaml_path: The file, such as "experiments/quickstart.yaml", or the name of an experiment that comes with the
            package, such as "quickstart"; a file of that name is "./quickstart".
        overrides: Settings that win over the file, by dotted key: {"data.root": "GOPRO_Large"}. A value may also be
            given as a command line would: {"training.epochs": "4"}.

    Returns:
        The experiment, with defaults for what the file leaves out.

    Raises:
        ConfigError: names the key, what was received, what is allowed and the nearest right key.

    Example:
        >>> import deepdeblur_tf
        >>> experiment = deepdeblur_tf.load_experiment("quickstart", {"training.epochs": 2})
        >>> experiment.training.epochs, experiment.model.filters
        (2, 32)
    """
    experiment = _experiment({**_read(yaml_path), **_by_key(overrides or {}, "overrides")})
    _check_together(experiment)
    return experiment


def recorded_experiment(path: Path) -> Experiment:
    """The experiment that a run recorded. What an earlier version let pass beside other settings is no fault here.

    Raises:
        ConfigError: as `load_experiment`, but for settings that exclude each other.
    """
    return _experiment(_read(path))


def _experiment(values: Mapping[str, Any]) -> Experiment:
    experiment = Experiment(name="")
    set_all(experiment, {"name": None, **values})
    return experiment


def _check_together(experiment: Experiment) -> None:
    """Raises ConfigError for settings that exclude each other, or that would do nothing beside others."""
    data, training = experiment.data, experiment.training

    def refuse(is_wrong: Any, key: str, words: str) -> None:
        if is_wrong:
            raise _refused(key, attrgetter(key)(experiment), words)

    checked_names(data)
    if data.root == SCENES:
        refuse(data.cache == "disk", "data.cache", f"none or memory with data.root: {SCENES}, which has no files")
        refuse(data.patch_size > SCENE_SIZE, "data.patch_size", f"at most {SCENE_SIZE} with data.root: {SCENES}")
        refuse(data.layout == "photos", "data.root", "a folder of photos with data.layout: photos")
    if data.layout == "photos":
        words = "none or memory with data.layout: photos, which keeps its photos in RAM"
        refuse(data.cache == "disk", "data.cache", words)
        refuse(data.blur != "blur", "data.blur", "blur with data.layout: photos; synthesis.linear averages light")
    if training.schedule == "cosine":
        decay = Decay()
        words = "[] where training.schedule is cosine"
        refuse(training.decay.epochs not in ([], decay.epochs), "training.decay.epochs", words)
        words = f"{decay.factor}, the default, where training.schedule is cosine"
        refuse(training.decay.factor != decay.factor, "training.decay.factor", words)
    else:
        refuse(training.warmup, "training.warmup", "0 unless training.schedule is cosine")
    if training.adversarial:
        words = f"at least {DISCRIMINATOR_PATCH} with training.adversarial, whose discriminator judges so many at once"
        refuse(data.patch_size < DISCRIMINATOR_PATCH, "data.patch_size", words)
        words = "an even number with training.adversarial, for the discriminator begins with half as many"
        refuse(experiment.model.filters % 2, "model.filters", words)
        words = "float32 or bfloat16 with training.adversarial"
        refuse(training.precision == "float16", "training.precision", words)


def steps_per_epoch(training: Training, pairs: int) -> int:
    """The steps of an epoch: `training.steps`, or the full batches in one pass over the training pairs.

    The pairs left over differ from pass to pass.

    Raises:
        ConfigError: there are fewer pairs than one batch takes.
    """
    if pairs < training.batch_size:
        raise _refused("training.batch_size", training.batch_size, f"at most the number of training pairs, {pairs}")
    return training.steps or pairs // training.batch_size


def check_warmup(training: Training, steps: int) -> None:
    """Raises ConfigError for a training, of so many steps an epoch, that is over before its rate has risen."""
    if training.schedule == "cosine" and training.warmup >= training.epochs * steps:
        raise ConfigError(
            f"training.warmup: received {training.warmup}; allowed: fewer than the training's "
            f"{training.epochs * steps} steps ({training.epochs} epochs of {steps})."
        )


def to_yaml(experiment: Experiment) -> str:
    """The whole experiment as YAML, readable by `load_experiment`."""
    return yaml.safe_dump(dataclasses.asdict(experiment), sort_keys=False)


def effective_settings(experiment: Experiment) -> dict[str, Any]:
    """The settings that what is trained depends on, by dotted key."""
    return {key: attrgetter(key)(experiment) for key in SETTINGS if key not in _WITHOUT_EFFECT}
