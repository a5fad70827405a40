"""The scale at which a picture's blur is within a network's reach.

A network knows blur up to some length. That of a camera's 24 megapixels is longer, though it is no worse to look at; in
the picture shrunk it is as long as the network knows. So the picture is restored at a scale, and what changed there is
added, enlarged, to the picture at its full size: nothing that was sharp is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from deepdeblur_tf.resizing import imresize

SCALES = (1.0, 0.5, 0.25, 0.125)

# What is tried at each scale: the crops' side in pixels of that scale, and how many. A picture that is smaller at a
# scale is not tried there.
SIDE, CROPS = 160, 3
MARGIN = 16  # pixels along a crop's border that do not count: the network knows nothing of what lies beyond
CELL = 8  # pixels to one of the thumbnail in which the crops are chosen
_BAND = 256  # rows of a picture to which a change is added at once, a multiple of every factor
# A coarser scale is taken where it changes so much more than every finer one, and this much at all: sharp pictures are
# hardly changed at any scale. On frames of GOPRO and REDS the ratio was at most 0.92 where scale 1 was best, and at
# least 1.16 where it was not; tests/restoration/test_scale.py holds auto to what scale 1 gains there.
AHEAD, LEAST_CHANGE = 1.05, 0.5

HARDLY_CHANGED = "hardly changed: sharp already, or blurred beyond the network's reach"


def shrunk(image: np.ndarray, scale: float) -> np.ndarray:
    """uint8 [H, W, 3] at a scale, each side rounded up: MATLAB's `imresize`."""
    if scale == 1:
        return image
    # One channel after the other, for the memory of large pictures.
    return np.dstack([imresize(np.ascontiguousarray(image[..., channel]), scale) for channel in range(3)])


def add_enlarged(image: np.ndarray, change: np.ndarray, scale: float) -> np.ndarray:
    """A picture with a change that was made to it at another scale.

    Args:
        image: uint8 or uint16 [H, W, 3].
        change: float32 [h, w, 3], in shares of white: of the picture as `shrunk` made it.
        scale: The scale.

    Returns:
        As `image`, clipped and rounded.
    """
    height, width = image.shape[:2]
    white, factor = np.iinfo(image.dtype).max, round(1 / scale)
    result = np.empty_like(image)
    for top in range(0, height, _BAND):  # for the memory of large pictures
        bottom = min(top + _BAND, height)
        first = max(0, top // factor - 2)  # a pixel is made of two on each side
        enlarged = imresize(change[first : -(-bottom // factor) + 2], factor)[top - first * factor :, :width]
        values = image[top:bottom] + white * enlarged[: bottom - top]
        result[top:bottom] = np.clip(np.round(values, out=values), 0, white)
    return result


def relative_change(image: np.ndarray, restored: np.ndarray) -> float:
    """How much a restoration changed, beside the detail finer than two pixels that was there: root mean squares.

    Args:
        image: uint8 [..., H, W, 3].
        restored: float32 of the same shape, 0 to 255.

    Returns:
        0 for no change. Of sharp pictures less than a half is changed, of blurry ones more.
    """
    values = image.astype(np.float32)
    *rest, height, width, _ = image.shape
    even = values[..., : height // 2 * 2, : width // 2 * 2, :]
    cells = even.reshape(*rest, height // 2, 2, width // 2, 2, 3)
    detail = np.sqrt(np.mean((cells - cells.mean(axis=(-4, -2), keepdims=True)) ** 2)) if cells.size else 0.0
    return float(np.sqrt(np.mean((restored - values) ** 2)) / (detail + 0.1))  # 0.1: even pictures have no detail


def best_scale(image: np.ndarray, restore: Callable[[np.ndarray], np.ndarray]) -> float:
    """The scale at which a network changes most of a picture, relatively, in a few crops where there is much to see.

    That is the scale at which its blur is as long as the network knows: where it is longer, or there is none, little
    is changed.

    Args:
        image: uint8 [H, W, 3].
        restore: From a crop, uint8 [h, w, 3], to its restored form, float32 of the same shape, 0 to 255.

    Returns:
        One of `SCALES`; 1 for small pictures.
    """
    tried = [scale for scale in SCALES if min(image.shape[:2]) * scale >= SIDE]
    best, most = 1.0, 0.0
    for scale in tried if len(tried) > 1 else ():
        crops = _crops(image, scale)
        inner = np.s_[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
        change = relative_change(crops[inner], np.stack([restore(crop) for crop in crops])[inner])
        if scale < 1 and change > max(LEAST_CHANGE, AHEAD * most):
            best = scale
        most = max(most, change)
    return best


def _crops(image: np.ndarray, scale: float) -> np.ndarray:
    """The squares of a picture with the steepest edges, none over another, at a scale: uint8 [N, 160, 160, 3]."""
    side = round(SIDE / scale)
    height, width = (length // CELL * CELL for length in image.shape[:2])
    thumbnail = np.asarray(Image.fromarray(image[:height, :width]).convert("L").reduce(CELL), np.int64)
    edges = np.zeros_like(thumbnail)
    edges[:-1] += np.diff(thumbnail, axis=0) ** 2
    edges[:, :-1] += np.diff(thumbnail, axis=1) ** 2
    cells = side // CELL
    sums = np.pad(edges, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    energy = sums[cells:, cells:] - sums[:-cells, cells:] - sums[cells:, :-cells] + sums[:-cells, :-cells]
    crops = []
    for _ in range(CROPS):
        row, column = np.unravel_index(np.argmax(energy), energy.shape)
        if energy[row, column] < 0:  # every place is taken
            break
        top, left = row * CELL, column * CELL
        crops.append(shrunk(image[top : top + side, left : left + side], scale))
        energy[max(0, row - cells + 1) : row + cells, max(0, column - cells + 1) : column + cells] = -1
    return np.stack(crops)
