"""A moving scene as a camera sees it during one exposure: many sharp views, averaged into a blurry image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from deepdeblur_tf.synthesis.camera import GAMMA
from deepdeblur_tf.synthesis.motion import Motion, translation

# OpenCV's own threads would take the cores from those that make other pairs.
cv2.setNumThreads(1)

_LINEAR = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)


@dataclass(frozen=True)
class Cutout:
    """Something that moves on its own before the ground.

    Attributes:
        picture: uint8 [H, W, 3], RGB.
        mask: float32 [H, W]. How much of each pixel it covers, 0 to 1; 0 along the border.
        corner: (x, y) of its upper left corner in the image at time 0, in pixels.
        motion: How it moves over the image, the camera's motion included.
    """

    picture: np.ndarray
    mask: np.ndarray
    corner: tuple[int, int]
    motion: Motion


def _corners(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, right, left, right], [top, top, bottom, bottom], [1.0, 1, 1, 1]])


def _moved(homographies: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float [T, 2, N]: points [3, N] after each of the homographies [T, 3, 3]."""
    moved = homographies @ points
    return moved[:, :2] / moved[:, 2:]


def view_times(motions: Sequence[Motion], size: tuple[int, int]) -> np.ndarray:
    """The times of the views: so dense that nothing moves more than one pixel from one to the next.

    Args:
        motions: Of the ground and of the objects.
        size: (height, width) of the image.

    Returns:
        float [T], T odd, from -1 to 1; the single time 0 where nothing moves.
    """
    height, width = size
    fine = np.linspace(-1, 1, 65)
    speed = 0.0  # pixels from -1 to 1, at the fastest moment of the fastest corner
    for motion in motions:
        positions = _moved(motion.homographies(fine, (width / 2, height / 2)), _corners(0, 0, width, height))
        speed = max(speed, np.linalg.norm(np.diff(positions, axis=0), axis=1).max() * (len(fine) - 1))
    half = math.ceil(speed / 2)
    return np.linspace(-1, 1, 2 * half + 1) if half else np.zeros(1)


def margin_of(motion: Motion, size: tuple[int, int]) -> int:
    """How many pixels of ground a motion shows beyond the image's border."""
    height, width = size
    corners = _corners(0, 0, width, height)
    back = np.linalg.inv(motion.homographies(np.linspace(-1, 1, 33), (width / 2, height / 2)))
    return math.ceil(np.abs(_moved(back, corners) - corners[:2]).max()) + 2


def render(
    ground: np.ndarray,
    margin: int,
    motion: Motion,
    cutouts: Sequence[Cutout] = (),
    linear: bool = False,
    exposure: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one exposure.

    Args:
        ground: uint8 [H + 2 margin, W + 2 margin, 3], RGB.
        margin: Pixels of ground around the image, as `margin_of` tells.
        motion: The camera's.
        cutouts: What moves before the ground, the nearest last.
        linear: Whether light is averaged (through a gamma of 2.2) and not 8-bit values.
        exposure: What the light is multiplied by before the sensor's maximum clips it; above 1 it saturates.

    Returns:
        (blurry, sharp): float32 [H, W, 3] 0 to 1, linear light or 8-bit values over 255; clipped. The sharp one is the
        view at time 0.
    """
    height, width = (side - 2 * margin for side in ground.shape[:2])
    centre = (width / 2, height / 2)
    times = view_times([motion, *(cutout.motion for cutout in cutouts)], (height, width))
    to_ground = translation(margin, margin) @ np.linalg.inv(motion.homographies(times, centre))
    placed = [cutout.motion.homographies(times, centre) @ translation(*cutout.corner) for cutout in cutouts]
    total = np.zeros((height, width, 3), np.float32)
    sharp = total
    for number in range(len(times)):
        view = _warped(ground, to_ground[number], (width, height), cv2.WARP_INVERSE_MAP)
        for cutout, homographies in zip(cutouts, placed):
            _paste(view, cutout, homographies[number])
        light = cv2.LUT(view, _LINEAR) if linear else view
        if number == len(times) // 2:
            sharp = light.astype(np.float32)
        cv2.accumulate(light, total)
    scale = exposure / (1 if linear else 255)
    return np.minimum(total * (scale / len(times)), 1), np.minimum(sharp * scale, 1)


def _warped(image: np.ndarray, homography: np.ndarray, size: tuple[int, int], flags: int = 0) -> np.ndarray:
    """The image after a homography, bilinear: [size[1], size[0], ...]."""
    if np.any(homography[2, :2]):
        return cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR | flags)
    affine = homography[:2] / homography[2, 2]
    return cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR | flags)  # twice as fast


def _paste(view: np.ndarray, cutout: Cutout, homography: np.ndarray) -> None:
    """Draws a cutout into a view, in place; what lies outside is cut off."""
    height, width = cutout.mask.shape
    corners = _moved(homography[None], _corners(0, 0, width, height))[0]
    left, top = np.maximum(np.floor(corners.min(axis=1)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=1)).astype(int) + 1, [view.shape[1], view.shape[0]])
    if left >= right or top >= bottom:
        return
    to_window = translation(-left, -top) @ homography
    size = (int(right - left), int(bottom - top))
    mask = _warped(cutout.mask, to_window, size)
    covered = view[top:bottom, left:right]
    covered[:] = cv2.blendLinear(_warped(cutout.picture, to_window, size), covered, mask, 1 - mask)


def to_8_bits(light: np.ndarray, linear: bool) -> np.ndarray:
    """float [0, 1] to uint8, rounded; linear light through the gamma of 2.2."""
    values = np.power(light, 1 / GAMMA) if linear else light
    return np.floor(values * 255 + 0.5).astype(np.uint8)
