"""Networks of DeepDeblur-PyTorch, the paper's authors' own code, as networks of this package, and the reverse.

Both are one architecture (`build_model` with `pyramid="gaussian"`), and differ in how they write it down:

    theirs                                      here
    body_models.S.body.0                        levelL_head, L = S + 1: level 0 is their finest
    body_models.S.body.B.body.0, .2             levelL_blockB_conv1, _conv2, blocks from 1
    body_models.S.body.(blocks + 1)             levelL_tail
    conv_end_models.S.uppath.0                  levelS_up, from their level S to S - 1
    kernels [out, in, height, width]            [height, width, in, out]
    values 0 to 255, less 127.5                 -0.5 to 0.5: biases are divided by 255, weights stay as they are, for
                                                convolutions, ReLU, additions and concatenations scale with their input
    PixelShuffle's channels (colour, place)     depth to space has (place, colour)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deepdeblur_tf.config import Model
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.networks.archive import assign, refuse_other_shapes
from deepdeblur_tf.networks.torch_checkpoint import CheckpointError, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from deepdeblur_tf.compat import tf

# Of the 12 channels before depth to space, place by place, the colours' channels in PixelShuffle's order.
_SHUFFLED = np.arange(12).reshape(3, 4).T.ravel()
_KNOWN = ("levels", "blocks", "filters", "kernel_size", "pyramid")  # settings that may be any there; the rest are fixed
_VALUES = np.float32(255)  # theirs, in one of ours


def read_torch_network(path: Path) -> tuple[tf.keras.Model, bool]:
    """Reads a checkpoint of DeepDeblur-PyTorch. Executes nothing from the file.

    Args:
        path: The file, such as GOPRO_L1/models/model-1000.pt.

    Returns:
        (the network, whether a discriminator lies beside it, which is left out).

    Raises:
        CheckpointError: the file is damaged, asks for code to be run, or holds another network, with what differs.
    """
    tensors, others = read_checkpoint(path, _check)
    if others - {"D"}:
        raise CheckpointError(
            f"{path}: holds {', '.join(sorted(others))[:300]} beside the network; allowed are G and D."
        )
    settings = _read_off({name: tensor.shape for name, tensor in tensors.items()})
    arrays = {}
    for ours, theirs in _layers(settings).items():
        kernel, bias = tensors[f"{theirs}.weight"].transpose(2, 3, 1, 0), tensors[f"{theirs}.bias"] / _VALUES
        if ours.endswith("_up"):
            kernel, bias = kernel[..., _SHUFFLED], bias[_SHUFFLED]
        arrays.update({f"{ours}/kernel": kernel, f"{ours}/bias": bias})

    from deepdeblur_tf.model import build_model

    try:
        network = build_model(**vars(settings))
    except UserError as error:
        raise CheckpointError(f"{path}: holds a network that is not built here: {error}") from error
    assign(network, arrays)
    return network, "D" in others


def write_torch_network(network: tf.keras.Model, path: Path) -> None:
    """Writes a network as a checkpoint that DeepDeblur-PyTorch loads.

    Args:
        network: A network of `build_model` or `load_model`.
        path: The file.

    Raises:
        UserError: that code does not know such networks; the message names the setting.
    """
    from deepdeblur_tf.model import settings_of

    settings = settings_of(network)
    for name, known in vars(Model()).items():
        if name not in _KNOWN and getattr(settings, name) != known:
            raise UserError(
                f"DeepDeblur-PyTorch has no network with model.{name} {getattr(settings, name)}; it knows {known} only."
            )
    tensors = {}
    for ours, theirs in _layers(settings).items():
        kernel, bias = network.get_layer(ours).get_weights()
        if ours.endswith("_up"):
            kernel, bias = kernel[..., np.argsort(_SHUFFLED)], bias[np.argsort(_SHUFFLED)]
        tensors.update({f"{theirs}.weight": kernel.transpose(3, 2, 0, 1), f"{theirs}.bias": bias * _VALUES})
    write_checkpoint(path, tensors)


def _layers(settings: Model) -> dict[str, str]:
    """Their layers' names by ours."""
    layers = {f"level{level}_up": f"conv_end_models.{level}.uppath.0" for level in range(1, settings.levels)}
    for level in range(1, settings.levels + 1):
        body = f"body_models.{level - 1}.body"
        layers[f"level{level}_head"] = f"{body}.0"
        for block in range(1, settings.blocks + 1):
            layers[f"level{level}_block{block}_conv1"] = f"{body}.{block}.body.0"
            layers[f"level{level}_block{block}_conv2"] = f"{body}.{block}.body.2"
        layers[f"level{level}_tail"] = f"{body}.{settings.blocks + 1}"
    return layers


def _read_off(shapes: Mapping[str, tuple]) -> Model:
    """The settings of a network with tensors of such shapes; raises ValueError where they tell none."""

    def count(pattern):
        return sum(bool(re.fullmatch(pattern, name)) for name in shapes)

    first = shapes.get("body_models.0.body.0.weight", ())
    if len(first) != 4:
        raise ValueError("body_models.0.body.0.weight is missing, or no kernel: it is not the network of this paper")
    filters, _, kernel_size, _ = first
    levels = count(r"body_models\.\d+\.body\.0\.weight")
    blocks = count(r"body_models\.0\.body\.\d+\.body\.0\.weight")
    if levels * blocks > len(shapes):  # or a few names would ask for a great many layers
        raise ValueError(f"its names speak of {levels} levels of {blocks} blocks, for which it has too few tensors")
    return Model(levels=levels, blocks=blocks, filters=filters, kernel_size=kernel_size, pyramid="gaussian")


def _check(shapes: Mapping[str, tuple]) -> None:
    """Raises ValueError for shapes that are no such network's."""
    settings = _read_off(shapes)
    size, filters = settings.kernel_size, settings.filters
    wanted = {}
    for ours, theirs in _layers(settings).items():
        shape = (filters, filters, size, size)
        if ours.endswith("_head"):
            shape = (filters, 3 if ours == f"level{settings.levels}_head" else 6, size, size)
        elif ours.endswith("_tail"):
            shape = (3, filters, size, size)
        elif ours.endswith("_up"):
            shape = (12, 3, 5, 5)
        wanted.update({f"{theirs}.weight": shape, f"{theirs}.bias": shape[:1]})
    refuse_other_shapes(shapes, wanted)
