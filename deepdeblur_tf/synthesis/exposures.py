"""A long exposure made of a fast camera's short ones, as GOPRO was made (Nah et al., section 2). Needs no OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepdeblur_tf.synthesis.camera import TONE_CURVES, quantized

AVERAGED = (7, 9, 11, 13)  # GOPRO's 7 to 13 frames, where there is a middle one
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


def gamma_mean(frames: Sequence[np.ndarray], dtype: type = np.float64) -> np.ndarray:
    """GOPRO's `blur_gamma`: the mean of linear light, (value / 255)^2.2, as 8-bit values again, rounded to the nearest.

    Args:
        frames: uint8 arrays [H, W, 3] of one size.
        dtype: What is computed in.

    Returns:
        uint8 [H, W, 3].
    """
    table = TONE_CURVES["gamma"].decode(np.arange(256, dtype=dtype) / 255)
    result = np.empty_like(frames[0])
    for top in range(0, len(result), _ROWS):
        rows = slice(top, top + _ROWS)
        light: np.ndarray = np.zeros(result[rows].shape, dtype)
        for frame in frames:
            light += np.take(table, frame[rows], mode="clip")  # in half the time of table[frame[rows]]
        result[rows] = quantized(light / len(frames), "gamma")
    return result
