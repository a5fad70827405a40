"""A moving scene as a camera sees it during one exposure: many sharp views, averaged into a blurry image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from deepdeblur_tf.synthesis.camera import light_of_values, quantized
from deepdeblur_tf.synthesis.motion import Motion, inverse, translation

T = TypeVar("T")


@dataclass(frozen=True)
class Cutout:
    """Something that moves on its own before the background.

    Attributes:
        picture: [H, W, 3], RGB: uint8, or float32 for linear light, 255 for white.
        mask: float32 [H, W]. How much of each pixel it covers, 0 to 1; 0 along the border.
        corner: (x, y) of its upper left corner in the image at time 0, in pixels.
        motion: How it moves over the image, the camera's motion included.
    """

    picture: np.ndarray
    mask: np.ndarray
    corner: tuple[int, int]
    motion: Motion


def _corners(width: float, height: float) -> np.ndarray:
    return np.array([[0, width, 0, width], [0, 0, height, height], [1.0, 1, 1, 1]])


def _moved(homographies: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float [T, 2, N]: points [3, N] after each of the homographies [T, 3, 3]."""
    moved = homographies @ points
    return moved[:, :2] / moved[:, 2:]


def view_counts(motions: Sequence[Motion], size: tuple[int, int], most: int | None = None) -> list[int]:
    """How many views of each moving thing an exposure takes, so that none moves by more than a pixel between two.

    The first count times a power of two is each of the others, so that one view of a slow thing goes with several of a
    fast one.

    Args:
        motions: Of the background, then of the objects.
        size: (height, width) of the image.
        most: Where something needs more, everything gets as many: the streaks are broken. Defaults to no limit.

    Returns:
        A count for each motion; 1 where nothing moves.
    """
    height, width = size
    fine = np.linspace(-1, 1, 65)
    counts: list[int] = []
    for motion in motions:
        positions = _moved(motion.homographies(fine, (width / 2, height / 2)), _corners(width, height))
        fastest = np.linalg.norm(np.diff(positions, axis=0), axis=1).max() * (len(fine) - 1)
        needed = math.ceil(fastest) + 1 if fastest else 1
        counts.append(counts[0] * 2 ** max(0, math.ceil(math.log2(needed / counts[0]))) if counts else needed)
        if most and needed > most:
            return [most] * len(motions)
    return counts


def view_times(count: int) -> np.ndarray:
    """The times of the views: float [count], equally apart, from -1 to 1; a single one is at 0."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)


def margin_of(motion: Motion, size: tuple[int, int]) -> int:
    """How many pixels of background a motion shows beyond the image's border."""
    height, width = size
    corners = _corners(width, height)
    back = inverse(motion.homographies(np.linspace(-1, 1, 33), (width / 2, height / 2)))
    return math.ceil(np.abs(_moved(back, corners) - corners[:2]).max()) + 2


