"""Images without colours, whose three channels are equal."""

from __future__ import annotations

import numpy as np

LUMA_WEIGHTS = (19595, 38470, 7471)  # of red, green and blue, in 65536ths (ITU-R BT.601), as Pillow's "L" has it


def is_grey(image: np.ndarray) -> bool:
    """Whether an image [H, W, 3] shows no colours."""
    return bool((image[..., :1] == image[..., 1:]).all())


def without_colours(image: np.ndarray) -> np.ndarray:
    """An image's luma in all its channels: uint8 or uint16 [H, W, 3], as it came."""
    luma = np.full(image.shape[:2], 2**15, np.uint32)
    for channel, weight in enumerate(LUMA_WEIGHTS):
        luma += np.uint32(weight) * image[..., channel].astype(np.uint32)
    return np.repeat((luma >> 16).astype(image.dtype)[..., None], 3, axis=2)
