"""The base of all errors that are meant for users, and what libraries say that is not."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import json
import os
import shlex
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from deepdeblur_tf.terminal import shown_name

_QUIET = threading.RLock()  # two threads that redirect stderr at a time would not find it again


class UserError(ValueError):
    """What a user gave cannot be used, and the message says what was received, what is allowed and what to do.

    Commands print its message alone. Any other exception is a defect of this package and shows its traceback.

    Args:
        *lines: The message's lines. A line break within one is a name's, and shown escaped.
    """

    def __str__(self) -> str:
        return "\n".join(map(shown_name, self.args))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is none of those that are known: the nearest, if one is near."""
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]}?" if close else ""


def need(package: str, extra: str, what: str) -> None:
    """Raises UserError where a package of one of this project's extras is not installed.

    Args:
        package: Its name for `import`.
        extra: The extra of setup.cfg that installs it.
        what: What needs it, for the message.
    """
    if importlib.util.find_spec(package) is None:
        since = " (Python 3.10 or later)" if extra in ("cluster", "demo") else ""
        raise UserError(f"{what} needs {package}. Install it: {install_line(extra)}{since}")


def install_line(extra: str) -> str:
    """The command that adds an extra of setup.cfg: to the clone that runs, or to what was installed from elsewhere."""
    clone = Path(__file__).parents[1]
    if (clone / "setup.cfg").is_file():
        return f"pip install -e {shlex.quote(f'{clone}[{extra}]')}"
    from importlib.metadata import distributions  # takes a while

    record = next((found.read_text("direct_url.json") for found in distributions(name="deepdeblur_tf")), None)
    wanted = f"deepdeblur_tf[{extra}]"
    if record:  # of a wheel's file, a folder or a repository; what comes from an index has none
        origin = json.loads(record)
        vcs = origin.get("vcs_info", {}).get("vcs", "")
        wanted += f" @ {vcs}{'+' * bool(vcs)}{origin['url']}"
    return f"pip install {shlex.quote(wanted)}"


@contextlib.contextmanager
def quiet_libraries(shows_failures: bool = True):
    """Holds back what libraries print on stderr; shows it if they fail, unless the error alone is to be shown."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with _QUIET, tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            if shows_failures:
                held.seek(0)
                os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
