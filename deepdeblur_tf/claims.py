"""Folders that one process writes at a time, and what they hold compared with what is to be written there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock

from deepdeblur_tf.errors import UserError


@contextlib.contextmanager
def claimed(folder: Path, what: str, error: type[UserError]) -> Iterator[None]:
    """Makes a folder, and keeps other processes out of it within the context; one that is killed lets go of it.

    Args:
        folder: The folder.
        what: What writes to it, such as "training".
        error: The class of errors.

    Raises:
        UserError: the folder is in use, or cannot be written.
    """
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as fault:
        raise error(
            f"another {what} is writing to {folder}. Wait for its end, stop it, or give another folder for this one."
        ) from fault
    except OSError as fault:
        raise error(f"{folder}: cannot be written ({fault.strerror}).") from fault
    try:
        yield
    finally:
        lock.release()


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs between two mappings, a line a key, "training.epochs: 10 / 20"; None for a key that is missing."""
    keys = dict.fromkeys((*there, *here))
    return [f"{key}: {there.get(key)!r} / {here.get(key)!r}" for key in keys if there.get(key) != here.get(key)]


def refuse_other(where: str, lines: Sequence[str], advice: str, error: type[UserError]) -> None:
    """Raises `error` where anything differs.

    Args:
        where: What holds something else, such as "runs/first holds another experiment".
        lines: What differs, as `differing` tells it.
        advice: What to do.
        error: The class of errors.
    """
    if lines:
        raise error(
            f"{where}. What differs (there / here):", *(f"  {line}" for line in lines), *([advice] if advice else [])
        )
