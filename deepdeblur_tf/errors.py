"""The base of all errors that are meant for users, and what libraries say that is not."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile


class UserError(ValueError):
    """What a user gave cannot be used, and the message says what was received, what is allowed and what to do.

    Commands print its message alone. Any other exception is a defect of this package and shows its traceback.
    """


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
