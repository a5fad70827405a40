"""Pairs made from a folder of sharp photos while the training runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepdeblur_tf.config import Experiment, Synthesis
from deepdeblur_tf.data.pairs import PairsError
from deepdeblur_tf.images.rgb import SUFFIXES, read_rgb
from deepdeblur_tf.synthesis.generator import make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, shrunk


class Photos:
    """A source of pairs made from photos; see `deepdeblur_tf.data.sources`.

    Args:
        files: The photos.
        count: int. Pairs an epoch.
        side: int. Height and width of a pair.
        settings: How pairs are made.
        seed: int. The experiment's seed.
        split: "train", an endless stream, or "validation", `count` fixed pairs.
    """

    def __init__(self, files: Sequence[Path], count: int, side: int, settings: Synthesis, seed: int, split: str):
        self.files, self.count, self.side, self.settings, self.seed = files, count, side, settings, seed
        self.split, self.is_endless = split, split == "train"
        self.names = [f"{split}/{index:06d}" for index in range(count)]
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()
        self._pictures = Pictures(self._photo, len(files), settings.painted)

    def __len__(self) -> int:
        return self.count

    def _photo(self, index: int) -> np.ndarray:
        with self._lock:
            if index not in self._kept:
                self._kept[index] = shrunk(read_rgb(self.files[index]))
            return self._kept[index]

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [side, side, 6]."""
        key = (self.seed, ("train", "validation").index(self.split), int(index))
        return make_pair(np.random.default_rng(key), self.settings, self.side, self._pictures)[0]


def open_photos(experiment: Experiment) -> tuple[Photos, Photos]:
    """Training and validation pairs; every tenth photo is kept for validation."""
    data = experiment.data
    files = sorted(path for path in Path(data.root).expanduser().rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise PairsError(f"{data.root}: holds no photos. Looked for files ending in {', '.join(SUFFIXES)}.")
    held = files[::10] if len(files) > 1 else []
    train = [file for file in files if file not in held]
    common = experiment.synthesis, experiment.seed
    return (
        Photos(train, data.pairs, data.patch_size, *common, "train"),
        Photos(held, experiment.validation.images, 256, *common, "validation"),
    )
