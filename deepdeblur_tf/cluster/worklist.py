"""The photos that are to be restored, in a file of the output folder.

So no process holds the names of all of them, and every machine can read them, after another's death too.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.cluster.inputs import PhotoFile
from deepdeblur_tf.cluster.manifest import FOLDER

# Photos are passed on in groups, each of which takes the driver 5 milliseconds and 3 KB that Ray does not give back:
# small photos in sixteens, larger ones each by itself, and of a million at least twenty.
_GROUP_PHOTOS, _GROUP_BYTES, _GROUPS = 16, 2**20, 50_000


def place(output: str) -> str:
    """Where the list lies, JSON of a photo in each line; readers of Parquet leave out names that begin with _."""
    return f"{output}/{FOLDER}/_todo.jsonl"


def write(output: str, photos: Iterable[PhotoFile]) -> int:
    """Writes the list into an output folder; returns how many photos there are."""
    count = 0

    def write(beside: Path) -> None:
        nonlocal count
        with open(beside, "w", encoding="ascii") as file:
            for photo in photos:
                file.write(json.dumps(photo) + "\n")  # in ASCII, with what is no UTF-8 in names as \udcXX
                count += 1

    storage.write_whole(place(output), write)
    return count


def left(output: str) -> Iterator[PhotoFile]:
    """What is on the list of a call that was killed or stopped; some may be restored, and have no row yet."""
    if storage.kind(place(output)) == "file":
        yield from itertools.chain.from_iterable(groups(output))


def groups(output: str) -> Iterator[list[PhotoFile]]:
    """The photos of the list, in groups for a process to take at once."""
    group: list[PhotoFile] = []
    with storage.local_copy(place(output)) as path, open(path, encoding="ascii") as file:
        least = sum(1 for _ in file) / _GROUPS
        file.seek(0)
        for line in file:
            group.append(PhotoFile(*json.loads(line)))
            is_large = len(group) >= _GROUP_PHOTOS or sum(photo.size for photo in group) >= _GROUP_BYTES
            if is_large and len(group) >= least:
                yield group
                group = []
    if group:
        yield group
