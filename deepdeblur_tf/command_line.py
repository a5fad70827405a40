"""What the commands that restore images have in common on the command line. Loads no TensorFlow."""

from __future__ import annotations

import argparse


def add_restoration_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --tile, --memory and --self_ensemble."""
    group = parser.add_argument_group("restoration")
    group.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="Restore in square tiles of this side, a multiple of 4. Defaults to the whole image, or to the largest "
        "tiles that the memory allows.",
    )
    group.add_argument(
        "--memory",
        type=float,
        metavar="GIB",
        help="Memory that the network may use at once. Defaults to half of what is available (on a GPU 4 GiB).",
    )
    group.add_argument(
        "--self_ensemble",
        action="store_true",
        help="Average over the image's 8 turns and mirror images: somewhat better, eight times as slow.",
    )


def restoration_options(flags: argparse.Namespace) -> dict:
    """What those flags mean for `deepdeblur_tf.restore`."""
    memory = None if flags.memory is None else int(flags.memory * 2**30)
    return {"tile": flags.tile, "memory": memory, "self_ensemble": flags.self_ensemble}
