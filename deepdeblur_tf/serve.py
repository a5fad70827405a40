"""A server of restorations: python -m deepdeblur_tf.serve MODEL|EXPORT (the extra `serve`)

Answers as TensorFlow Serving does by REST, so that its clients and those of docs/serving.md need no other server.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepdeblur_tf.command_line import (
    MAX_PIXELS,
    add_server_arguments,
    answered,
    bound_socket,
    check_address,
    check_max_pixels,
    listen,
)
from deepdeblur_tf.errors import UserError, need
from deepdeblur_tf.files import user_path
from deepdeblur_tf.networks.location import NetworkError, model_file
from deepdeblur_tf.restoration.scale import SCALES
from deepdeblur_tf.serving.formats import newest_version


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Restores pictures for programs, by the REST of TensorFlow Serving: POST "
        "/v1/models/deepdeblur:predict. One request is computed at a time, the others wait.",
    )
    parser.add_argument(
        "model",
        metavar="MODEL|EXPORT",
        nargs="?",
        default="photographs",
        help="A finished run's folder, a .keras file, photographs, or a folder that export wrote, of which the newest "
        "version is served. Exports are programs: serve those of people that you trust. Defaults to %(default)s.",
    )
    add_server_arguments(parser, "a request", 64)
    parser.add_argument("--port", type=int, default=8501, metavar="N", help="The port. Defaults to %(default)s.")
    parser.add_argument(
        "--max_pixels",
        type=int,
        metavar="N",
        help=f"Pixels that a picture may have. Defaults to {MAX_PIXELS}, for an export to what it was made with.",
    )
    parser.add_argument(
        "--scale",
        choices=("auto", *(f"{scale:g}" for scale in SCALES)),
        help="The scale at which pictures are restored, as predict has it; requests can ask for another one. Defaults "
        "to auto, for an export to what it was made with.",
    )
    parser.add_argument(
        "--max_waiting",
        type=int,
        default=16,
        metavar="N",
        help="Requests that may wait for their turn; further ones are refused (503). Defaults to %(default)s.",
    )
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.serve") -> int:
    """The command; returns the exit status: 0 when stopped, 2 for a wrong model or settings."""
    flags = _parser(prog).parse_args(arguments)
    return answered(lambda: _serve(flags), "stopped")


def _serve(flags) -> int:
    check_max_pixels(flags.max_pixels)
    for name, least in (("max_upload", 1), ("max_waiting", 0)):
        value = getattr(flags, name)
        if value < least:
            raise UserError(f"--{name}: received {value}; allowed: a whole number of {least} or more.")
    source = _source(flags)
    check_address(flags.host, flags.port)
    for package in ("fastapi", "uvicorn", "prometheus_client"):
        need(package, "serve", "the server")

    with bound_socket(flags.host, flags.port) as listener:
        from deepdeblur_tf.serving.rest import build_app, serve
        from deepdeblur_tf.serving.servable import of_export, of_network
        from deepdeblur_tf.serving.version import NAME

        max_pixels = flags.max_pixels or MAX_PIXELS
        scale = "auto" if flags.scale in (None, "auto") else float(flags.scale)
        servable = of_export(source) if source.is_dir() else of_network(source, max_pixels, scale)
        app = build_app(servable, NAME, flags.max_upload * 10**6, flags.max_waiting)
        host, port = listener.getsockname()[:2]
        listen(listener)  # from now on requests are kept for the server, so that the line is true
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1/models/{NAME}"
        print(f"serving version {servable.version} on {address} (Ctrl+C stops it)", flush=True)
        try:
            serve(app, listener)
        except KeyboardInterrupt:  # what stopped it, raised again behind it
            pass
    print("stopped")
    return 0


def _source(flags) -> Path:
    """What is served: a network's file, or the folder of an export's version."""
    try:
        return model_file(flags.model)
    except NetworkError as error:
        version = newest_version(user_path(flags.model))
        if version is None:
            raise UserError(f"{error} Or give a folder that export wrote.") from error
    for name in ("max_pixels", "scale"):
        if getattr(flags, name):
            raise UserError(f"--{name}: {version} was exported with its own. Leave it out, or export anew.")
    return version


if __name__ == "__main__":
    sys.exit(main())
