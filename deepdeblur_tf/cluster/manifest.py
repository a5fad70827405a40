"""The manifest in an output folder: a row for each photo, in Parquet.

manifest.parquet is a folder of parts, which readers of Parquet take for one table. Each part is written whole, so that
who is killed leaves all but the rows of the last moments. The row of a later part replaces an earlier one of the same
photo; `merge` makes all parts one, with a row a photo. A part that cannot be read is set aside under a name that
readers leave out: results that it alone told of are taken for others'.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.cluster.inputs import PhotoFile
from deepdeblur_tf.restoration.inputs import File
from deepdeblur_tf.terminal import shown_name

FOLDER = "manifest.parquet"
_ASIDE = "_damaged_"  # what the names of parts begin with that are set aside

ROW = pa.schema(
    [
        ("input", pa.string()),
        ("output", pa.string()),
        ("status", pa.string()),  # done or failed
        ("error", pa.string()),
        ("left_out", pa.list_(pa.string())),  # what the result lacks of what the photo's file holds
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("scale", pa.float32()),  # at which it was restored
        ("change", pa.float32()),  # how much was changed, relatively: below 0.5 hardly anything
        ("seconds", pa.float32()),
        ("input_bytes", pa.int64()),
        ("input_changed_ns", pa.int64()),
        ("input_sha256", pa.string()),
        ("output_bytes", pa.int64()),  # -1 where there is none
        ("output_changed_ns", pa.int64()),
        ("network_sha256", pa.string()),
        ("options", pa.string()),  # JSON
        ("finished", pa.timestamp("ms", "UTC")),
    ]
)
_LATER = {"left_out", "scale", "change", "output_bytes", "output_changed_ns"}  # columns that came later


def readable(text: str) -> str:
    r"""A text with what is no UTF-8 in the names of files as \xe9; Parquet holds nothing else."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def told_of(photo: PhotoFile, result: File) -> dict:
    """What a row tells of a photo's file, and of its result's."""
    return {
        "input": photo.source,
        "input_bytes": photo.size,
        "input_changed_ns": photo.mtime_ns,
        "output": photo.target,
        "output_bytes": result.size,
        "output_changed_ns": result.mtime_ns,
    }


@dataclass(frozen=True)
class Known:
    """What a manifest tells of photos and results.

    It holds hashes alone: the names of a million photos would take a gigabyte.

    Attributes:
        photos: The states, size and time, in which photos were restored by this network and options.
        results: The names and states of what was written by any, with the place of the photo, and with its state; names
            alone from earlier versions. Their folder may have been moved.
    """

    photos: dict[int, int]
    results: set[int]

    def is_done(self, photo: PhotoFile) -> bool:
        """Whether a photo, as it is now, is restored by this network and options."""
        return self.photos.get(hash(readable(photo.source))) == hash((photo.size, photo.mtime_ns))

    def is_foreign(self, photo: PhotoFile, result: File) -> bool:
        """Whether what lies under a result's name was made of another photo, not by this command, or changed since."""
        names = _names_of(told_of(photo, result))
        return result.size >= 0 and self.results.isdisjoint(map(hash, names))


def _names_of(row: dict) -> list[tuple]:
    """What a row's result is known by."""
    name = readable(row["output"]).rpartition("/")[2]
    state = name, row["output_bytes"], row["output_changed_ns"]
    by_photo = (*state, readable(row["input"])), (*state, row["input_bytes"], row["input_changed_ns"])
    return [(name,), *by_photo]


