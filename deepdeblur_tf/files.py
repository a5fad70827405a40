"""Files: folders looked through, files written whole or not at all, and known by their hashes."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from deepdeblur_tf.errors import UserError

_MOST_WAYS = 16  # by links within linked folders, to one folder

# What is being written, as a pattern for `glob`; a process that is killed leaves it behind.
UNFINISHED = ".deepdeblur_tf.*.part*"


def user_path(text) -> Path:
    """The path that a user gave. ~ stands for the user's folder where that is known; ~draft.jpg is a file's name."""
    return Path(os.path.expanduser(text))


def walk(
    folder: Path, left_out: Iterable[Path] = (), unreadable: Callable[[Path], object] | None = None
) -> Iterator[tuple[Path, list[Path]]]:
    """(folder, its files) for a folder and those below it, in the order of their names, hidden ones left alone.

    Links to folders are followed, as the users of large data sets make them, but not round in circles; and those within
    linked folders only until a folder was come to so often, for a few folders that are linked to each other lead to
    each other in thousands of ways.

    Args:
        folder: Where to begin.
        left_out: Folders that are not entered.
        unreadable: Called with each folder below the first that cannot be read; without it that is an error.

    Raises:
        UserError: a folder cannot be read.
    """
    yield from _walk(folder, {*(path.resolve() for path in left_out)}, False, collections.Counter(), unreadable, True)


def _walk(folder: Path, left_out: set[Path], is_linked: bool, entered: collections.Counter, unreadable, is_first: bool):
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        if unreadable and not is_first:
            unreadable(folder)
            return
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}).") from error
    folders: list[Path] = []
    files: list[Path] = []
    for entry in entries:
        if entry.name[0] != ".":
            (folders if entry.is_dir() else files).append(entry)
    yield folder, files
    left_out = {*left_out, folder.resolve()}
    for entry in folders:
        real, is_link = entry.resolve(), entry.is_symlink()
        if real not in left_out and not (is_linked and is_link and entered[real] >= _MOST_WAYS):
            entered[real] += 1
            yield from _walk(entry, left_out, is_linked or is_link, entered, unreadable, False)


class Identity:
    """What a path is the same as another by: an entry of one name in one folder, however the folder is written.

    Links to folders, and file systems that are mounted twice, show a folder under several paths.
    """

    def __init__(self):
        self._folders: dict[str, tuple] = {}

    def __call__(self, path: str) -> tuple:
        """The identity of an absolute path; a link at its end is not followed."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            try:
                state = os.stat(folder)
                self._folders[folder] = state.st_dev, state.st_ino
            except OSError:  # not there yet
                self._folders[folder] = self(folder)
        return *self._folders[folder], name


def write_whole(path: Path, write) -> None:
    """Writes a file under a temporary name beside it and renames it, so that nobody ever finds half of it.

    Makes its folder. The temporary name is this call's own: of several processes that write one file, each writes it
    whole, and the last one's stays.

    Args:
        path: The file.
        write: Called with the path to write to, which has the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_unfinished(path.parent)
    beside = path.with_name(f".deepdeblur_tf.{uuid.uuid4().hex}.part{path.suffix}")
    try:
        write(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, content) -> None:
    """Writes JSON whole or not at all, for people too; NaN and infinity, which it has no words for, are refused."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    # What is no UTF-8 in the names of files becomes \udce9, which JSON reads back.
    write_whole(path, lambda beside: beside.write_bytes(f"{text}\n".encode(errors="backslashreplace")))


@functools.cache  # once a folder and process, for large folders take long to read
def _remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left in a folder: a file that nobody has written to for a day."""
    for path in folder.glob(UNFINISHED):
        with contextlib.suppress(OSError):  # another process may remove it too
            if time.time() - path.stat().st_mtime > 24 * 60 * 60:
                path.unlink()


def disk_fault(error: BaseException) -> str | None:
    """What keeps a disk from being written, in the system's words; None for an error of another kind.

    A full disk comes as TensorFlow's error, HDF5's or Python's, depending on who was writing.
    """
    found = re.search("No space left on device|Disk quota exceeded|Read-only file system|File too large", str(error))
    return found and found[0]


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
