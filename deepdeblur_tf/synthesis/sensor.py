"""What a sensor makes of light before the tone curve, and what cameras do behind it: noise, demosaicing, sharpening."""

from __future__ import annotations

import cv2
import numpy as np

# Shot and read noise in linear light, variance = SHOT * light + READ^2: what the authors of RSBlur (Rim et al., ECCV
# 2022) estimated of the camera of RealBlur, and make their pairs with (github.com/rimchang/RSBlur).
SHOT, READ = 8.8915e-5, 2.9430e-5

# From and to what red and blue are multiplied by, so that white is white (Brooks et al., Unprocessing Images for
# Learned Raw Denoising, CVPR 2019, section 3.2).
RED_GAIN, BLUE_GAIN = (1.9, 2.4), (1.5, 1.9)


def add_noise(
    random: np.random.Generator,
    light: np.ndarray,
    strength: float,
    gains: tuple[float, float] = (1.0, 1.0),
    demosaicing: bool = False,
) -> np.ndarray:
    """Adds a sensor's noise.

    Args:
        random: The generator.
        light: float32 [H, W, 3], linear, 0 to 1, in which white is white.
        strength: What RSBlur's variances are multiplied by.
        gains: The white balance: red and blue reach the sensor weaker by these, and are multiplied by them afterwards,
            their noise too.
        demosaicing: Whether each pixel measures one colour alone and the two others are computed from its neighbours,
            so that the noise is no longer white.

    Returns:
        float32 [H, W, 3], clipped to 0 to 1. What is white stays so, as in RSBlur, for the light was mostly above it.
    """
    balance = np.array([gains[0], 1, gains[1]], np.float32)
    deviation = np.sqrt(strength * (SHOT * light / balance + READ**2), dtype=np.float32)
    noise = balance * deviation * random.standard_normal(light.shape, np.float32)
    if demosaicing:  # after the white balance, as RSBlur's authors do it
        # The filters are linear: what they make of the light and of the noise adds up, and the light is known whole.
        noise = demosaiced(mosaic(noise))
    return np.where(light < 1, np.clip(light + noise, 0, 1), light)


def mosaic(image: np.ndarray) -> np.ndarray:
    """What a sensor's pixels see through Bayer's pattern, RG above GB: float32 [H, W, 3] to [H, W]."""
    seen = image[..., 1].copy()
    seen[::2, ::2], seen[1::2, 1::2] = image[::2, ::2, 0], image[1::2, 1::2, 2]
    return seen


# Malvar, He and Cutler: High-Quality Linear Interpolation for Demosaicing of Bayer-Patterned Color Images, ICASSP 2004,
# Figure 2.
_CROSS = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
_DIAGONAL = np.array([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]]) / 16


def demosaiced(seen: np.ndarray) -> np.ndarray:
    """The colours of a `mosaic` by the linear filters of Malvar et al.: float32 [H, W] to [H, W, 3]."""
    # BORDER_REFLECT_101 repeats no pixel, so that the pattern goes on beyond the border.
    cross, row, column, diagonal = (cv2.filter2D(seen, -1, kernel) for kernel in (_CROSS, _ROW, _ROW.T, _DIAGONAL))
    colours = np.empty((*seen.shape, 3), np.float32)
    red, green, blue = (colours[..., channel] for channel in range(3))
    green[:] = seen
    green[::2, ::2], green[1::2, 1::2] = cross[::2, ::2], cross[1::2, 1::2]
    for channel, top, left in ((red, 0, 0), (blue, 1, 1)):
        channel[top::2, left::2] = seen[top::2, left::2]
        channel[top::2, 1 - left :: 2] = row[top::2, 1 - left :: 2]
        channel[1 - top :: 2, left::2] = column[1 - top :: 2, left::2]
        channel[1 - top :: 2, 1 - left :: 2] = diagonal[1 - top :: 2, 1 - left :: 2]
    return colours


def sharpened(values: np.ndarray, amount: float, radius: float) -> np.ndarray:
    """An unsharp mask: the difference from the blurred image is added `amount` times.

    Args:
        values: float32 [H, W, 3], 0 to 1, as a picture's values.
        amount: How many times.
        radius: The Gaussian's standard deviation in pixels.

    Returns:
        float32 [H, W, 3], clipped to 0 to 1.
    """
    return np.clip(values + np.float32(amount) * (values - cv2.GaussianBlur(values, (0, 0), radius)), 0, 1)
