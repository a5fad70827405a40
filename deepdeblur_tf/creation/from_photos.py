"""Pairs from sharp photos: a camera moves over each photo, and objects cut from other photos move before it."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from deepdeblur_tf.config import Synthesis
from deepdeblur_tf.creation.folder import Made, encoded
from deepdeblur_tf.creation.inputs import Scene, check_size
from deepdeblur_tf.creation.threads import OrderedThreads
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.rgb import image_size, read_rgb
from deepdeblur_tf.synthesis.generator import Size, make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, placed, reduced

_SPLITS = ("train", "test")
_CUT_FROM = 64  # photos of a split that objects are cut from; these are kept in memory
_CACHED = _CUT_FROM + 16
_LARGEST = 0.6  # of the pair's shorter side: an object that was cut out by a mask
_BORDER = 3  # pixels around it, into which its edge is softened
_SOFTNESS = 0.6  # of its edge, a standard deviation in pixels

T = TypeVar("T")


class FromPhotos:
    """Makes pairs from photos.

    Args:
        scenes: The photos. Objects are cut from those of the same split.
        settings: How pairs are made.
        size: (height, width) of a pair, turned for upright photos; smaller photos give pairs of their own size.
        count: Pairs a photo.
        seed: Fixes what is drawn.
        masks: What objects are cut along, by their photos' keys; without any in a split along random outlines.
    """

    folders = ("blur", "sharp")

    def __init__(
        self, scenes: Sequence[Scene], settings: Synthesis, size: Size, count: int, seed: int, masks: Mapping[str, Path]
    ):
        self.settings, self.size, self.seed, self.masks, self._count = settings, size, seed, masks, count
        self._others = {split: self._drawn([scene for scene in scenes if scene.split == split]) for split in _SPLITS}
        self._masked = {
            split: self._drawn([scene for scene in scenes if scene.split == split and scene.key in self.masks])
            for split in _SPLITS
        }
        self._reading = threading.Lock()
        self._cache = functools.lru_cache(_CACHED)(lambda path: reduced(read_rgb(path)))

    def _drawn(self, scenes: Sequence[Scene]) -> list[Scene]:
        order = np.random.default_rng(self.seed).permutation(len(scenes))[:_CUT_FROM]
        return [scenes[number] for number in order]

    def count(self, scene: Scene) -> int:
        """How many pairs a photo gives. Raises UserError for one that cannot be used."""
        check_size(scene.source, image_size(scene.source))
        return self._count

    def pairs(self, scene: Scene, done: Mapping[int, dict], threads: OrderedThreads) -> Iterator[Made]:
        """Makes a photo's pairs; see `FromFrames.pairs`."""
        numbers = [number for number in range(1, self._count + 1) if number not in done]
        yield from threads.in_order(partial(self._make, scene, number) for number in numbers)

    def _make(self, scene: Scene, number: int) -> Made:
        photo = self._photo(scene)
        key = (self.seed, scene.number, number)
        size = within(self.size, photo.shape[:2])
        corner = (0, 0)

        def draw_background(random: np.random.Generator, extent: Size) -> np.ndarray:
            nonlocal corner
            view, (left, top) = placed(random, photo, extent)
            corner = (left + (extent[1] - size[1]) // 2, top + (extent[0] - size[0]) // 2)
            return view

        pictures = Pictures(partial(self._other, scene.split), len(self._others[scene.split]), self.settings.painted)
        objects = partial(self._object, scene) if self._masked[scene.split] else None
        pair, parameters = make_pair(
            np.random.default_rng(key), self.settings, size, pictures, draw_background, objects
        )
        entry = {"source": scene.source.name, "seed": key, "size": size[::-1], "corner": corner, **parameters}
        return Made(number, entry, {"blur": encoded(pair[..., :3]), "sharp": encoded(pair[..., 3:])})

    def _photo(self, scene: Scene) -> np.ndarray:
        """uint8 [H, W, 3]; a large photo shrunk."""
        with self._reading:  # or several threads decode the same one
            return self._cache(scene.source)

    def _other(self, split: str, number: int) -> np.ndarray:
        """A photo to cut an object from."""
        return _first_readable(self._others[split], number, self._photo)

    def _object(self, scene: Scene, random: np.random.Generator, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """An object that a mask has cut out of another photo, if there is one, shrunk at random, with a soft edge."""
        masked = self._masked[scene.split]
        scenes = [other for other in masked if other != scene] or masked
        picture, mask = _first_readable(scenes, int(random.integers(len(scenes))), self._cut_out)
        factor = min(1.0, _LARGEST * min(size) / max(mask.shape)) * random.uniform(0.5, 1)
        height, width = (max(4, round(side * factor)) for side in mask.shape)
        picture, mask = (cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in (picture, mask))
        border = ((_BORDER, _BORDER), (_BORDER, _BORDER))
        picture = np.pad(picture, (*border, (0, 0)), "edge")
        mask = cv2.GaussianBlur(np.pad(mask, border), (0, 0), _SOFTNESS)
        if random.random() < 0.5:
            picture, mask = (np.ascontiguousarray(image[:, ::-1]) for image in (picture, mask))
        return picture, mask

    def _cut_out(self, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
        """What a photo's mask shows in white: uint8 [h, w, 3], and float32 [h, w], 0 to 1."""
        photo = self._photo(scene)
        mask = read_rgb(self.masks[scene.key])[..., 0]
        mask = cv2.resize(mask, photo.shape[1::-1], interpolation=cv2.INTER_AREA)
        if not mask.any():
            raise UserError(f"{self.masks[scene.key]}: what is white in it vanishes as its photo is shrunk.")
        left, top, width, height = cv2.boundingRect(mask)
        window = np.s_[top : top + height, left : left + width]
        return photo[window], mask[window].astype(np.float32) / 255


def _first_readable(scenes: Sequence[Scene], number: int, read: Callable[[Scene], T]) -> T:
    """Reads a scene, or the next that can be read; the others are named when their own pairs are to be made."""
    for scene in (*scenes[number:], *scenes[:number]):
        try:
            return read(scene)
        except UserError as error:
            last = error
    raise last


def within(size: Size, photo: Sequence[int]) -> Size:
    """A pair's (height, width) for a photo's: lying or upright as it is, and no larger."""
    if (photo[0] > photo[1]) != (size[0] > size[1]):
        size = (size[1], size[0])
    return min(size[0], photo[0]), min(size[1], photo[1])
