"""A page to try a network on: python -m deepdeblur_tf.demo MODEL (the extra `demo`)

Drop pictures, see before and after under one slider, download the results.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from deepdeblur_tf.command_line import (
    MODEL,
    add_restoration_arguments,
    add_server_arguments,
    answered,
    check_address,
    check_max_pixels,
    restoration_options,
)
from deepdeblur_tf.errors import UserError, need
from deepdeblur_tf.memory import memory_budget
from deepdeblur_tf.networks.location import TRAINED, model_file

_TILE_PIXELS = 4_000_000  # so large that no more than a quarter is restored twice


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Opens a page to try a network on: drop pictures, see before and after under one slider, download "
        "the results. Pictures stay on this machine and are removed within an hour, and when the page is stopped.",
    )
    unless = {"nargs": "?", "default": "photographs", "help": f"{MODEL['help']} Defaults to %(default)s."}
    parser.add_argument("model", **{**MODEL, **unless})
    add_server_arguments(parser, "a picture's file", 256)
    parser.add_argument(
        "--port", type=int, metavar="N", help="The port to listen on. Defaults to the first free one from 7860 on."
    )
    parser.add_argument(
        "--max_pixels",
        type=int,
        default=100_000_000,
        metavar="N",
        help="Pixels that a picture may have. Defaults to %(default)s, 100 megapixels.",
    )
    add_restoration_arguments(parser)
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.demo") -> int:
    """The command; returns the exit status: 0 when stopped, 2 for a wrong model or settings."""
    flags = _parser(prog).parse_args(arguments)
    return answered(lambda: _serve(flags), "stopped")


def _serve(flags) -> int:
    file = model_file(flags.model)
    check_max_pixels(flags.max_pixels)
    if flags.max_upload < 1:
        raise UserError(f"--max_upload: received {flags.max_upload}; allowed: a whole number above 0.")
    check_address(flags.host, flags.port)
    need("gradio", "demo", "the page")

    from deepdeblur_tf.networks.archive import load_model
    from deepdeblur_tf.restoration.restorer import Restorer, bytes_per_pixel

    network, options = load_model(file), restoration_options(flags)
    if flags.tile is None and flags.memory is None:  # the time left is measured on each tile, and a stop waits for one
        options["memory"] = min(memory_budget(), _TILE_PIXELS * bytes_per_pixel(network, flags.runtime))
    restorer = Restorer(network, **{**options, "scale": "auto"})  # the page asks for another where it is chosen
    with tempfile.TemporaryDirectory(prefix="deepdeblur_tf_") as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder, "uploads"))  # read at its import, as these are:
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # it would tell its makers,
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # and so would what it brings along
        from deepdeblur_tf.restoration.page import CSS, EXAMPLES, PURGE_SECONDS, THEME, build_page, remove_old

        results = Path(folder, "results")
        comes_along = file.parent == TRAINED
        title = file.stem if comes_along else f"{file.resolve().parent.name}/{file.name}"
        command = "deepdeblur restore" + " --model MODEL" * (not comes_along)  # visitors learn no folders of ours
        page = build_page(restorer, title, command, options["scale"], flags.max_pixels, flags.max_upload, results)
        try:
            _, url, _ = page.launch(
                server_name=flags.host,
                server_port=flags.port,
                max_file_size=f"{flags.max_upload}mb",
                share=False,
                quiet=True,
                show_error=False,  # visitors are not shown our tracebacks; they go to the terminal
                prevent_thread_lock=True,
                theme=THEME,
                css=CSS,
                allowed_paths=[str(EXAMPLES)],
                footer_links=[],
            )
        except OSError as error:
            raise UserError(f"--port: received {flags.port}; allowed: a port that is free.") from error
        print(f"open {url} (Ctrl+C stops it)", flush=True)
        try:
            while True:
                time.sleep(PURGE_SECONDS)
                remove_old(results)
        except KeyboardInterrupt:
            print("\nstopped")
            return 0
        finally:
            page.close(verbose=False)


if __name__ == "__main__":
    sys.exit(main())
