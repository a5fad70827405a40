"""What several test files need."""

import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading


@contextlib.contextmanager
def terminal(columns=100):
    """A terminal: (the file descriptor to write to, a list that gets what is written, as bytes, by the end)."""
    screen, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    shown = []

    def collect():
        with contextlib.suppress(OSError):  # how Linux ends a terminal that nobody has open any more
            while text := os.read(screen, 1 << 16):
                shown.append(text)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield writer, shown
    finally:
        os.close(writer)
        thread.join()
        os.close(screen)
