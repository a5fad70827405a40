"""Pairs made from a folder of sharp photos while the training runs (`data.layout: photos`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from deepdeblur_tf.config import Experiment, Synthesis
from deepdeblur_tf.data.pairs import PairsError, fingerprint
from deepdeblur_tf.files import walk
from deepdeblur_tf.images.rgb import SUFFIXES, image_size, read_rgb
from deepdeblur_tf.memory import available_memory
from deepdeblur_tf.synthesis.generator import make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, shrunk

VALIDATION_SIDE = 256  # pixels
_HELD = 10  # one of so many photos is validated on


@dataclass(frozen=True)
class PhotoFolder:
    """The photos of one split.

    Attributes:
        root: The folder.
        split: "train" or "validation".
        files: Sorted.
        unit: What is counted.
    """

    root: Path
    split: str
    files: tuple[Path, ...]
    unit = "photos"

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.files)

    def fingerprint(self) -> str:
        """A text that changes with the photos; see `pairs.fingerprint`."""
        return fingerprint((file.relative_to(self.root).as_posix(), [file]) for file in self.files)

    def describe(self) -> str:
        """What was found."""
        return f"{self.split}: pairs made from {len(self)} photo{'s' * (len(self) > 1)} in {self.root}"


class Photos:
    """A source of pairs made from photos; see `deepdeblur_tf.data.sources`.

    Args:
        files: The photos. They are kept in RAM, large ones shrunk, as long as half of what is available holds them;
            the others are decoded at every use.
        count: int. Pairs an epoch.
        side: int. Height and width of a pair.
        settings: How pairs are made.
        seed: int. The experiment's seed.
        split: "train", with other pairs in each epoch, or "validation".
    """

    def __init__(self, files: Sequence[Path], count: int, side: int, settings: Synthesis, seed: int, split: str):
        self.files, self.count, self.side, self.settings = files, count, side, settings
        self.is_endless = split == "train"
        self.names = [f"{split}/{index:06d}" for index in range(count)]
        self._key = (seed, ("train", "validation").index(split))
        self._kept: dict[int, np.ndarray] = {}
        self._reading = threading.Lock()
        self._room = available_memory() // 2
        self._pictures = Pictures(self._photo, len(files), settings.painted)

    def __len__(self) -> int:
        return self.count

    def _photo(self, index: int) -> np.ndarray:
        with self._reading:  # or several threads decode the same large photo
            if index in self._kept:
                return self._kept[index]
            photo = shrunk(read_rgb(self.files[index]))
            if photo.nbytes <= self._room:
                self._kept[index] = photo
                self._room -= photo.nbytes
            return photo

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [side, side, 6], a function of the seed and the index."""
        random = np.random.default_rng((*self._key, int(index)))
        return make_pair(random, self.settings, (self.side, self.side), self._pictures)[0]


def find_photos(root, smallest: int) -> tuple[PhotoFolder, PhotoFolder]:
    """The photos to train on, and those to validate on: every tenth, in the order of their names; of one, none.

    Args:
        root: The folder; its sub-folders' photos count too.
        smallest: Height and width must be at least this many pixels.

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise PairsError(f"{root}: no such folder. Give a folder of photos.")
    files = sorted(file for _, files in walk(root) for file in files if file.suffix.lower() in SUFFIXES)
    if not files:
        raise PairsError(f"{root}: holds no photos. Looked for files ending in {', '.join(SUFFIXES)}.")
    for file in files:
        height, width = image_size(file)
        if min(height, width) < smallest:
            raise PairsError(
                f"{file}: is {width}x{height}, smaller than the {smallest}x{smallest} patch. Lower data.patch_size or "
                "take the photo out."
            )
    held = files[::_HELD] if len(files) > 1 else []
    train = [file for number, file in enumerate(files) if number % _HELD or not held]
    return PhotoFolder(root, "train", tuple(train)), PhotoFolder(root, "validation", tuple(held))


def open_photos(experiment: Experiment, folders: tuple[PhotoFolder, PhotoFolder]) -> tuple[Photos, Photos]:
    """The sources of training pairs and of validation pairs.

    All validation pairs are blurred, whatever `synthesis.unblurred` says: a mean PSNR before the restoration would
    mostly tell how many were not.
    """
    train, held = folders
    data, settings, seed = experiment.data, experiment.synthesis, experiment.seed
    images = experiment.validation.images if held else 0
    return (
        Photos(train.files, data.pairs, data.patch_size, settings, seed, "train"),
        Photos(held.files, images, VALIDATION_SIDE, replace(settings, unblurred=0), seed, "validation"),
    )
