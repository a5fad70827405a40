"""Pictures of results."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_CAPTION = 24  # height of a caption in pixels


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    strip = Image.new("RGB", (image.shape[1], _CAPTION), "white")
    ImageDraw.Draw(strip).text((4, 4), text, fill="black", font=ImageFont.load_default(14))
    return np.vstack([np.asarray(strip), image])


def comparison(images, captions) -> np.ndarray:
    """Images side by side, each under its caption, pixel for pixel.

    Args:
        images: uint8 arrays [H, W, 3] of one size.
        captions: A text for each.

    Returns:
        uint8 [H + 24, about len(images) * W, 3].
    """
    gap = np.full((images[0].shape[0] + _CAPTION, 4, 3), 255, np.uint8)
    panels = [panel for pair in zip(images, captions) for panel in (_captioned(*pair), gap)]
    return np.hstack(panels[:-1])


def centre(image: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, at most side x side pixels."""
    top, left = (max(0, (size - side) // 2) for size in image.shape[:2])
    return image[top : top + side, left : left + side]


def stacked(pictures) -> np.ndarray:
    """Pictures of any width one above the other, filled up with white."""
    width = max(picture.shape[1] for picture in pictures)
    return np.vstack(
        [np.pad(picture, ((0, 8), (0, width - picture.shape[1]), (0, 0)), constant_values=255) for picture in pictures]
    )
