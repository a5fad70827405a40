"""Counts units that never learn again: python -m experiments.benchmarks.dead_units MODEL PHOTOS [--revive FILE]

A residual block's first convolution ends in a ReLU. Where one of its channels is 0 everywhere, no gradient comes
through.
Shown is for each block how many channels are above 0 in less than 0.2 % of the pixels of 64 training pairs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from deepdeblur_tf import load_model
from deepdeblur_tf.command_line import answered
from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import load_experiment
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.model import settings_of, to_levels
from deepdeblur_tf.networks.archive import save_network

PAIRS = 64
RARE = 0.002


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="A run's folder, a .keras file, or photographs.")
    parser.add_argument("photos", metavar="PHOTOS", help="The folder of sharp photos.")
    parser.add_argument(
        "--revive", metavar="FILE", type=Path, help="Where to save the network with those units begun anew."
    )
    flags = parser.parse_args()
    if flags.revive and (flags.revive.exists() or flags.revive.suffix != ".keras"):
        parser.error(f"--revive {flags.revive}: give a new file, whose name ends in .keras.")
    return answered(lambda: count(flags), "stopped")


def count(flags) -> int:
    network = load_model(flags.model)
    train, _ = find_data(load_experiment("experiments/photographs.yaml", {"data.root": flags.photos})).open()
    blurry = np.stack([train.read(index)[..., :3] for index in range(PAIRS)])
    settings = settings_of(network)
    firsts = [layer for layer in network.layers if layer.name.endswith("_conv1")]
    probe = tf.keras.Model(network.inputs, [layer.output for layer in firsts])
    random = np.random.default_rng(0)
    print("| block | channels | dead |\n|---|---|---|")
    for first, outputs in zip(firsts, probe(to_levels(blurry, settings.levels, settings.pyramid))):
        is_dead = (np.asarray(outputs) > 0).mean(axis=(0, 1, 2)) < RARE
        name = first.name.removesuffix("_conv1")
        print(f"| {name} | {len(is_dead)} | {is_dead.sum()} |")
        if flags.revive:
            revive(first, network.get_layer(f"{name}_conv2"), is_dead, random)
    if flags.revive:
        save_network(network, flags.revive)
    return 0


def revive(first, second, is_dead: np.ndarray, random: np.random.Generator) -> None:
    """Gives dead channels Glorot's random kernels again; the second convolution ignores them at first."""
    kernel, bias = first.get_weights()
    rest, rest_bias = second.get_weights()
    limit = np.sqrt(6 / (np.prod(kernel.shape[:2]) * sum(kernel.shape[2:])))
    kernel[..., is_dead] = random.uniform(-limit, limit, kernel[..., is_dead].shape)
    bias[is_dead] = 0
    rest[:, :, is_dead] = 0
    first.set_weights([kernel, bias])
    second.set_weights([rest, rest_bias])


if __name__ == "__main__":
    sys.exit(main())
