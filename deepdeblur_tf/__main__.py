"""All commands under one name: deepdeblur COMMAND ..., or python -m deepdeblur_tf COMMAND ...

A command's module is loaded when it is called, so the list of them answers at once.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import deepdeblur_tf

# Each command: the module and its function that takes (arguments, prog), and what it does.
COMMANDS = {
    "restore": ("predict", "restore", "photos and videos, by the network that comes with the package"),
    "predict": ("predict", "main", "photos and videos, by any network"),
    "predict_many": ("predict_many", "main", "any number of photos, on one machine or many"),
    "demo": ("demo", "main", "a page to try a network on"),
    "train": ("train", "main", "train a network, or continue a training"),
    "synthesize": ("synthesize", "main", "pairs to train on, from your own videos and photos"),
    "evaluate": ("evaluate", "main", "measure networks: tables, plots, comparisons"),
    "export": ("export", "main", "a SavedModel for a server, ONNX, TFLite, OpenVINO"),
    "serve": ("serve", "main", "a server for programs, as TensorFlow Serving answers"),
    "import_torch": ("import_torch", "main", "the weights of the authors' PyTorch code, and back"),
}


def main(arguments=None) -> int:
    """Calls a command; returns its exit status, and 2 for a name that is none."""
    prog = "python -m deepdeblur_tf" if sys.argv[0] == __file__ else "deepdeblur"
    flags = _parser(prog).parse_args(arguments)
    if flags.command is None:
        _parser(prog).print_help()
        return 0
    if flags.command not in COMMANDS:
        print(f"error: {_unknown(flags.command, prog)}", file=sys.stderr)
        return 2
    module, function, _ = COMMANDS[flags.command]
    command = getattr(import_module(f"deepdeblur_tf.{module}"), function)
    return command(flags.arguments, prog=f"{prog} {flags.command}")


def _parser(prog: str) -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {line}" for name, (_, _, line) in COMMANDS.items()]
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s COMMAND ...",
        description="Takes the blur of motion out of photos and videos, and trains networks that do.",
        epilog="\n".join(["commands:", *lines, "", f"{prog} COMMAND --help explains each."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"deepdeblur_tf {deepdeblur_tf.__version__}")
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _unknown(name: str, prog: str) -> str:
    from deepdeblur_tf.errors import did_you_mean

    if Path(name).exists():
        meant = f" Did you mean {prog} restore {name}?"
    else:
        meant = did_you_mean(name.lower().replace("-", "_"), COMMANDS)
    return f"there is no command {name}.{meant} The commands are: {', '.join(COMMANDS)}."


if __name__ == "__main__":
    sys.exit(main())
