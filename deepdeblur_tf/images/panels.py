"""Pictures of results, put together pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import uniform_filter

_CAPTION = 24  # height of a caption in pixels
_GAP = 4
_BOX_COLOURS = ("#ffd000", "#00d0ff")


def _captioned(image: np.ndarray, text: str) -> np.ndarray:
    """An image under a line of text, filled up with white where the text is longer."""
    font = ImageFont.load_default(14)
    width = max(image.shape[1], 4 + math.ceil(font.getlength(text)))
    strip = Image.new("RGB", (width, _CAPTION), "white")
    ImageDraw.Draw(strip).text((4, 4), text, fill="black", font=font)
    image = np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255)
    return np.vstack([np.asarray(strip), image])


def side_by_side(images, captions) -> np.ndarray:
    """Images side by side, each under its caption, pixel for pixel.

    Args:
        images: uint8 arrays [H, W, 3] of one size.
        captions: A text for each.

    Returns:
        uint8 [H + 24, about len(images) * W, 3].
    """
    gap = np.full((images[0].shape[0] + _CAPTION, _GAP, 3), 255, np.uint8)
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


def tiled(pictures, columns: int) -> np.ndarray:
    """Pictures in rows of so many, filled up with white: uint8 [H, W, 3]."""
    height, width = (max(picture.shape[axis] for picture in pictures) + 8 for axis in (0, 1))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * height, min(columns, len(pictures)) * width, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def scaled(image: np.ndarray, width: int, resample=Image.Resampling.LANCZOS) -> np.ndarray:
    """An image in another width, its shape kept: uint8 [H', width, 3]."""
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((width, height), resample))


def overview(images, captions, name: str, most: int = 640) -> np.ndarray:
    """`side_by_side` of an image's versions under its name, each at most `most` pixels wide (report, Figure 4.1)."""
    small = [scaled(image, min(most, image.shape[1])) for image in images]
    return _captioned(side_by_side(small, captions), name)


def worst_details(restored: Sequence[np.ndarray], sharp: np.ndarray, side: int, count: int) -> list[tuple[int, int]]:
    """The squares in which restored images are farthest from the sharp one.

    Args:
        restored: uint8 arrays [H, W, 3]; their squared errors are added up.
        sharp: uint8 [H, W, 3].
        side: The squares' side in pixels, at most H and W.
        count: How many; they do not overlap. Fewer where there is no more room.

    Returns:
        (left, top) of each, the worst first.
    """
    error = sum(np.square(image.astype(float) - sharp).sum(axis=2) for image in restored)
    # The filter's value at (side // 2, side // 2) is the mean of the square that begins at (0, 0).
    means = uniform_filter(error, side)[side // 2 :, side // 2 :]
    means = means[: sharp.shape[0] - side + 1, : sharp.shape[1] - side + 1].copy()
    found: list[tuple[int, int]] = []
    while len(found) < count and means.max() > -np.inf:
        top, left = np.unravel_index(means.argmax(), means.shape)
        found.append((int(left), int(top)))
        means[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -np.inf
    return found


def details(
    panels: Sequence[tuple[str, np.ndarray]], corners: Sequence[tuple[int, int]], side: int, name: str
) -> np.ndarray:
    """An image with boxes, and what is in them side by side in double size (report, Figure 4.2).

    Args:
        panels: (caption, uint8 [H, W, 3]) of the image's versions. The boxes are shown on the second.
        corners: (left, top) of each square detail.
        side: The details' side in pixels.
        name: The image's name.

    Returns:
        uint8 [H', W', 3].
    """
    caption, second = panels[1]
    boxed, rows = Image.fromarray(second), []
    for colour, (left, top) in zip(_BOX_COLOURS, corners):
        box = (left, top, left + side - 1, top + side - 1)
        ImageDraw.Draw(boxed).rectangle(box, outline=colour, width=max(2, boxed.width // 320))
        crops = [image[top : top + side, left : left + side] for _, image in panels]
        doubled = [_framed(scaled(crop, 2 * side, Image.Resampling.NEAREST), colour) for crop in crops]
        rows.append(side_by_side(doubled, [title for title, _ in panels]))
    right = np.vstack([np.pad(row, ((0, _GAP), (0, 0), (0, 0)), constant_values=255) for row in rows])
    height = right.shape[0] - _CAPTION - _GAP
    whole = _captioned(
        scaled(np.asarray(boxed), max(1, round(height * boxed.width / boxed.height))), f"{name}: {caption}"
    )
    whole = np.pad(whole, ((0, max(0, right.shape[0] - whole.shape[0])), (0, _GAP), (0, 0)), constant_values=255)
    return np.hstack([whole[: right.shape[0]], right])


def _framed(image: np.ndarray, colour: str) -> np.ndarray:
    framed = Image.fromarray(image)
    ImageDraw.Draw(framed).rectangle((0, 0, framed.width - 1, framed.height - 1), outline=colour, width=2)
    return np.asarray(framed)
