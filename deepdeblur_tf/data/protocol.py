"""What every kind of data gives: the sets that were found, and sources of pairs. Loads no TensorFlow.

A kind is a module of this room with the functions of `Kind`; `data.kinds` finds it by the experiment's settings.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from deepdeblur_tf.config import Data, Experiment
from deepdeblur_tf.errors import UserError


class PairsError(UserError):
    """A folder whose images do not make pairs; the message names the folder or file and what was looked for."""


def refuse_smaller(name: object, size: Sequence[int], smallest: int, advice: str = "") -> None:
    """Raises PairsError for an image or a pair of (height, width) below a patch."""
    if min(size) < smallest:
        raise PairsError(f"{name}: is {size[1]}x{size[0]}, smaller than the {smallest}x{smallest} patch.{advice}")


class Source(ABC):
    """Pairs that can be read one by one.

    Attributes:
        names: One name a pair, such as GOPR0384_11_00/000001.
        is_endless: Whether there is a pair for any index, so that each epoch has `len(self)` new ones.
    """

    names: Sequence[str]
    is_endless = False

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.names)

    @abstractmethod
    def read(self, index: int) -> np.ndarray:
        """One pair: uint8 [H, W, 6], the blurry image's RGB, then the sharp one's."""


class Split(Protocol):
    """The training or the validation set, as it lies on disk."""

    @property
    def split(self) -> str:
        """Which one: "train" or "validation"."""

    @property
    def unit(self) -> str:
        """What is counted, such as "pairs"."""

    def __len__(self) -> int:
        """How many."""

    def fingerprint(self) -> str:
        """A text that changes with the files; see `fingerprint`."""

    def describe(self) -> str:
        """What was found, for a reader."""


@dataclass(frozen=True)
class DataSet:
    """An experiment's data, found and checked.

    Attributes:
        splits: What lies on disk; none for embedded scenes.
        epoch_pairs: How many pairs an epoch of the training has.
        open: Makes the sources of the training pairs and of the `validation.images` pairs that validate.
    """

    splits: Sequence[Split]
    epoch_pairs: int
    open: Callable[[], tuple[Source, Source]]

    def about(self) -> dict:
        """What lies on disk, to be recorded and compared: {"train": {"pairs": 2103, "sha256": "..."}, ...}."""
        return {split.split: {split.unit: len(split), "sha256": split.fingerprint()} for split in self.splits}


@dataclass(frozen=True)
class TestSet:
    """What networks are measured on.

    Attributes:
        source: The pairs.
        scenes: The scene of each pair, "" for none.
        about: Where they come from: root, layout, blur, the number of pairs, a fingerprint.
        description: The same for a reader.
        independent: Whether no two images are of one scene, although `scenes` names none.
    """

    source: Source
    scenes: Sequence[str]
    about: dict
    description: str
    independent: bool = False

    __test__ = False  # pytest would collect a class of this name as tests


class Kind(Protocol):
    """A kind of data."""

    def find(self, experiment: Experiment) -> DataSet:
        """Finds and checks an experiment's data. Raises PairsError and ImageError, which name the file."""

    def find_test_set(self, data: Data, was_trained_on: bool) -> TestSet:
        """Finds and checks the pairs to measure on, of data that a network was trained on or of others."""

    def in_words(self, data: Data) -> str:
        """What a network was trained on, for its card, without the folder's path."""


def fingerprint(images: Iterable[tuple[str, Sequence[Path]]]) -> str:
    """A short text that changes when images come, go, or change their names, sizes in bytes or last few kilobytes.

    In a compressed file other pixels show there as well; to read GOPRO_Large whole takes minutes.

    Args:
        images: Names, each with its files.
    """
    stamp = hashlib.sha256()
    for name, paths in images:
        stamp.update(f"{name}\n".encode(errors="surrogateescape"))
        for path in filter(os.path.isfile, paths):  # who reads the others hears of them; a pipe would be waited for
            with contextlib.suppress(OSError), open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 4096))
                stamp.update(f"{size}\n".encode() + file.read())
    return stamp.hexdigest()[:16]
