"""Sharp pictures for the generator: crops and views of photos, and paintings."""

from __future__ import annotations

import functools
from collections.abc import Callable

import cv2
import numpy as np

from deepdeblur_tf.synthesis.painting import paint

# What a large photo's shorter side is brought near to, by halves or thirds (from 1620 pixels on), which removes its
# noise and its compression.
LARGE = 1080
# Mostly the most detailed of some crops is taken, of several places in several photos: skies and what is out of focus
# teach nothing. So chosen from landscapes, crops have the detail (the spectrum's energy) of GOPRO's and REDS's streets.
_PLACES, _PHOTOS, _ANY = 3, 3, 0.25
PAINTINGS = 64


def reduced(photo: np.ndarray) -> np.ndarray:
    """A photo, or where it is large its half or third: uint8 [H, W, 3]."""
    factor = min(3, max(1, round(min(photo.shape[:2]) / LARGE)))
    if factor == 1:
        return photo
    return cv2.resize(photo, (photo.shape[1] // factor, photo.shape[0] // factor), interpolation=cv2.INTER_AREA)


@functools.lru_cache(maxsize=PAINTINGS)
def painting(number: int) -> np.ndarray:
    """One of the 64 paintings: uint8 [768, 768, 3]."""
    return np.asarray(paint(np.random.default_rng((2017, number)), 768))


class Pictures:
    """Random crops of photos and of paintings.

    Args:
        photo: From an index to a photo, uint8 [H, W, 3].
        count: How many photos there are.
        painted: The fraction of crops that are of paintings.
    """

    def __init__(self, photo: Callable[[int], np.ndarray], count: int, painted: float):
        self.photo, self.count, self.painted = photo, count, painted

    def __call__(self, random: np.random.Generator, side: int) -> np.ndarray:
        """A square picture: uint8 [side, side, 3]."""
        if random.random() < self.painted or not self.count:
            return varied(random, crop(random, painting(int(random.integers(PAINTINGS))), side))
        candidates = 1 if random.random() < _ANY else _PHOTOS
        crops = [crop(random, self.photo(int(random.integers(self.count))), side) for _ in range(candidates)]
        return varied(random, max(crops, key=_detail))


def crop(random: np.random.Generator, photo: np.ndarray, side: int) -> np.ndarray:
    """A random crop, shrunk by up to 2, turned and mirrored: uint8 [side, side, 3]."""
    height, width = photo.shape[:2]
    largest = min(height, width)
    if largest < side:
        photo = cv2.copyMakeBorder(photo, 0, max(0, side - height), 0, max(0, side - width), cv2.BORDER_REFLECT)
        height, width = photo.shape[:2]
        largest = side
    taken = min(largest, int(side * random.uniform(1, 2)))
    candidates = []
    for _ in range(1 if random.random() < _ANY else _PLACES):
        top, left = random.integers(0, height - taken + 1), random.integers(0, width - taken + 1)
        candidates.append(photo[top : top + taken, left : left + taken])
    chosen = max(candidates, key=_detail)
    if taken > side:
        chosen = cv2.resize(chosen, (side, side), interpolation=cv2.INTER_AREA)
    chosen = np.rot90(chosen, random.integers(4))
    return np.ascontiguousarray(chosen[:, ::-1] if random.random() < 0.5 else chosen)


def placed(
    random: np.random.Generator, photo: np.ndarray, extent: tuple[int, int]
) -> tuple[np.ndarray, tuple[int, int]]:
    """A view of a photo, somewhere on it; beyond its borders the world is its mirror image.

    Args:
        random: The generator.
        photo: uint8 [H, W, 3].
        extent: (height, width) of the view.

    Returns:
        (uint8 [height, width, 3], (x, y) of its upper left corner in the photo).
    """
    above, left = (max(0, wanted - there + 1) // 2 for wanted, there in zip(extent, photo.shape))
    mirrored = cv2.copyMakeBorder(photo, above, above, left, left, cv2.BORDER_REFLECT)
    y, x = (int(random.integers(0, there - wanted + 1)) for there, wanted in zip(mirrored.shape, extent))
    return mirrored[y : y + extent[0], x : x + extent[1]], (x - left, y - above)


def _detail(picture: np.ndarray) -> float:
    """How much fine detail there is, from the half-size green channel."""
    return float(cv2.Laplacian(picture[::2, ::2, 1], cv2.CV_16S, ksize=1).std())


def varied(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """Another brightness, contrast and colour: uint8 of the same shape."""
    values = np.arange(256, dtype=np.float32) / 255
    gains = random.uniform(0.7, 1.2) * (1 + random.normal(0, 0.06, 3))
    gamma = np.exp(random.normal(0, 0.25))
    table = 255 * np.clip(values[:, None] ** gamma * gains, 0, 1)
    return cv2.LUT(picture, np.round(table).astype(np.uint8)[None])
