"""Pairs made from a folder of sharp photos while the training runs (`data.layout: photos`)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from deepdeblur_tf.config import Experiment, Synthesis
from deepdeblur_tf.data.pairs import PairsError
from deepdeblur_tf.images.rgb import SUFFIXES, image_size, read_rgb
from deepdeblur_tf.synthesis.generator import make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, shrunk

VALIDATION_SIDE = 256  # pixels
_HELD = 10  # one of so many photos is validated on


class Photos:
    """A source of pairs made from photos; see `deepdeblur_tf.data.sources`.

    Args:
        files: The photos. Each is read once and kept in RAM, a large one shrunk.
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
        self._pictures = Pictures(self._photo, len(files), settings.painted)

    def __len__(self) -> int:
        return self.count

    def _photo(self, index: int) -> np.ndarray:
        with self._reading:  # or several threads decode the same large photo
            if index not in self._kept:
                self._kept[index] = shrunk(read_rgb(self.files[index]))
            return self._kept[index]

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [side, side, 6], a function of the seed and the index."""
        random = np.random.default_rng((*self._key, int(index)))
        return make_pair(random, self.settings, (self.side, self.side), self._pictures)[0]


def open_photos(experiment: Experiment) -> tuple[Photos, Photos]:
    """The sources of training pairs and of validation pairs, which are made from every tenth photo.

    A single photo leaves none to validate on. All validation pairs are blurred, whatever `synthesis.unblurred` says: a
    mean PSNR before the restoration would mostly tell how many were not.

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
    """
    data, root = experiment.data, Path(experiment.data.root).expanduser()
    if not root.is_dir():
        raise PairsError(f"{root}: no such folder. Give a folder of photos.")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != ".")
    if not files:
        raise PairsError(f"{root}: holds no photos. Looked for files ending in {', '.join(SUFFIXES)}.")
    for file in files:
        height, width = image_size(file)
        if min(height, width) < data.patch_size:
            raise PairsError(
                f"{file}: is {width}x{height}, smaller than the {data.patch_size}x{data.patch_size} patch. Lower "
                "data.patch_size or take the photo out."
            )
    held = files[::_HELD] if len(files) > 1 else []
    train = [file for file in files if file not in held]
    settings, seed = experiment.synthesis, experiment.seed
    images = experiment.validation.images if held else 0
    return (
        Photos(train, data.pairs, data.patch_size, settings, seed, "train"),
        Photos(held, images, VALIDATION_SIDE, replace(settings, unblurred=0), seed, "validation"),
    )