def render(
    background: np.ndarray,
    margin: int,
    motion: Motion,
    cutouts: Sequence[Cutout] = (),
    exposure: float = 1.0,
    most_views: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one exposure.

    Args:
        background: [H + 2 margin, W + 2 margin, 3], RGB: uint8, for averages of 8-bit values, or float32 linear light,
            255 for white and more for what is brighter; the cutouts' pictures are of the same kind.
        margin: Pixels of background around the image, as `margin_of` tells.
        motion: The camera's.
        cutouts: What moves before the background, the nearest last.
        exposure: What the light is multiplied by before the sensor's maximum clips it; above 1 it saturates.
        most_views: Views that are averaged at most. Defaults to as many as it takes for unbroken streaks.

    Returns:
        (blurry, sharp): float32 [H, W, 3] 0 to 1, linear light or 8-bit values over 255; clipped. The sharp one is the
        view at time 0.
    """
    height, width = (side - 2 * margin for side in background.shape[:2])
    counts = view_counts([motion, *(cutout.motion for cutout in cutouts)], (height, width), most_views)
    total = np.zeros((height, width, 3), np.float32)
    for view in _views(background, margin, motion, cutouts, counts):
        cv2.accumulate(view, total)
    sharp = next(_views(background, margin, motion, cutouts, [1] * len(counts)))
    scale = np.float32(exposure / 255)
    return np.clip(total * (scale / np.float32(max(counts))), 0, 1), np.clip(sharp * scale, 0, 1)


def _views(
    background: np.ndarray, margin: int, motion: Motion, cutouts: Sequence[Cutout], counts: Sequence[int]
) -> Iterator[np.ndarray]:
    """The image at equally spaced moments, as many as the largest of the `view_counts`: [H, W, 3], 0 to 255."""
    height, width = (side - 2 * margin for side in background.shape[:2])
    homographies = motion.homographies(view_times(counts[0]), (width / 2, height / 2))
    to_background = translation(margin, margin) @ inverse(homographies)
    moments = max(counts)
    backgrounds = (
        _warped(background, homography, (width, height), cv2.WARP_INVERSE_MAP) for homography in to_background
    )
    layers = [
        _repeated(_pieces(cutout, (height, width), count), moments // count)
        for cutout, count in zip(cutouts, counts[1:])
    ]
    for behind, *pieces in zip(_repeated(backgrounds, moments // counts[0]), *layers):
        view = behind.copy() if pieces else behind
        for window, colour, rest in pieces:
            covered = view[window]
            if covered.size:
                covered[:] = cv2.add(cv2.multiply(covered, rest, scale=1 / 255), colour)
        yield view


def _repeated(items: Iterable[T], times: int) -> Iterator[T]:
    return itertools.chain.from_iterable(itertools.repeat(item, times) for item in items)


def _pieces(cutout: Cutout, size: tuple[int, int], count: int) -> Iterator[tuple]:
    """What is seen of a cutout at `count` moments: (the window of the image that it is in, which may be empty; its
    colours times its coverage; 255 less its coverage), the last two of the window's size, with three channels."""
    height, width = size
    shown = np.dstack([cutout.picture * cutout.mask[..., None], 255 * cutout.mask])
    if cutout.picture.dtype == np.uint8:
        shown = np.round(shown).astype(np.uint8)
    homographies = cutout.motion.homographies(view_times(count), (width / 2, height / 2)) @ translation(*cutout.corner)
    corners = _moved(homographies, _corners(*shown.shape[1::-1]))
    firsts = np.maximum(np.floor(corners.min(axis=2)).astype(int), 0)
    lasts = np.minimum(np.ceil(corners.max(axis=2)).astype(int) + 1, (width, height))
    for homography, (left, top), (right, bottom) in zip(homographies, firsts.tolist(), lasts.tolist()):
        window = np.s_[top : max(top, bottom), left : max(left, right)]
        if left >= right or top >= bottom:
            yield window, None, None
            continue
        # One image of four channels is warped in half the time of two.
        piece = _warped(shown, translation(-left, -top) @ homography, (right - left, bottom - top))
        rest = 255 - cv2.extractChannel(piece, 3)
        yield window, cv2.cvtColor(piece, cv2.COLOR_RGBA2RGB), cv2.cvtColor(rest, cv2.COLOR_GRAY2RGB)


def _warped(image: np.ndarray, homography: np.ndarray, size: tuple[int, int], flags: int = 0) -> np.ndarray:
    """The image after a homography, bilinear: [size[1], size[0], ...]."""
    if np.any(homography[2, :2]):
        return cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR | flags)
    affine = homography[:2] / homography[2, 2]
    return cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR | flags)  # twice as fast


def defocused(picture: np.ndarray, radius: float) -> np.ndarray:
    """A picture out of focus: the light of each point becomes an even disc, the circle of confusion.

    Args:
        picture: uint8 [H, W, 3].
        radius: The disc's, in pixels.

    Returns:
        uint8 [H, W, 3].
    """
    reach = np.arange(-math.ceil(radius), math.ceil(radius) + 1)
    disc = np.clip(radius + 0.5 - np.hypot(reach, reach[:, None]), 0, 1)
    kernel = disc / disc.sum()
    light = cv2.filter2D(cv2.LUT(picture, light_of_values("gamma")), -1, kernel, borderType=cv2.BORDER_REFLECT)
    # What is computed by Fourier transforms is off by some 1e-7, below 0 too.
    return quantized(np.clip(light, 0, 1), "gamma")
