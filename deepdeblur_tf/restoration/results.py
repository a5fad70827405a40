"""The results in a folder, and what each was made of: what is done, and which files are not to be touched."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_whole

RECORD = "restored.jsonl"


class Results:
    """A folder of results. Its restored.jsonl says of each file what it was made of, in a line of JSON.

    A file is known by its name, size and time of change. Its line is written before it gets its name, so that no lock
    is needed: of several processes that write the same result, each has its line there, whichever is the last. A line
    whose file was never finished, or was replaced or changed since, matches none.

    Args:
        folder: The folder; it need not exist.
        method: What a result depends on beside its source: the network's SHA-256 and the options, as JSON has them.
    """

    def __init__(self, folder: Path, method: dict):
        self.folder, self.method = folder, method
        self._record = folder / RECORD
        self._inode = self._read = 0  # the record's, and how many of its bytes were read
        self._made: dict[tuple, dict] = {}

    def recipe(self, source: Path, kind: str) -> dict:
        """What a result of a source is to be made of, for `state` and `write`.

        Args:
            source: The file as it is now.
            kind: Which of its results, "restored" or "comparison".
        """
        state = source.stat()
        known = {"path": os.path.abspath(source), "size": state.st_size, "mtime_ns": state.st_mtime_ns}
        return {"kind": kind, "source": known, **self.method}

    def read(self) -> None:
        """Reads the lines that were added since, by other processes too.

        Raises:
            UserError: under the record's name lies no file.
        """
        if not self._record.is_file():
            if os.path.lexists(self._record):  # nothing could be recorded, and a pipe would be waited for
                raise UserError(f"{self._record}: is a folder, a pipe or a link to nowhere. Move it away.")
            self._read = 0  # it was removed, or never there
            return
        with open(self._record, "rb") as file:
            state = os.fstat(file.fileno())
            if state.st_ino != self._inode or state.st_size < self._read:  # another file, as after a removal
                self._inode, self._read = state.st_ino, 0
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # being written
                    break
                self._read += len(line)
                try:
                    entry = json.loads(line)
                    made = entry["made_of"]
                    if isinstance(made, dict) and isinstance(made["source"]["path"], str):
                        self._made[entry["name"], entry["size"], entry["mtime_ns"]] = made
                # cut off by a full disk, or of another program
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue

    def made_of(self, path: Path) -> dict | None:
        """The recipe of a result as it lies there; None for what is not there, or was not written by `write`."""
        try:
            state = path.stat()
        except OSError:
            return None
        return self._made.get((self._name(path), state.st_size, state.st_mtime_ns))

    def state(self, path: Path, recipe: dict) -> str:
        """What a result's path holds.

        Returns:
            "missing"; "done", by this recipe; "outdated", by another network, with other options or of the source as
            it was earlier; or "foreign", something else, which is not to be touched.
        """
        made = self.made_of(path)
        if made is None:
            return "foreign" if os.path.lexists(path) else "missing"
        same_source = made["source"]["path"] == recipe["source"]["path"]
        made = {**made, "source": {**made["source"], "path": recipe["source"]["path"]}}  # it may have been moved
        if made == recipe:
            return "done"
        return "outdated" if same_source or made["source"] == recipe["source"] else "foreign"

    def write(self, path: Path, recipe: dict, write: Callable[[Path], None], about: Callable[[], dict] = dict) -> None:
        """Writes a result, whole or not at all, and its line.

        Args:
            path: Where to.
            recipe: What it is made of.
            write: Called with the path to write to, which has the same suffix.
            about: Called when it is written, for what else its line is to tell, as JSON has it.
        """

        def write_and_record(beside: Path) -> None:
            write(beside)
            state = beside.stat()
            entry = {"name": self._name(path), "size": state.st_size, "mtime_ns": state.st_mtime_ns, "made_of": recipe}
            self._add(json.dumps({**entry, **about()}).encode() + b"\n")

        write_whole(path, write_and_record)

    def _add(self, line: bytes) -> None:
        with open(self._record, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # after one that was cut off
            file.write(line)  # at the end, in one piece, wherever other processes have written meanwhile

    def _name(self, path: Path) -> str:
        return path.relative_to(self.folder).as_posix()
