"""Sources of pairs that lie in files: decoded at every use, kept in memory or on disk, unreadable ones skipped."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdeblur_tf.data.protocol import PairsError, Source, refuse_smaller
from deepdeblur_tf.files import user_path, write_whole
from deepdeblur_tf.images.opening import ImageError, pillow_errors
from deepdeblur_tf.images.rgb import image_size, read_rgb
from deepdeblur_tf.memory import available_memory


@dataclass(frozen=True)
class Pair:
    """A blurry image file and its sharp partner.

    Attributes:
        scene: The scene's folder, such as GOPR0384_11_00; "" in a folder without scenes.
        name: Scene and file without its suffix, such as GOPR0384_11_00/000001.
        blurry: The blurry image's file.
        sharp: The sharp image's file.
    """

    scene: str
    name: str
    blurry: Path
    sharp: Path


class Files(Source):
    """Pairs decoded from their files at every read.

    Args:
        pairs: The `Pair`s.
    """

    def __init__(self, pairs: Sequence[Pair]):
        self.pairs = pairs
        self.names = [pair.name for pair in pairs]

    def read(self, index: int) -> np.ndarray:
        """Decodes one pair: uint8 [H, W, 6]. Raises ImageError or PairsError, which name the file."""
        pair = self.pairs[index]
        blurry, sharp = read_rgb(pair.blurry), read_rgb(pair.sharp)
        if blurry.shape != sharp.shape:
            raise PairsError(f"two sizes in one pair: {pair.blurry} and {pair.sharp}")
        return np.concatenate([blurry, sharp], axis=2)


def decoded_bytes(pair: Pair) -> int:
    """What a pair takes in memory; 0 for one that cannot be read."""
    try:
        height, width = image_size(pair.blurry)
    except ImageError:  # who reads it hears of it
        return 0
    return height * width * 6


class ReadableOnly(Source):
    """Another source in which a pair that cannot be read is replaced by the next one that can.

    Args:
        source: The source.
        log: The file that the unreadable ones are listed in, a line each.
        smallest: Height and width of a pair that counts as readable are at least this many pixels.
    """

    def __init__(self, source: Source, log: Path, smallest: int = 1):
        self.source, self.log, self._smallest = source, log, smallest
        self.names, self.is_endless = source.names, source.is_endless
        self._lock = threading.Lock()

    def unreadable(self) -> list[str]:
        """What was found so far: the messages, each with its file's name."""
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.is_file() else []

    def read(self, index: int) -> np.ndarray:
        """One pair: uint8 [H, W, 6]. Raises PairsError where not a single one can be read."""
        for offset in range(len(self)):
            try:
                following = index + offset if self.is_endless else (index + offset) % len(self)
                pair = self.source.read(following)
                refuse_smaller(self.names[following % len(self)], pair.shape[:2], self._smallest)
                return pair
            except (ImageError, PairsError) as error:
                with self._lock:
                    if str(error) not in self.unreadable():
                        with open(self.log, "a", encoding="utf-8") as file:
                            file.write(f"{error}\n")
        raise PairsError(
            f"not one of the {len(self)} training pairs can be read; the last said: {self.unreadable()[-1]}"
        )


class InMemory(Source):
    """Another source's pairs, each read once and kept in RAM.

    Args:
        source: The source to keep.
        size: What all of its pairs take, in bytes.

    Raises:
        PairsError: there is too little memory for all of its pairs.
    """

    def __init__(self, source: Source, size: int):
        self.source = source
        self.names = source.names
        available = available_memory()
        if size > available:
            raise PairsError(
                f"data.cache: the decoded images need {size / 1e9:.1f} GB of memory; {available / 1e9:.1f} GB are "
                "available. Use data.cache disk or none."
            )
        self._cache: dict[int, np.ndarray] = {}

    def read(self, index: int) -> np.ndarray:
        """One pair: uint8 [H, W, 6]."""
        if index not in self._cache:
            self._cache[index] = self.source.read(index)
        return self._cache[index]


class OnDisk(Source):
    """File pairs, each decoded once into a memory-mapped array that later runs reuse.

    A pair's array is named after both files' paths, sizes and modification times, so a file that changed is decoded
    anew. It is written whole or not at all: a first pass may be interrupted, and several processes may fill one
    folder.

    Args:
        source: The files.
        folder: Where the arrays go; made if missing.
    """

    def __init__(self, source: Files, folder):
        self.source = source
        self.names = source.names
        self.folder = user_path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PairsError(f"data.cache_folder: cannot make {self.folder} ({error.strerror})") from error

        missing = [pair for pair in source.pairs if not self._is_there(pair)]
        needed = sum(map(decoded_bytes, missing)) + 4096 * len(missing)  # what the file system rounds up to
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise PairsError(
                f"data.cache_folder: {self.folder} has {free / 1e9:.1f} GB free, and the decoded images need "
                f"{needed / 1e9:.1f} GB. Make room, name another folder, or use data.cache none or memory."
            )

    def read(self, index: int) -> np.ndarray:
        """One pair: uint8 [H, W, 6]; mapped into memory once it is in the folder."""
        array = self._array(self.source.pairs[index])
        try:
            return np.load(array, mmap_mode="r")
        except (FileNotFoundError, ValueError, EOFError):  # not there yet, or damaged
            pass
        except OSError as error:
            raise PairsError(f"data.cache_folder: {array} cannot be read ({error.strerror}).") from error
        image = self.source.read(index)
        try:
            write_whole(array, lambda beside: np.save(beside, image))
        except OSError as error:
            raise PairsError(
                f"data.cache_folder: cannot write to {self.folder} ({error.strerror or error}). Make room, name "
                "another folder, or use data.cache none or memory."
            ) from error
        return image

    def _is_there(self, pair: Pair) -> bool:
        try:
            return self._array(pair).is_file()
        except ImageError:  # who reads it hears of it
            return False

    def _array(self, pair: Pair) -> Path:
        stamp = hashlib.sha256()
        for path in (pair.blurry, pair.sharp):
            with pillow_errors(path):
                status = path.stat()
            stamp.update(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
        return self.folder / f"{stamp.hexdigest()[:32]}.npy"


def spread(count: int, most: int) -> np.ndarray:
    """At most `most` of the indices 0 to count - 1, evenly spread over them, first and last included: int64."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int)
