"""The authors' PyTorch weights: python -m deepdeblur_tf.import_torch CHECKPOINT OUT [--reverse]

Turns a checkpoint of DeepDeblur-PyTorch into a network of this package, or a network into such a checkpoint. Needs no
PyTorch and runs nothing from the file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepdeblur_tf.command_line import answered
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import user_path
from deepdeblur_tf.networks.location import model_file
from deepdeblur_tf.terminal import shown_name


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Reads a checkpoint of DeepDeblur-PyTorch (github.com/SeungjunNah/DeepDeblur-PyTorch), such as "
        "GOPRO_L1/models/model-1000.pt, and writes the same network as a .keras file, which every other command takes. "
        "Needs no PyTorch, and runs nothing from the file.",
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="The .pt file; with --reverse a finished run's folder or a .keras file.",
    )
    parser.add_argument("output", metavar="OUT", help="The .keras file to write; with --reverse the .pt file.")
    parser.add_argument(
        "--reverse",
        action="store_true",
        help="Write a checkpoint for DeepDeblur-PyTorch from a network of this package.",
    )
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.import_torch") -> int:
    """The command; returns the exit status: 0, 2 for a file that cannot be used, 130 when stopped."""
    flags = _parser(prog).parse_args(arguments)
    return answered(lambda: _convert(flags), "stopped. Nothing was written.")


def _convert(flags) -> int:
    output = user_path(flags.output)
    if output.exists():
        raise UserError(f"{output}: is there already. Give another name, or remove it.")
    if (output.suffix == ".keras") == flags.reverse:
        raise UserError(
            f"OUT: received {flags.output}; allowed: a name that ends in {'.pt' if flags.reverse else '.keras'}."
        )
    if flags.reverse:
        return _export(model_file(flags.checkpoint), output)
    checkpoint = user_path(flags.checkpoint)
    if not checkpoint.is_file():
        raise UserError(f"{checkpoint}: no such file. Give a .pt file.")

    from deepdeblur_tf.networks.archive import save_network
    from deepdeblur_tf.networks.torch_networks import read_torch_network

    network, has_discriminator = read_torch_network(checkpoint)
    save_network(network, output)
    if has_discriminator:
        print("left out: D, the discriminator of an adversarial training, which restores nothing")
    print(f"network: {shown_name(output)}, {_described(network)}")
    return 0


def _export(file: Path, output: Path) -> int:
    from deepdeblur_tf.networks.archive import load_model
    from deepdeblur_tf.networks.torch_networks import write_torch_network

    network = load_model(file)
    write_torch_network(network, output)
    settings = network.settings
    print(f"checkpoint: {shown_name(output)}, {_described(network)}")
    print(
        f"In DeepDeblur-PyTorch: --n_scales {settings.levels} --n_resblocks {settings.blocks} --n_feats "
        f"{settings.filters} --kernel_size {settings.kernel_size}"
    )
    if settings.pyramid != "gaussian":
        print(
            f"note: it was trained with model.pyramid {settings.pyramid}, and DeepDeblur-PyTorch gives it the Gaussian "
            "pyramid: what it restores there differs a little."
        )
    return 0


def _described(network) -> str:
    settings = network.settings
    return (
        f"{settings.levels} levels of {settings.blocks} blocks, {settings.filters} channels, "
        f"{settings.kernel_size}x{settings.kernel_size} kernels, {network.count_params():,} parameters"
    )


if __name__ == "__main__":
    sys.exit(main())
