"""What a call names to be restored: files, folders, lists and patterns, by one set of rules wherever they lie."""

from __future__ import annotations

import codecs
import contextlib
import glob
import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple, Protocol

from deepdeblur_tf import files
from deepdeblur_tf.errors import UserError

LISTS = (".txt",)


class PredictionError(UserError):
    """Inputs or an output folder that cannot be used; the message says why and what to do."""


class File(NamedTuple):
    """A file that was found.

    Attributes:
        place: Where it lies.
        size: In bytes; -1 for one that is not there.
        mtime_ns: When, in nanoseconds since 1970.
    """

    place: str
    size: int
    mtime_ns: int


class Store(Protocol):
    """Where files lie: this machine, or `cluster.storage`, which knows object stores, too."""

    def place(self, text: str) -> str:
        """The place that a user's text stands for."""

    def same(self, where: str) -> str:
        """What is equal for two names of one place."""

    def kind(self, where: str) -> str:
        """What is there: "file", "folder" or "nothing"."""

    def walk(self, folder: str, skipped: str, unreadable: Callable[[str], object]) -> Iterator[File]:
        """The files below a folder but for those below `skipped`, none that is hidden.

        `unreadable` is called with each folder there that cannot be read, and a slash behind it.
        """

    def described(self, places: list[str]) -> list[File]:
        """What is known of files, those that are not there among them."""

    def local_copy(self, where: str) -> AbstractContextManager[Path]:
        """The path of a file on this machine."""


class ThisMachine:
    """The files of this machine, called as the user calls them."""

    def place(self, text: str) -> str:
        return str(files.user_path(text))

    def same(self, where: str) -> str:
        return os.path.realpath(where)

    def kind(self, where: str) -> str:
        return "file" if os.path.isfile(where) else "folder" if os.path.isdir(where) else "nothing"

    def walk(self, folder: str, skipped: str, unreadable: Callable[[str], object]) -> Iterator[File]:
        for _, found in files.walk(Path(folder), [Path(skipped)], lambda below: unreadable(f"{below}/")):
            yield from self.described(list(map(str, found)))

    def described(self, places: list[str]) -> list[File]:
        return [File(place, 0, 0) for place in places]

    def local_copy(self, where: str) -> AbstractContextManager[Path]:
        return nullcontext(Path(where))


def without_results(store: Store, places: list[str], output: str) -> list[str]:
    """The places of a call's inputs but for the results' own folder, which a shell's `*` names beside the photos.

    Where it is the only one, it stays, to be told what is wrong about that.
    """
    others = [where for where in places if store.same(where) != store.same(output)]
    return others or places


def expanded(
    store: Store, where: str, output: str, suffixes: tuple[str, ...], what: str, left_alone: Callable[[str], object]
) -> Iterator[tuple[File, str]]:
    """Finds what one input of a call stands for.

    Args:
        store: Where it lies.
        where: The place of a file, of a folder (with its sub-folders), of a list, which is a text file with a file in
            each line, or a pattern such as photos/**/*.jpg.
        output: The place of the results' folder, whose files are no inputs of a folder or a pattern.
        suffixes: Of the files that are taken from folders and for patterns.
        what: What these are, for messages, such as "photo".
        left_alone: Called with the place of each other file there, and of each folder that cannot be read, with a
            slash behind it.

    Yields:
        (the file, its path below the output folder): those below a folder, or below the folder that a pattern begins
        with, keep their sub-folders, those of a list all of their folders.

    Raises:
        PredictionError: there is nothing, or no such file in it.
    """
    kind = store.kind(where)
    if kind == "file" and where.lower().endswith(LISTS):
        yield from _listed(store, where)
    elif kind == "file":
        yield store.described([where])[0], os.path.basename(where)
    elif kind == "folder" or glob.has_magic(where):
        root, pattern = (where, "**") if kind == "folder" else _split(where)
        matches = re.compile(_expression(pattern), re.DOTALL).fullmatch
        found = False
        for file in store.walk(root, output, left_alone) if store.kind(root) == "folder" else ():
            below = file.place if root == "." else file.place[len(root) :].lstrip("/")
            if not matches(below):
                continue
            if below.lower().endswith(suffixes):
                found = True
                yield file, below
            else:
                left_alone(file.place)
        if not found:
            told = "holds" if kind == "folder" else "is no file or folder, and as a pattern of *, ? and [ ] matches"
            raise PredictionError(f"{where}: {told} no {what} ({', '.join(suffixes)}).")
    else:
        raise PredictionError(f"{where}: no such file or folder.")


def _split(pattern: str) -> tuple[str, str]:
    """A pattern's folder without * ? and [ ], and the rest."""
    begin = re.match(r"[^*?\[]*", pattern)[0]  # type: ignore[index]  # it matches anything
    folder, separator, _ = begin.rpartition("/")
    return folder or separator or ".", pattern[len(folder + separator) :]


def _listed(store: Store, where: str) -> Iterator[tuple[File, str]]:
    try:
        with store.local_copy(where) as path, open(path, encoding=_encoding(path), errors="surrogateescape") as file:
            lines = (line.strip() for line in file)
            while batch := list(itertools.islice(filter(None, lines), 1000)):  # object stores answer many at a time
                if any("\0" in line for line in batch):
                    raise PredictionError(f"{where}: is no list of files, a line of text for each, in UTF-8 or UTF-16.")
                yield from zip(store.described([store.place(line) for line in batch]), map(_below, batch))
    except UnicodeDecodeError as error:  # half a character of UTF-16
        raise PredictionError(f"{where}: is no list of files, but cut off or damaged ({error.reason}).") from error


def _encoding(path: Path) -> str:
    """A text's encoding by its first bytes: UTF-16, as some editors of Windows write it, or UTF-8."""
    with open(path, "rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _below(line: str) -> str:
    """A listed file's path below the output folder: its own, without the root or the bucket that it begins with."""
    _, is_address, rest = line.partition("://")
    if is_address:
        return rest.partition("/")[2] or rest
    path = os.path.normpath(os.path.expanduser(line))
    return (os.path.abspath(path) if path.startswith("..") else path).lstrip("/")


def _expression(pattern: str) -> str:
    """A pattern of *, **, ? and [ ], as `glob` has them, as a regular expression; .jpg is for .JPG, too."""
    pattern, suffix = re.fullmatch(r"(.*?)(\.\w+)?", pattern, re.DOTALL).groups("")  # type: ignore[union-attr]
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def translated(part: str) -> str:
        if part.startswith("[") and part.endswith("]"):
            chosen = part[1:-1].lstrip("!") if part.startswith("[!") else part[1:-1]
            one_of = "[" + "^" * part.startswith("[!") + re.sub(r"([\\\[^&~|])", r"\\\1", chosen) + "]"
            with contextlib.suppress(re.error):  # such as [z-a], which no file is matched by
                return re.compile(one_of).pattern
        return known.get(part) or re.escape(part)

    parts = map(translated, re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern))
    return f"{''.join(parts)}(?i:{re.escape(suffix)})"
