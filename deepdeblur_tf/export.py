"""Exports a network for a server: python -m deepdeblur_tf.export MODEL DIR [--format onnx tflite openvino]

Writes DIR/<version>/, a SavedModel with everything in its graph, with the next free number; what is there already
stays.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import matplotlib

from deepdeblur_tf.command_line import MAX_PIXELS, MODEL, answered, check_max_pixels, folder_name
from deepdeblur_tf.errors import UserError, need
from deepdeblur_tf.files import disk_fault, sha256_of, user_path
from deepdeblur_tf.images.deep import to_8_bits
from deepdeblur_tf.images.picture_files import read_photo
from deepdeblur_tf.networks.location import model_file
from deepdeblur_tf.restoration.scale import SCALES
from deepdeblur_tf.restoration.tiling import MAX_SIDE, is_within
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.serving.formats import FORMATS, FURTHER
from deepdeblur_tf.terminal import shown_name


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Writes DIR/<version>/, a SavedModel that TensorFlow Serving loads as it is: encoded images in, "
        "PNG out, with no Python of this package on the server. Beside it a model card, a manifest with hashes, "
        "warm-up requests, and the server's configuration. Every file is checked against the network on a photo.",
    )
    parser.add_argument("model", **MODEL)
    parser.add_argument(
        "folder", type=folder_name, metavar="DIR", help="The folder of all versions. The next number is written."
    )
    parser.add_argument(
        "--format",
        nargs="+",
        default=[],
        choices=FURTHER,
        help="Also write these, which restore uint8 [N, H, W, 3]; "
        f"{' and '.join(name for name in FURTHER if FORMATS[name].packages)} need the extras of their names.",
    )
    parser.add_argument(
        "--max_pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="Pixels that an image may have; larger ones are refused by their header. Defaults to %(default)s.",
    )
    parser.add_argument(
        "--scale",
        default="auto",
        choices=("auto", *(f"{scale:g}" for scale in SCALES)),
        help="The scale at which the SavedModel restores pictures, as predict has it; requests can ask for another "
        "one. Further formats restore at scale 1. Defaults to %(default)s.",
    )
    parser.add_argument(
        "--check_image",
        metavar="FILE",
        help="The photo to check every file with. Defaults to the one of 512x600 pixels that comes with matplotlib.",
    )
    parser.add_argument(
        "--evaluation",
        nargs="+",
        default=[],
        metavar="DIR",
        help="Folders of evaluations of this network, whose figures the model card shows.",
    )
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.export") -> int:
    """The command; returns the exit status: 0, 1 for an export that failed, 2 for wrong inputs, 130 when stopped."""
    flags = _parser(prog).parse_args(arguments)
    return answered(lambda: _export(flags), "stopped. Nothing was exported.")


def _export(flags) -> int:
    file, folder = model_file(flags.model), Path(flags.folder)
    if folder.exists() and (not folder.is_dir() or Run(folder).config.is_file()):
        raise UserError(f"{folder}: is {'a run' if folder.is_dir() else 'a file'}. Give another folder for the export.")
    if (folder / FORMATS["saved_model"].file).exists():
        raise UserError(f"{folder}: is a version of an export. Give the folder that holds it, or another one.")
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{folder}: its name is no UTF-8, as TensorFlow needs it. Give another.") from error
    check_max_pixels(flags.max_pixels)
    photo = to_8_bits(read_photo(flags.check_image or _sample_photo()).rgb)
    height, width = photo.shape[:2]
    if not is_within(height, width, flags.max_pixels):
        raise UserError(
            f"--check_image: has {width}x{height} pixels, more than the {flags.max_pixels} of "
            f"--max_pixels, or a side above {MAX_SIDE}. Give a smaller one."
        )

    from deepdeblur_tf.compat import tf
    from deepdeblur_tf.evaluation.folder import read_summary
    from deepdeblur_tf.serving.version import ExportError, export_network

    # A GPU's faster, coarser sums would set the network apart from what its exported files compute on a CPU.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    sha256 = sha256_of(file)
    evaluations = [read_summary(user_path(name)) for name in flags.evaluation]
    for name, summary in zip(flags.evaluation, evaluations):
        if "model" not in summary:
            raise UserError(f"--evaluation {name}: measured finished pictures, not {file}.")
        if summary["model"]["sha256"] != sha256:
            raise UserError(f"--evaluation {name}: measured another network, {summary['model']['file']}, not {file}.")
    formats = list(dict.fromkeys(flags.format))
    for name in formats:
        for package in FORMATS[name].packages:
            need(package, name, f"--format {name}")
    try:
        scale = flags.scale if flags.scale == "auto" else float(flags.scale)
        version = export_network(file, sha256, folder, formats, flags.max_pixels, scale, photo, evaluations)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # of the terminal
        raise
    except (OSError, tf.errors.OpError) as error:
        fault = disk_fault(error) or (error.strerror if isinstance(error, OSError) else None)
        if not fault:
            raise
        where = getattr(error, "filename", None) or folder
        raise UserError(f"{where}: cannot be written: {fault}. Nothing was exported.") from error
    size = sum(path.stat().st_size for path in version.rglob("*") if path.is_file())
    print(f"model card: {shown_name(version / 'model_card.md')}")
    print(f"exported: {shown_name(version)}, {size / 1e6:.1f} MB")
    return 0


def _sample_photo() -> Path:
    """A real photograph that is on every machine: Grace Hopper, by the US Navy, public domain."""
    return Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")


if __name__ == "__main__":
    sys.exit(main())
