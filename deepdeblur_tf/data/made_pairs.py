"""The source of pairs that are made from sharp photos while the training runs. Needs OpenCV."""

from __future__ import annotations

import collections
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deepdeblur_tf.config import Synthesis
from deepdeblur_tf.data.protocol import Source
from deepdeblur_tf.images.rgb import read_rgb
from deepdeblur_tf.memory import available_memory
from deepdeblur_tf.synthesis.generator import make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, reduced


class PhotoCache:
    """The photos that are kept in RAM, of several sources: as long as half of what is available holds them."""

    def __init__(self) -> None:
        self.photos: dict[Path, np.ndarray] = {}
        self._locks: collections.defaultdict[Path, threading.Lock] = collections.defaultdict(threading.Lock)
        self._adding = threading.Lock()
        self._room = available_memory() // 2

    def photo(self, file: Path) -> np.ndarray:
        """A photo, shrunk where it is large: uint8 [H, W, 3]."""
        if file in self.photos:  # without a lock, for others may be decoding
            return self.photos[file]
        with self._adding:
            own = self._locks[file]
        with own:  # or several threads decode the same large photo
            if file in self.photos:
                return self.photos[file]
            photo = reduced(read_rgb(file))
            with self._adding:
                if photo.nbytes <= self._room:
                    self.photos[file] = photo
                    self._room -= photo.nbytes
            return photo


class MadePairs(Source):
    """A source of pairs made from photos; see `data.protocol`.

    Args:
        files: The photos. Those that are not kept are decoded at every use.
        cache: Where they are kept.
        count: int. Pairs an epoch.
        side: int. Height and width of a pair.
        settings: How pairs are made.
        seed: int. The experiment's seed.
        split: "train", with other pairs in each epoch, or "validation".
    """

    def __init__(
        self,
        files: Sequence[Path],
        cache: PhotoCache,
        count: int,
        side: int,
        settings: Synthesis,
        seed: int,
        split: str,
    ):
        cv2.setNumThreads(1)  # its own would take the cores from those that make other pairs
        self.files, self.cache, self.side, self.settings = files, cache, side, settings
        self.is_endless = split == "train"
        self.names = [f"{split}/{index:06d}" for index in range(count)]
        self._key = (seed, ("train", "validation").index(split))
        self._pictures = Pictures(lambda index: cache.photo(files[index]), len(files), settings.painted)

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [side, side, 6], a function of the seed and the index."""
        random = np.random.default_rng((*self._key, int(index)))
        return make_pair(random, self.settings, (self.side, self.side), self._pictures)[0]
