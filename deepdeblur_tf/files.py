"""Files that are written whole or not at all, and known by their hashes."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path


def write_whole(path: Path, write) -> None:
    """Writes a file beside its place and renames it into it, so that nobody ever finds half of it; makes its folder.

    Args:
        path: The file.
        write: Called with the path to write to, which has the same suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        write(beside)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def disk_fault(error: BaseException) -> str | None:
    """What keeps a disk from being written, in the system's words; None for an error of another kind.

    A full disk comes as TensorFlow's error, HDF5's or Python's, depending on who was writing.
    """
    found = re.search("No space left on device|Disk quota exceeded|Read-only file system", str(error))
    return found and found[0]


def sha256_of(path: Path) -> str:
    """A file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
