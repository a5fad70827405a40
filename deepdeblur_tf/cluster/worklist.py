"""The photos that are to be restored, in a file of the output folder.

So no process holds the names of all of them, and every machine can read them, after another's death too.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.cluster.inputs import PhotoFile
from deepdeblur_tf.cluster.manifest import FOLDER

# Names are bytes, for not all are UTF-8.
_PHOTOS = pa.schema([("source", pa.binary()), ("target", pa.binary()), ("size", pa.int64()), ("changed", pa.int64())])
_ROWS = 1000  # that are read and written at once

# Photos are passed on in groups, each of which takes the driver 5 milliseconds and 3 KB that Ray does not give back:
# small photos in sixteens, larger ones each by itself, and of a million at least twenty.
_GROUP_PHOTOS, _GROUP_BYTES, _GROUPS = 16, 2**20, 50_000


def place(output: str) -> str:
    """Where the list lies; readers of Parquet leave out names that begin with _."""
    return f"{output}/{FOLDER}/_todo.parquet"


def write(output: str, photos: Iterable[PhotoFile]) -> int:
    """Writes the list into an output folder; returns how many photos there are."""
    count = 0

    def write(beside: Path) -> None:
        nonlocal count
        rest = iter(photos)
        with pq.ParquetWriter(beside, _PHOTOS) as writer:
            while rows := [_row(photo) for photo in itertools.islice(rest, _ROWS)]:
                writer.write_table(pa.Table.from_pylist(rows, _PHOTOS))
                count += len(rows)

    storage.write_whole(place(output), write)
    return count


def _row(photo: PhotoFile) -> dict:
    return {**photo._asdict(), "source": os.fsencode(photo.source), "target": os.fsencode(photo.target)}


def groups(output: str) -> Iterator[list[PhotoFile]]:
    """The photos of the list, in groups for a process to take at once."""
    group: list[PhotoFile] = []
    with storage.local_copy(place(output)) as path, pq.ParquetFile(path) as file:
        least = file.metadata.num_rows / _GROUPS
        for row in (row for batch in file.iter_batches(batch_size=_ROWS) for row in batch.to_pylist()):
            row.update(source=os.fsdecode(row["source"]), target=os.fsdecode(row["target"]))
            group.append(PhotoFile(**row))
            is_large = len(group) >= _GROUP_PHOTOS or sum(photo.size for photo in group) >= _GROUP_BYTES
            if is_large and len(group) >= least:
                yield group
                group = []
    if group:
        yield group
