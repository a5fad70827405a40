"""What is measured of a fast camera's frames: whether they are sharp, and how far things move between two."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


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
