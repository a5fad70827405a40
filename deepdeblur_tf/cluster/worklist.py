"""The photos that are to be restored, in a file of the output folder: when the call began, and a photo in each line.

So no process holds the names of all of them, and every machine can read them, after another's death too.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.cluster.inputs import PhotoFile
from deepdeblur_tf.cluster.manifest import FOLDER

# Photos are passed on in groups, each of which takes the driver 5 milliseconds and 3 KB that Ray does not give back:
# small photos in sixteens, larger ones each by itself, and of a million at least twenty.
_GROUP_PHOTOS, _GROUP_BYTES, _GROUPS = 16, 2**20, 50_000


def place(output: str) -> str:
    """Where the list lies; readers of Parquet leave out names that begin with _."""
    return f"{output}/{FOLDER}/_todo.jsonl"


def write(output: str, photos: Iterable[PhotoFile], begun: int) -> int:
    """Writes the list into an output folder.

    Args:
        output: The folder's place.
        photos: What is to be restored.
        begun: When the call began, in nanoseconds since 1970.

    Returns:
        How many photos there are.
    """
    count = 0

    def write(beside: Path) -> None:
        nonlocal count
        with open(beside, "w", encoding="ascii") as file:
            file.write(f"{begun}\n")
            for photo in photos:
                file.write(json.dumps(photo) + "\n")  # in ASCII, with what is no UTF-8 in names as \udcXX
                count += 1

    storage.write_whole(place(output), write)
    return count


def left(output: str) -> tuple[int, Iterator[PhotoFile]]:
    """What `write` was given by a call that was killed or stopped; (0, nothing) where none was, or nobody can tell."""
    if storage.kind(place(output)) != "file":
        return 0, iter(())
    with _opened(output) as file:
        first = _parsed(file.readline())
    is_time = isinstance(first, int)  # which the lists of earlier versions lack
    return (first, itertools.chain.from_iterable(groups(output))) if is_time else (0, iter(()))


def groups(output: str) -> Iterator[list[PhotoFile]]:
    """The photos of the list, in groups for a process to take at once."""
    group: list[PhotoFile] = []
    with _opened(output) as file:
        least = sum(1 for _ in file) / _GROUPS
        file.seek(0)
        for photo in map(_parsed, file):
            if not isinstance(photo, list):  # the time, or what a power cut left of a line
                continue
            group.append(PhotoFile(*photo))
            is_large = len(group) >= _GROUP_PHOTOS or sum(photo.size for photo in group) >= _GROUP_BYTES
            if is_large and len(group) >= least:
                yield group
                group = []
    if group:
        yield group


@contextlib.contextmanager
def _opened(output: str) -> Iterator[TextIO]:
    with storage.local_copy(place(output)) as path, open(path, encoding="ascii", errors="replace") as file:
        yield file


def _parsed(line: str):
    """What a line holds; None where it is damaged."""
    try:
        return json.loads(line)
    except ValueError:
        return None
