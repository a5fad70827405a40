"""What commands have in common: how they answer errors, and flags. Loads no TensorFlow."""

from __future__ import annotations

import argparse
import contextlib
import errno
import inspect
import io
import math
import os
import re
import signal
import socket
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepdeblur_tf.config import SECTIONS, SETTINGS, Experiment, allowed
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import disk_fault
from deepdeblur_tf.terminal import on_stops, open_missing_streams, printable_streams, raw, reader_is_gone, shown_name

SHOWN = 20  # files that a message names
MAX_PIXELS = 4096 * 4096  # of one image, where strangers may send them
_ANY_PIXELS = 2**32  # more than a picture has whose sides are restored, up to 65535


def answered(command: Callable[[], int], stopped: str) -> int:
    """Calls a command's body, and says in a sentence what a user, a disk or the memory kept from being done.

    Args:
        command: Returns the exit status.
        stopped: What to say after Ctrl+C.

    Returns:
        The exit status: the command's, 2 for such an error, 130 for Ctrl+C and the other signals of `terminal.STOPS`,
        141 where nobody reads what is printed any more, as after `| head`. Other errors are defects, and raised.
    """
    open_missing_streams()
    # A file's name need be no text, and is shown all the same.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with printable_streams(), on_stops(signal.default_int_handler, (signal.SIGTERM, signal.SIGHUP)):
        # What it warns of, such as metadata that are cut off, either shows in no picture, or we say it ourselves.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            status = command()
            sys.stdout.flush()
            return status
        except UserError as error:
            message = str(error)
        except MemoryError as error:
            message = str(error) or "the memory is full"
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.EIO) and reader_is_gone():
                return 141
            name = error.filename2 or error.filename  # the second is what a temporary file was to become
            fault = shown_name(f"{name}: {error.strerror}") if name else disk_fault(error)
            if not fault:
                raise
            message = fault
        except KeyboardInterrupt:
            reader_is_gone()  # as where the terminal was closed
            print(f"\n{stopped}", file=sys.stderr)
            return 130
        print(f"error: {message}", file=sys.stderr)
        return 2


# What `add_argument` takes for a MODEL.
MODEL: dict[str, Any] = {
    "metavar": "MODEL",
    "help": "A finished run's folder, a .keras file, or photographs, the network that comes with the package.",
}


def shortened(texts: Sequence[str], more: str = "more", most: int = SHOWN) -> list[str]:
    """The first of some texts, and a last one for those that are too many to show."""
    return [*texts[:most], *([f"and {len(texts) - most} {more}"] if len(texts) > most else [])]


def print_remarks(remarks: Mapping[str, Sequence[str]]) -> None:
    """Prints in which restored files are not as their sources were: the files' names, by what is to be said of them."""
    for remark, names in remarks.items():
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        print(f"{remark} ({', '.join(map(shown_name, names[:SHOWN]))}{more})")


def ending(place: str) -> str:
    """What a file's name ends in, such as .txt, or the whole name; of a folder, the place with its slash."""
    if place.endswith("/"):
        return place
    name = place.rsplit("/", 1)[-1]
    return Path(name).suffix.lower() or name


def print_left_alone(endings: Counter[str], what: str) -> None:
    """Prints a line about files that are no `what` by their names, counted by their `ending`, if there are any.

    And one about folders that cannot be read.
    """
    folders = [ending for ending in endings if ending.endswith("/")]
    if folders:
        print("left alone, for they cannot be read:", *shortened(list(map(shown_name, folders))), sep="\n  ")
    endings = Counter({ending: count for ending, count in endings.items() if not ending.endswith("/")})
    if endings:
        shown = ", ".join(map(shown_name, sorted(endings)[:8])) + ", ..." * (len(endings) > 8)
        print(f"left alone, no {what} by their names: {sum(endings.values())} files ({shown})")


def print_foreign(files: Sequence[str], output: str, record: str) -> None:
    """Prints which files in an output folder are left alone, if there are any, and where what was written is noted."""
    if files:
        print(
            f"left alone: {len(files)} files in {shown_name(output)} that this command did not write, or that were "
            f"changed since. (Its record there is {record}.) Move them away, or replace them with --overwrite:",
            *shortened(files),
            sep="\n  ",
            file=sys.stderr,
        )


class ProgressBar(tqdm):
    """tqdm's bar; in a file or a pipe a whole line every half minute and at the end, in place of half-drawn bars."""

    def __init__(self, **options):
        self._is_drawn = sys.stderr.isatty()
        drawing = {"mininterval": 0.2, "dynamic_ncols": True}
        if not self._is_drawn:
            drawing = {"mininterval": 30, "miniters": 1, "ncols": 0, "leave": False}
        super().__init__(file=raw(sys.stderr), **options, **drawing)

    def display(self, msg=None, pos=None):
        if self._is_drawn:
            return super().display(msg, pos)
        if msg is None:
            print(self, file=self.fp, flush=True)
        return False

    def close(self):
        if not self.disable and not self._is_drawn and self.n != self.last_print_n:
            self.display()
        super().close()