class Manifest:
    """The manifest of an output folder.

    Args:
        output: The folder's place.
        network_sha256: The network's SHA-256.
        options: What else a result depends on.

    Attributes:
        damaged: Parts that were set aside, by their names now.
    """

    def __init__(self, output: str, network_sha256: str, options: dict):
        self.folder = f"{output}/{FOLDER}"
        self._method = {"network_sha256": network_sha256, "options": json.dumps(options, sort_keys=True)}
        self.damaged: list[str] = []
        self._rows: list[dict] = []
        self._own: list[str] = []  # parts that this object wrote
        self._names: dict[str, str] = {}  # of files whose names are no UTF-8, by how the rows tell of them
        self._begun = self._written = time.monotonic()

    def known(self) -> Known:
        """Reads the manifest."""
        photos, results = dict[int, int](), set[int]()
        for part in self._parts():
            for row in (row for table in self._tables(part) for row in table.to_pylist()):
                if row["status"] == "done" and all(row[key] == value for key, value in self._method.items()):
                    photos[hash(row["input"])] = hash((row["input_bytes"], row["input_changed_ns"]))
                else:
                    photos.pop(hash(row["input"]), None)
                by_name, *by_photo = map(hash, _names_of(row))
                results.update([by_name] if row["output_bytes"] is None else by_photo)
        return Known(photos, results)

    def adopt(self, photos: Iterable[PhotoFile], begun: int, known: Known) -> bool:
        """Writes rows of results that have none, as a call that was killed leaves them.

        Args:
            photos: What that call was to restore.
            begun: When it began, in nanoseconds since 1970, or 0 where there was none. What has a row since then, and
                is another now, was changed by others.
            known: What the manifest tells.

        Returns:
            Whether there were any.
        """
        if not begun:
            return False
        error = "the command was stopped before this was noted"
        since = (part for part in self._parts() if Path(part).stem >= f"{begun:020}")
        noted = {hash(name) for part in since for table in self._tables(part) for name in table["input"].to_pylist()}
        waiting = iter(photos)
        while batch := list(itertools.islice(waiting, 1000)):  # object stores answer many at a time
            for photo, result in zip(batch, storage.described([photo.target for photo in batch])):
                is_since = result.mtime_ns >= begun  # else that call did not reach it
                if is_since and known.is_foreign(photo, result) and hash(readable(photo.source)) not in noted:
                    self.add([{**told_of(photo, result), "status": "failed", "error": error}])
        self.write()
        return bool(self._own)

    def add(self, rows: Iterable[dict]) -> None:
        """Adds rows, without the network and the options, and writes them from time to time.

        Who is killed loses a fiftieth of the work, at most a minute's. More parts would be slow to read.
        """
        for row in rows:
            texts = {key: readable(value) for key, value in row.items() if isinstance(value, str)}
            self._names.update((text, row[key]) for key, text in texts.items() if text != row[key])
            self._rows.append({**row, **texts})
        now = time.monotonic()
        if now - self._written > min(60, (now - self._begun) / 50):
            self.write()

    def write(self) -> None:
        """Writes the rows that were added since as a part."""
        if self._rows:
            table = pa.Table.from_pylist([{**row, **self._method} for row in self._rows], ROW)
            self._own.append(self._new_part())
            storage.write_whole(self._own[-1], lambda beside: pq.write_table(table, beside))
        self._rows, self._written = [], time.monotonic()

    def fail_gone(self) -> Iterator[str]:
        """Turns the rows of this object whose results are not there any more into failed ones; yields their errors."""
        for part in self._own[:]:
            for table in self._tables(part):
                done = table.filter(pc.equal(table["status"], "done")).to_pylist()
                places = [self._names.get(row["output"], row["output"]) for row in done]
                for row, file in zip(done, storage.described(places)):
                    if file.size < 0:
                        error = shown_name(f"{file.place}: was restored, and is not there any more")
                        self.add([{**row, "status": "failed", "error": error}])
                        yield error
        self.write()

    def merge(self) -> None:
        """Makes the parts one, with the last row of each photo."""
        parts, seen = self._parts(), set[int]()

        def write(beside: Path) -> None:
            with pq.ParquetWriter(beside, ROW) as writer:
                for table in (table for part in reversed(parts) for table in self._tables(part, reversed)):
                    last = {hash(name): index for index, name in enumerate(table["input"].to_pylist())}
                    kept = sorted(last[key] for key in last.keys() - seen)
                    writer.write_table(table.take(pa.array(kept, pa.int64())))  # typed, for it may be empty
                    seen.update(last)

        if len(parts) > 1:
            storage.write_whole(self._new_part(), write)
            for part in set(parts) & set(self._parts()):
                storage.remove(part)

    def _parts(self) -> list[str]:
        """The parts, earlier ones first."""
        names = sorted(storage.names(self.folder))
        return [f"{self.folder}/{name}" for name in names if name.endswith(".parquet") and name[0] not in "._"]

    def _new_part(self) -> str:
        return f"{self.folder}/{time.time_ns():020}.parquet"

    def _tables(self, part: str, order: Callable = iter) -> Iterator[pa.Table]:
        """A part's rows, as many at a time as were written together; where it is damaged, those before."""
        with storage.local_copy(part) as path:
            try:
                with pq.ParquetFile(path) as file:
                    for group in order(range(file.num_row_groups)):
                        table = file.read_row_group(group)
                        for name in _LATER - set(table.column_names):  # written before there was one
                            table = table.append_column(name, pa.nulls(len(table), ROW.field(name).type))
                        yield table.select(ROW.names).cast(ROW)
                return
            except (pa.ArrowException, OSError, ValueError, KeyError):  # no Parquet, or other columns
                if not path.is_file():  # the folder was removed
                    raise
        folder, _, name = part.rpartition("/")
        aside = f"{folder}/{_ASIDE}{name}"
        storage.move(part, aside)
        self.damaged.append(aside)
