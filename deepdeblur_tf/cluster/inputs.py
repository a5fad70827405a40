"""The photos that a call names, one after another, so that a million of them need no memory."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.restoration.jobs import PredictionError

LISTS = (".txt",)


class Photo(NamedTuple):
    """One photo to restore.

    Attributes:
        source: Its place.
        target: The place of its restored form.
        size: In bytes; -1 for one that is not there.
        changed: When the file was changed, in nanoseconds since 1970.
    """

    source: str
    target: str
    size: int
    changed: int


def find_photos(inputs: Sequence[str], output: str) -> Iterator[Photo]:
    """Finds the photos to restore.

    Args:
        inputs: The places of files, of folders (with their sub-folders), of lists, which are text files with a photo in
            each line, and patterns such as /home/me/photos/**/*.jpg.
        output: The place of the results' folder. Photos below a folder, or below the folder that a pattern begins
            with, keep their sub-folders in it, those of a list all of their folders.

    Raises:
        PredictionError: an input that is not there or holds no photo, two photos for one result, a result that would
            replace a photo.
    """
    identity = storage.Identity()
    seen: dict[int, int] = {}  # by hashes, for the names of a million take a gigabyte
    links: set[int] = set()  # what lies behind photos that are links
    for where in inputs:
        for file, below in _expanded(where, output):
            photo = Photo(file.place, f"{output}/{below}", file.size, file.changed)
            target, source = hash(identity(photo.target)), hash(identity(photo.source))
            if target in seen and seen[target] == source:
                continue  # named twice
            if target in seen:
                raise PredictionError(
                    f"{photo.source} and another photo would both become {photo.target}. Restore them into two folders."
                )
            seen[target] = source
            if storage.is_link(photo.source):
                links.add(hash(identity(os.path.realpath(photo.source))))
            yield photo
    if not seen.keys().isdisjoint({*seen.values(), *links}):
        raise PredictionError(f"{output}: a result would replace one of the photos. Give another folder with --output.")


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _expanded(where: str, output: str) -> Iterator[tuple[storage.File, str]]:
    """(file, its path below the output folder) for one input."""
    kind = storage.kind(where)
    if kind == "file" and where.lower().endswith(LISTS):
        yield from _listed(where)
    elif kind == "file":
        yield storage.described([where])[0], os.path.basename(where)
    elif kind == "folder" or glob.has_magic(where):
        root = where if kind == "folder" else re.split(r"/[^/]*[*?\[]", where, maxsplit=1)[0]
        matches = re.compile(".*" if kind == "folder" else _expression(where[len(root) + 1 :]), re.DOTALL).fullmatch
        found = 0
        for file in storage.walk(root, output) if storage.kind(root) == "folder" else ():
            below = file.place[len(root) + 1 :]
            if _is_photo(below) and matches(below):
                found += 1
                yield file, below
        if not found:
            what = "holds" if kind == "folder" else "is no file or folder, and as a pattern of *, ? and [ ] matches"
            raise PredictionError(f"{where}: {what} no photo ({', '.join(SUFFIXES)}).")
    else:
        raise PredictionError(f"{where}: no such file or folder.")


def _listed(where: str) -> Iterator[tuple[storage.File, str]]:
    with storage.local_copy(where) as path, open(path, encoding="utf-8") as file:
        lines = (line.strip() for line in file)
        while batch := list(itertools.islice(filter(None, lines), 1000)):  # object stores answer many at a time
            yield from zip(storage.described([storage.place(line) for line in batch]), map(_below, batch))


def _below(line: str) -> str:
    """A listed photo's path below the output folder: its own, without the root or the bucket that it begins with."""
    if "://" in line:
        return line.split("/", 3)[3]
    path = os.path.normpath(os.path.expanduser(line))
    return (os.path.abspath(path) if path.startswith("..") else path).lstrip("/")


def _expression(pattern: str) -> str:
    """A pattern of *, **, ? and [ ], as `glob` has them, as a regular expression."""
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def translated(part: str) -> str:
        if part.startswith("[") and part.endswith("]"):
            return re.sub(r"^\[!", "[^", part)
        return known.get(part) or re.escape(part)

    return "".join(map(translated, re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", pattern)))