def add_settings(
    parser: argparse.ArgumentParser, prefixes: Iterable[str] = SECTIONS, defaults: Experiment | None = None
) -> None:
    """Adds the settings of an experiment as flags, explained as in their sections' docstrings.

    Args:
        parser: The command's.
        prefixes: Of the sections, such as "synthesis."; all of them unless given.
        defaults: What the help names as defaults; the sections' own unless given.
    """
    defaults = defaults or Experiment(name="none, the file gives it")
    for prefix in prefixes:
        section = SECTIONS[prefix]
        docstring = inspect.cleandoc(section.__doc__)
        group = parser.add_argument_group(docstring.partition(".\n")[0])
        for name, explanation in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", docstring, re.MULTILINE):
            key = prefix + name
            if key not in SETTINGS:  # a section within the section
                continue
            default = attrgetter(key)(defaults)
            default = str(default).lower() if isinstance(default, bool) else default
            text = " ".join(f"{explanation} ({allowed(SETTINGS[key])}; default: {default})".split())
            group.add_argument(f"--{key}", metavar="VALUE", default=argparse.SUPPRESS, help=text.replace("%", "%%"))


def given_settings(flags: argparse.Namespace) -> dict[str, str]:
    """The settings among the flags that were given, for `load_experiment`."""
    return {key: value for key, value in vars(flags).items() if key in SETTINGS}


def add_restoration_arguments(parser: argparse.ArgumentParser, scale: str = "auto") -> None:
    """Adds --scale, by default as given here, --tile, --memory, --self_ensemble and --runtime."""
    group = parser.add_argument_group("restoration")
    group.add_argument(
        "--scale",
        default=scale,
        choices=("auto", "1", "0.5", "0.25", "0.125"),
        help="The scale at which pictures are restored; what changes there is added, enlarged, to the picture. A "
        "network knows blur of some pixels; a long one is within its reach in the picture shrunk. auto takes for each "
        "picture the scale at which most is changed. Defaults to %(default)s.",
    )
    group.add_argument(
        "--tile",
        type=int,
        metavar="PIXELS",
        help="Restore in square tiles of this side, a multiple of 4 above 192. Defaults to the whole image, or to the "
        "largest tiles that the memory allows.",
    )
    group.add_argument(
        "--memory",
        type=number(float, lambda value: 0 < value * 2**30 < math.inf, "a number of GiB above 0, such as 2.5"),
        metavar="GIB",
        help="Memory that the network may use at once. Defaults to half of what is available (on a GPU 4 GiB).",
    )
    group.add_argument(
        "--self_ensemble",
        action="store_true",
        help="Average over the image's 4 rotations and their mirror images: somewhat better, eight times as slow.",
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
    return {
        "tile": flags.tile,
        "memory": flags.memory and max(1, int(flags.memory * 2**30)),  # bytes
        "self_ensemble": flags.self_ensemble,
        "runtime": flags.runtime,
        "scale": flags.scale if flags.scale == "auto" else float(flags.scale),
    }


def decisive(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a result depends on.

    The memory decides the tiles' size, as what is free at the time does; it shows by 1 of 255 at most.
    """
    return {key: value for key, value in options.items() if key != "memory"}


def number(kind: type, rule: Callable[[Any], bool], words: str) -> Callable[[str], Any]:
    """For `add_argument`: a number of a kind, int or float, by a rule; `words` say what that allows."""

    def converted(text: str) -> Any:
        with contextlib.suppress(ValueError):
            if rule(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"received {text!r}; allowed: {words}")

    return converted


def folder_name(text: str) -> str:
    """For `add_argument`: the name of a folder that is written, or its address, with ~ as `files.user_path` has it.

    An empty one, of a variable that is not set, would be here.
    """
    if not text:
        raise argparse.ArgumentTypeError("received ''; allowed: a folder's name, such as . for this one")
    return os.path.expanduser(text)


def add_server_arguments(parser: argparse.ArgumentParser, what: str, max_upload: int) -> None:
    """Adds --host, for `check_address`, and --max_upload, the size of `what` in MB, by default as given here."""
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="The address to listen on. Defaults to %(default)s, which only this machine reaches; nobody is asked for "
        "a password.",
    )
    parser.add_argument(
        "--max_upload",
        type=int,
        default=max_upload,
        metavar="MB",
        help=f"Size that {what} may have. Defaults to %(default)s.",
    )


def check_max_pixels(value: int | None) -> None:
    """Raises UserError for a --max_pixels that is none."""
    if value is not None and not 1 <= value <= _ANY_PIXELS:
        raise UserError(f"--max_pixels: received {value}; allowed: a whole number of 1 or more, up to {_ANY_PIXELS}.")


def check_address(host: str, port: int | None) -> None:
    """Raises UserError for a port that is none, and for an address that this machine cannot listen on."""
    if port is not None and not 1 <= port <= 65535:
        raise UserError(f"--port: received {port}; allowed: 1 to 65535.")
    try:
        with socket.create_server((host, 0), family=_family(host)):
            pass
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host: received {host!r}, where this machine cannot listen ({error}).") from error


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket at an address of `check_address`, which nobody can reach before `listen`.

    Raises:
        UserError: the port is taken.
    """
    bound = socket.socket(_family(host))
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise _taken(port, error) from error
    return bound


def listen(bound: socket.socket) -> None:
    """Lets a socket of `bound_socket` be reached. Raises UserError where another process was faster to do so."""
    try:
        bound.listen()
    except OSError as error:
        raise _taken(bound.getsockname()[1], error) from error


def _taken(port: int, error: OSError) -> UserError:
    return UserError(f"--port: received {port}; allowed: a port that is free ({error.strerror}).")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
