"""The manifest in an output folder: a row for each photo, in Parquet.

manifest.parquet is a folder of parts, which readers of Parquet take for one table. Each part is written whole, so that
who is killed leaves all but the rows of the last moments. The row of a later part replaces an earlier one of the same
photo; `merge` makes all parts one, with a row a photo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.cluster.inputs import Photo

FOLDER = "manifest.parquet"

ROW = pa.schema(
    [
        ("input", pa.string()),
        ("output", pa.string()),
        ("status", pa.string()),  # done or failed
        ("error", pa.string()),
        ("left_out", pa.list_(pa.string())),  # what the result lacks of what the photo's file holds
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("seconds", pa.float32()),
        ("input_bytes", pa.int64()),
        ("input_changed_ns", pa.int64()),
        ("input_sha256", pa.string()),
        ("network_sha256", pa.string()),
        ("options", pa.string()),  # JSON
        ("finished", pa.timestamp("ms", "UTC")),
    ]
)
_LEFT_OUT = ROW.get_field_index("left_out")


class Manifest:
    """The manifest of an output folder.

    Args:
        output: The folder's place.
        network_sha256: The network's SHA-256.
        options: What else a result depends on.
    """

    def __init__(self, output: str, network_sha256: str, options: dict):
        self.folder = f"{output}/{FOLDER}"
        self._how = {"network_sha256": network_sha256, "options": json.dumps(options, sort_keys=True)}
        self._rows: list[dict] = []
        self._begun = self._written = time.monotonic()

    def done(self) -> Callable[[Photo], bool]:
        """Reads the manifest; returns whether a photo, as it is now, is restored by this network and options.

        Only hashes are kept: the names of a million photos would take a gigabyte.
        """
        versions: dict[int, int] = {}
        for part in self._parts():
            for row in (row for table in _tables(part) for row in table.to_pylist()):
                if row["status"] == "done" and all(row[key] == value for key, value in self._how.items()):
                    versions[hash(row["input"])] = hash((row["input_bytes"], row["input_changed_ns"]))
                else:
                    versions.pop(hash(row["input"]), None)
        return lambda photo: versions.get(hash(photo.source)) == hash((photo.size, photo.changed))

    def add(self, rows: Iterable[dict]) -> None:
        """Adds rows, without the network and the options, and writes them from time to time.

        Who is killed loses a fiftieth of the work, at most a minute's. More parts would be slow to read.
        """
        self._rows += rows
        now = time.monotonic()
        if now - self._written > min(60, (now - self._begun) / 50):
            self.write()

    def write(self) -> None:
        """Writes the rows that were added since as a part."""
        if self._rows:
            table = pa.Table.from_pylist([{**row, **self._how} for row in self._rows], ROW)
            storage.write_whole(self._new_part(), lambda beside: pq.write_table(table, beside))
        self._rows, self._written = [], time.monotonic()

    def merge(self) -> None:
        """Makes the parts one, with the last row of each photo."""
        parts, seen = self._parts(), set[int]()

        def write(beside: Path) -> None:
            with pq.ParquetWriter(beside, ROW) as writer:
                for table in (table for part in reversed(parts) for table in _tables(part, reversed)):
                    last = {hash(name): index for index, name in enumerate(table["input"].to_pylist())}
                    writer.write_table(table.take(sorted(last[key] for key in last.keys() - seen)))
                    seen.update(last)

        if len(parts) > 1:
            storage.write_whole(self._new_part(), write)
            for part in parts:
                storage.remove(part)

    def _parts(self) -> list[str]:
        """The parts, earlier ones first."""
        names = sorted(storage.names(self.folder))
        return [f"{self.folder}/{name}" for name in names if name.endswith(".parquet") and name[0] not in "._"]

    def _new_part(self) -> str:
        return f"{self.folder}/{time.time_ns():020}.parquet"


def _tables(part: str, order: Callable = iter) -> Iterator[pa.Table]:
    """A part's rows, as many at a time as were written together."""
    with storage.local_copy(part) as path, pq.ParquetFile(path) as file:
        for group in order(range(file.num_row_groups)):
            table = file.read_row_group(group)
            if "left_out" not in table.column_names:  # written before there was one
                table = table.add_column(
                    _LEFT_OUT, ROW.field(_LEFT_OUT), pa.nulls(len(table), ROW.field(_LEFT_OUT).type)
                )
            yield table
