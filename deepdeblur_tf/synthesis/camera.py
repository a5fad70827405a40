"""What a camera makes of light: its tone curve, and JPEG's compression. Needs no OpenCV."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

GAMMA = 2.2  # GOPRO's approximation of a camera's response (Nah et al., section 2)


class ToneCurve(NamedTuple):
    """How linear light becomes the values of a picture, both in [0, 1].

    Attributes:
        encode: From light to values.
        decode: From values to light.
    """

    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]


def _srgb_encode(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _srgb_decode(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _s_encode(light: np.ndarray) -> np.ndarray:
    values = light ** (1 / GAMMA)
    return values * values * (3 - 2 * values)


def _s_decode(values: np.ndarray) -> np.ndarray:
    return (0.5 - np.sin(np.arcsin(1 - 2 * values) / 3)) ** GAMMA


TONE_CURVES = {
    "gamma": ToneCurve(lambda light: light ** (1 / GAMMA), lambda values: values**GAMMA),
    "srgb": ToneCurve(_srgb_encode, _srgb_decode),  # IEC 61966-2-1
    # A gamma and then the smooth step 3 x^2 - 2 x^3, as phones raise the contrast (Brooks et al., section 3.1).
    "s_curve": ToneCurve(_s_encode, _s_decode),
}


@functools.cache
def light_of_values(curve: str) -> np.ndarray:
    """The light of each 8-bit value through a tone curve: float32 [256], 1 for white."""
    return TONE_CURVES[curve].decode(np.arange(256) / 255).astype(np.float32)


def quantized(image: np.ndarray, curve: str | None) -> np.ndarray:
    """float [0, 1] to uint8, rounded; linear light through a tone curve, values without one as they are."""
    values = TONE_CURVES[curve].encode(image) if curve else image
    return np.floor(values * 255 + 0.5).astype(np.uint8)


_LIGHT = 0.94  # the value from which on a light may be brighter than white


def with_lights(light: np.ndarray, strength: float) -> np.ndarray:
    """A table as `light_of_values`, in which what is nearly white, and so was clipped, is brighter than white.

    Args:
        light: float32 [256].
        strength: What white becomes; from 0.94 of white on values rise evenly to it.
    """
    share = np.clip((np.arange(256) / 255 - _LIGHT) / (1 - _LIGHT), 0, 1)
    return (light * (1 + (strength - 1) * share)).astype(np.float32)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """An image after JPEG: uint8 [H, W, 3] RGB to the same."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file, formats=["JPEG"]))
