"""What a camera makes of light: its response, its focus, noise, and JPEG's compression."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

GAMMA = 2.2  # GOPRO's approximation of a camera's response (Nah et al., section 2)

AVERAGED = (7, 9, 11, 13)  # GOPRO's 7 to 13 frames, where there is a middle one

# Shot and read noise in linear light, variance = SHOT * light + READ (Rim et al., RSBlur, ECCV 2022).
SHOT, READ = 8.89e-5, 2.94e-5

DEFOCUS = (1.0, 12.0)  # radii in pixels of what is a little, and far out of focus

_LIGHT = ((np.arange(256) / 255) ** GAMMA).astype(np.float32)


def defocus(image: np.ndarray, radius: float) -> np.ndarray:
    """An image that is out of focus: the light of each point becomes an even disc, the circle of confusion.

    Args:
        image: uint8 [H, W, 3].
        radius: The disc's, in pixels.

    Returns:
        uint8 [H, W, 3].
    """
    reach = np.arange(-int(np.ceil(radius)), np.ceil(radius) + 1)
    disc = np.clip(radius + 0.5 - np.hypot(reach, reach[:, None]), 0, 1)
    light = cv2.filter2D(cv2.LUT(image, _LIGHT), -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    return np.floor(255 * np.clip(light, 0, 1) ** (1 / GAMMA) + 0.5).astype(np.uint8)


def add_noise(random: np.random.Generator, light: np.ndarray, strength: float) -> np.ndarray:
    """Adds a sensor's noise.

    Args:
        random: The generator.
        light: float32 [H, W, 3], linear, 0 to 1.
        strength: What RSBlur's variances are multiplied by.

    Returns:
        float32 [H, W, 3], clipped to 0 to 1.
    """
    deviation = np.sqrt(strength * (SHOT * light + READ), dtype=np.float32)
    return np.clip(light + deviation * random.standard_normal(light.shape, np.float32), 0, 1)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """An image after JPEG: uint8 [H, W, 3] RGB to the same."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))
