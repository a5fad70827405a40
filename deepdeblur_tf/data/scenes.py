"""Embedded scenes: pairs made from a seed, so that training runs with no download.

A scene is painted after the dead-leaves model of natural images (Lee, Mumford and Huang, IJCV 2001): opaque, textured,
coloured shapes that cover one another, their radii r distributed as r^-3. A few straight edges and words are added.
The camera moves and turns over the painted ground, and objects cut from other paintings move before it. As in GOPRO,
several sharp frames are averaged into the blurry image, and the middle frame is the sharp one.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from deepdeblur_tf.config import SCENE_SIZE, SCENES, Data, Experiment
from deepdeblur_tf.data.protocol import DataSet, Source, TestSet
from deepdeblur_tf.data.sources import InMemory
from deepdeblur_tf.synthesis.camera import AVERAGED, GAMMA
from deepdeblur_tf.synthesis.painting import cut_object, paint

TESTED = 16  # pairs; those that experiments/quickstart.yaml validates on
MARGIN = 32  # pixels of painted ground around the frame, more than the camera ever moves


def _path(random: np.random.Generator, frames: int, reach: float) -> np.ndarray:
    """A smooth path through (0, 0) at the middle frame: float [frames, 2] in pixels, about `reach` long."""
    time = np.linspace(-1, 1, frames)[:, None]
    angle = random.uniform(0, 2 * np.pi)
    forward = np.array([[np.cos(angle), np.sin(angle)]])
    bend = random.normal(0, 0.2) * forward[:, ::-1] * [[-1, 1]]
    return reach / 2 * (time * forward + time**2 * bend)


def _moved(image: Image.Image, shift, turn: float, size: int, origin) -> Image.Image:
    """The size x size window at `origin` of an image that moved by `shift` and turned by `turn` radians."""
    cosine, sine = np.cos(turn), np.sin(turn)
    centre = np.array(image.size) / 2
    start = np.asarray(origin) - shift - centre
    x = cosine * start[0] - sine * start[1] + centre[0]
    y = sine * start[0] + cosine * start[1] + centre[1]
    return image.transform(
        (size, size), Image.Transform.AFFINE, (cosine, -sine, x, sine, cosine, y), Image.Resampling.BILINEAR
    )


def make_scene(random: np.random.Generator, blur: str = "blur") -> np.ndarray:
    """Makes one pair.

    Args:
        random: The generator; the same state makes the same pair.
        blur: "blur" averages the frames' 8-bit values, "blur_gamma" their linear light (a gamma of 2.2).

    Returns:
        uint8 [256, 256, 6]: the blurry image's RGB, then the sharp one's.
    """
    frames = int(random.choice(AVERAGED))
    ground = paint(random, SCENE_SIZE + 2 * MARGIN)
    camera = _path(random, frames, random.uniform(3, 1.2 * frames))
    turns = np.linspace(-1, 1, frames) * random.normal(0, 0.008)
    objects = [
        (
            cut_object(random, 60),
            random.uniform(0, SCENE_SIZE, 2),
            _path(random, frames, random.uniform(0, 1.4 * frames)),
        )
        for _ in range(random.integers(0, 4))
    ]
    # Linear light is averaged through a table of 256 values.
    linear = (np.arange(256, dtype=np.float32) / 255) ** GAMMA if blur == "blur_gamma" else None
    total = np.zeros((SCENE_SIZE, SCENE_SIZE, 3), np.float32)
    for frame in range(frames):
        view = _moved(ground, camera[frame], turns[frame], SCENE_SIZE, (MARGIN, MARGIN))
        for cut, middle, path in objects:
            corner = middle + path[frame] + camera[frame] - np.array(cut.size) / 2
            left, top = (int(side) for side in np.floor(corner))
            # The object's fraction of a pixel is moved by interpolation, the rest by where it is put.
            shifted = _moved(cut, corner - (left, top), 0.0, cut.size[0], (0, 0))
            view.paste(shifted, (left, top), shifted)
        pixels = np.asarray(view)
        total += pixels if linear is None else linear[pixels]
        if frame == frames // 2:
            sharp = pixels
    mean = total / frames
    if linear is not None:
        mean = 255 * mean ** (1 / GAMMA)
    return np.dstack([np.floor(mean + 0.5).astype(np.uint8), sharp])


class Scenes:
    """A source of embedded scenes; see `data.protocol`.

    Args:
        count: int. Number of pairs.
        seed: int. The experiment's seed.
        blur: "blur" or "blur_gamma".
        split: "train" or "validation"; the two share no scene.
    """

    is_endless = False

    def __init__(self, count: int, seed: int, blur: str, split: str):
        self.count, self.seed, self.blur, self.split = count, seed, blur, split
        self.names = [f"{split}/{index:06d}" for index in range(count)]

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [256, 256, 6]."""
        key = (self.seed, ("train", "validation").index(self.split), int(index))
        return make_scene(np.random.default_rng(key), self.blur)


def find(experiment: Experiment) -> DataSet:
    """As `protocol.Kind` has it."""
    data, seed, images = experiment.data, experiment.seed, experiment.validation.images

    def opened() -> tuple[Source, Source]:
        train, validation = Scenes(data.scenes, seed, data.blur, "train"), Scenes(images, seed, data.blur, "validation")
        return (InMemory(train), InMemory(validation)) if data.cache == "memory" else (train, validation)

    return DataSet((), data.scenes, opened)


def find_test_set(data: Data, was_trained_on: bool) -> TestSet:
    """As `protocol.Kind` has it: pairs that no training sees."""
    about = {"root": SCENES, "layout": SCENES, "blur": data.blur, "pairs": TESTED, "fingerprint": SCENES}
    description = f"{TESTED} embedded scenes ({data.blur})"
    return TestSet(Scenes(TESTED, 0, data.blur, "validation"), [""] * TESTED, about, description, independent=True)


def in_words(data: Data) -> str:
    """As `protocol.Kind` has it."""
    return f"{data.scenes} embedded synthetic scenes (`{data.blur}`)"
