"""What a camera makes of light: its response, noise, and JPEG's compression."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

GAMMA = 2.2  # GOPRO's approximation of a camera's response (Nah et al., section 2)

AVERAGED = (7, 9, 11, 13)  # GOPRO's 7 to 13 frames, where there is a middle one

# Shot and read noise in linear light, variance = SHOT * light + READ (Rim et al., RSBlur, ECCV 2022).
SHOT, READ = 8.89e-5, 2.94e-5


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
