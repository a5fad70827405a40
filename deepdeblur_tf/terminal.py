"""What a terminal and a shell do to a command: streams that are closed, signals, names that would move the cursor."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl+C, a system's or a container's stop, a closed terminal


def open_missing_streams() -> None:
    """Opens standard streams that were closed (2>&-), or the next file would get their number, and be written to."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)  # as the others are
    os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(number, mode, closefd=False)
        for number, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def reader_is_gone() -> bool:
    """Whether nobody reads stdout or stderr any more, or their terminal is closed; what goes there is thrown away."""
    is_gone = False
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(io.UnsupportedOperation):  # no file, as in a notebook
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())  # Python writes the rest at its end
                os.close(nowhere)
                is_gone = True
    return is_gone


@contextlib.contextmanager
def on_stops(handler: Any, numbers: Sequence[signal.Signals] = STOPS) -> Iterator[None]:
    """Has signals handled within a context, but those that are ignored, as SIGHUP is by `nohup`; SIGINT always.

    Args:
        handler: As `signal.signal` takes it.
        numbers: Which signals.
    """
    if threading.current_thread() is not threading.main_thread():  # which has the signals
        yield
        return
    wanted = [each for each in numbers if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.signal(each, handler) for each in wanted}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


_CONTROLS = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""A text with what moves a cursor, colours, turns the direction, or is no character as \x1b; \n and \t stay.

    A file's name may hold any of these. `shown_name` is for lists of names, in which \n is one too many.
    """
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown_name(name: object) -> str:
    r"""A file's name, or a message about it, in one line: `printable`, and \n escaped too."""
    return printable(str(name)).replace("\n", r"\n").replace("\t", r"\t")


class _Printable:
    """A stream, to which all goes as `printable` has it."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text: str) -> int:
        return self.stream.write(printable(text))

    def __getattr__(self, name: str):
        return getattr(self.stream, name)


@contextlib.contextmanager
def printable_streams() -> Iterator[None]:
    """Within it, what is printed cannot do to a terminal what `printable` keeps from it."""
    with contextlib.redirect_stdout(_Printable(sys.stdout)), contextlib.redirect_stderr(_Printable(sys.stderr)):
        yield


def raw(stream):
    """The stream behind one of `printable_streams`, for what draws by moving the cursor."""
    return stream.stream if isinstance(stream, _Printable) else stream
