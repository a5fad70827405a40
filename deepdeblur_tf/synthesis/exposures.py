"""A long exposure made of a fast camera's short ones, as GOPRO was made (Nah et al., section 2), and its measures."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from deepdeblur_tf.synthesis.camera import TONE_CURVES

_LIGHT = TONE_CURVES["gamma"].decode(np.arange(256) / 255)
_ROWS = 16  # of an image that are averaged at once, which fit the processor's cache


def mean(frames: Sequence[np.ndarray]) -> np.ndarray:
    """GOPRO's `blur`: the mean of 8-bit values, rounded to the nearest.

    Args:
        frames: uint8 arrays [H, W, 3] of one size, an odd number of them, so that no mean lies halfway.

    Returns:
        uint8 [H, W, 3].
    """
    total = np.zeros(frames[0].shape, np.uint16)
    for frame in frames:
        total += frame
    return ((total + len(frames) // 2) // len(frames)).astype(np.uint8)


def gamma_mean(frames: Sequence[np.ndarray]) -> np.ndarray:
    """GOPRO's `blur_gamma`: the mean of linear light, (value / 255)^2.2, as 8-bit values again, rounded to the nearest.

    Args:
        frames: uint8 arrays [H, W, 3] of one size.

    Returns:
        uint8 [H, W, 3].
    """
    result = np.empty_like(frames[0])
    for top in range(0, len(result), _ROWS):
        rows = slice(top, top + _ROWS)
        light = np.zeros(result[rows].shape)
        for frame in frames:
            cv2.accumulate(cv2.LUT(frame[rows], _LIGHT), light)
        result[rows] = np.floor(255 * TONE_CURVES["gamma"].encode(light / len(frames)) + 0.5)
    return result


def sharpness(frame: np.ndarray) -> float:
    """The variance of the Laplacian of a frame's grey values, uint8 [H, W, 3]: the more fine detail, the larger."""
    return float(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_16S).var())


def displacement(frames: Sequence[np.ndarray]) -> float:
    """How far things move from one frame to the next: the largest of the steps, in pixels.

    A step's is the 95th percentile of the lengths of its optical flow (DIS, Kroeger et al., ECCV 2016; at half the
    resolution) over the tenth of pixels with the steepest edges: what is even has no streaks, and no flow to measure.
    The outer eighth on each side, through which things come and go, does not count.

    Args:
        frames: Two or more uint8 arrays [H, W, 3] of one size.
    """
    height, width = frames[0].shape[:2]
    half = (width // 2, height // 2)
    greys = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), half, interpolation=cv2.INTER_AREA) for frame in frames
    ]
    return max(_step(one, other) for one, other in zip(greys, greys[1:]))


def _step(one: np.ndarray, other: np.ndarray) -> float:
    """`displacement` for two grey frames of half the resolution, uint8 [H, W]."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    # OpenCV's hint for the flow to begin with allows no None.
    x, y = np.moveaxis(flow.calc(one, other, None), 2, 0)  # type: ignore[call-overload]
    height, width = one.shape
    inner = np.s_[height // 8 : height - height // 8, width // 8 : width - width // 8]
    slopes = (cv2.Sobel(one, cv2.CV_32F, *axes)[inner] for axes in ((1, 0), (0, 1)))
    steepness = np.hypot(*slopes)
    edges = steepness >= np.percentile(steepness, 90)
    return 2 * float(np.percentile(np.hypot(x, y)[inner][edges], 95))
