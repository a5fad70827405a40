"""Embedded scenes: pairs made from a seed, so that training runs with no download."""

from __future__ import annotations

import numpy as np

from deepdeblur_tf.config import SCENE_SIZE, SCENES, Data, Experiment
from deepdeblur_tf.data.protocol import DataSet, Source, TestSet
from deepdeblur_tf.data.sources import InMemory
from deepdeblur_tf.synthesis.embedded import make_embedded_scene

TESTED = 16  # pairs; those that experiments/quickstart.yaml validates on


class EmbeddedScenes(Source):
    """A source of embedded scenes; see `data.protocol`.

    Args:
        count: int. Number of pairs.
        seed: int. The experiment's seed.
        blur: "blur" or "blur_gamma".
        split: "train" or "validation"; the two share no scene.
    """

    def __init__(self, count: int, seed: int, blur: str, split: str):
        self.seed, self.blur, self.split = seed, blur, split
        self.names = [f"{split}/{index:06d}" for index in range(count)]

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [256, 256, 6]."""
        key = (self.seed, ("train", "validation").index(self.split), int(index))
        return make_embedded_scene(np.random.default_rng(key), self.blur)


def _in_memory(scenes: EmbeddedScenes) -> InMemory:
    return InMemory(scenes, len(scenes) * SCENE_SIZE**2 * 6)


def find(experiment: Experiment) -> DataSet:
    """As `protocol.Kind` has it."""
    data, seed, images = experiment.data, experiment.seed, experiment.validation.images

    def opened() -> tuple[Source, Source]:
        train, validation = (
            EmbeddedScenes(data.scenes, seed, data.blur, "train"),
            EmbeddedScenes(images, seed, data.blur, "validation"),
        )
        return (_in_memory(train), _in_memory(validation)) if data.cache == "memory" else (train, validation)

    return DataSet((), data.scenes, opened)


def find_test_set(data: Data, was_trained_on: bool) -> TestSet:
    """As `protocol.Kind` has it: pairs that no training sees."""
    about = {"root": SCENES, "layout": SCENES, "blur": data.blur, "pairs": TESTED, "fingerprint": SCENES}
    description = f"{TESTED} embedded scenes ({data.blur})"
    return TestSet(
        EmbeddedScenes(TESTED, 0, data.blur, "validation"), [""] * TESTED, about, description, independent=True
    )


def in_words(data: Data) -> str:
    """As `protocol.Kind` has it."""
    return f"{data.scenes} embedded synthetic scenes (`{data.blur}`)"
