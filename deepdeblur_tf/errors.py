"""The base of all errors that are meant for users, and what libraries say that is not."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile


class UserError(ValueError):
    """What a user gave cannot be used, and the message says what was received, what is allowed and what to do.

    Commands print its message alone. Any other exception is a defect of this package and shows its traceback.
    """


def need(package: str, extra: str, what: str) -> None:
    """Raises UserError where a package of one of this project's extras is not installed.

    Args:
        package: Its name for `import`.
        extra: The extra of setup.cfg that installs it.
        what: What needs it, for the message.
    """
    if importlib.util.find_spec(package) is None:
        since = " (Python 3.10 or later)" if extra in ("cluster", "demo") else ""
        raise UserError(f"{what} needs {package}. Install it: pip install -e '.[{extra}]'{since}")


@contextlib.contextmanager
def quiet_libraries():
    """Holds back what libraries print on stderr; shows it if they fail."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
