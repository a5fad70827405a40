"""The source of pairs that are made from sharp photos while the training runs. Needs OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepdeblur_tf.config import Synthesis
from deepdeblur_tf.images.rgb import read_rgb
from deepdeblur_tf.memory import available_memory
from deepdeblur_tf.synthesis.generator import make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, shrunk


class MadePairs:
    """A source of pairs made from photos; see `data.protocol`.

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
