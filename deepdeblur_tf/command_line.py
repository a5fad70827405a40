"""What the commands that restore images have in common on the command line. Loads no TensorFlow."""

from __future__ import annotations

import argparse
import math

MAX_PIXELS = 4096 * 4096  # of one image, where strangers may send them


def add_restoration_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --tile, --memory, --self_ensemble and --runtime."""
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
        type=_gibibytes,
        metavar="GIB",
        help="Memory that the network may use at once. Defaults to half of what is available (on a GPU 4 GiB).",
    )
    group.add_argument(
        "--self_ensemble",
        action="store_true",
        help="Average over the image's 8 turns and mirror images: somewhat better, eight times as slow.",
    )
    group.add_argument(
        "--runtime",
        default="tensorflow",
        choices=("tensorflow", "openvino", "openvino_bfloat16"),
        help="What computes the network. openvino (from the extra of that name) gives equal results; in bfloat16 it is "
        "several times as fast on CPUs with units for it (AMX), and off by 1 or 2 of 255 in a few pixels of a hundred. "
        "Defaults to tensorflow.",
    )


def restoration_options(flags: argparse.Namespace) -> dict:
    """What those flags mean for `deepdeblur_tf.restore`."""
    return {"tile": flags.tile, "memory": flags.memory, "self_ensemble": flags.self_ensemble, "runtime": flags.runtime}


def _gibibytes(text: str) -> int:
    """A number of GiB as bytes."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"received {text!r}; allowed: a number of GiB above 0, such as 2.5")
    return max(1, int(value * 2**30))
