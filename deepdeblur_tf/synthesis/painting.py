"""Sharp pictures without a camera: dead leaves (Lee, Mumford and Huang, IJCV 2001), with some edges and words.

Opaque, textured, coloured shapes cover one another, their radii r distributed as r^-3, as in natural images.
"""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_BACKGROUND_SIDE = 320  # the side of an embedded scene's background, in pixels


@functools.lru_cache(maxsize=1)
def _textures() -> np.ndarray:
    """float32 [6, 512, 512] noise around 0, from smooth to fine grained, that wraps around."""
    random = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.rfftfreq(512)[None])
    frequency[0, 0] = 1
    textures = []
    for exponent in np.linspace(0.7, 1.7, 6):
        spectrum = np.fft.rfft2(random.standard_normal((512, 512))) / frequency**exponent
        spectrum[0, 0] = 0
        noise = np.fft.irfft2(spectrum)
        textures.append(noise / noise.std())
    return np.stack(textures).astype(np.float32)


def _leaf_mask(random: np.random.Generator, shape: str, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """float32 coverage [0, 1] of a turned ellipse or rectangle around (0, 0); the edge is one pixel soft."""
    angle, aspect = random.uniform(0, np.pi), random.uniform(0.4, 1)
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = (y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))) * np.float32(1 / aspect)
    if shape == "ellipse":
        outside = np.sqrt(along * along + across * across) - np.float32(radius)
    else:
        outside = np.maximum(np.abs(along), np.abs(across)) - np.float32(0.75 * radius)
    return np.clip(0.5 - outside * np.float32(aspect), 0, 1)


def _colour(random: np.random.Generator) -> np.ndarray:
    """A colour as natural scenes have them: any lightness, mostly little saturation, warm or cool."""
    lightness = random.uniform(15, 235)
    warm, green = random.normal(0, 0.16), random.normal(0, 0.06)
    return np.clip(lightness * np.array([1 + warm, 1 + green, 1 - warm]), 0, 255).astype(np.float32)


def _paint_leaf(random: np.random.Generator, canvas: np.ndarray, radius: float) -> None:
    """Paints one textured shape onto a float32 [H, W, 3] canvas, in place."""
    size = canvas.shape[0]
    x, y = random.uniform(-radius / 2, size + radius / 2, 2)
    left, right = max(0, int(x - 1.5 * radius)), min(size, int(x + 1.5 * radius) + 2)
    top, bottom = max(0, int(y - 1.5 * radius)), min(size, int(y + 1.5 * radius) + 2)
    if left >= right or top >= bottom:
        return
    columns = np.arange(left, right, dtype=np.float32)[None] - np.float32(x)
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(y)
    mask = _leaf_mask(random, "ellipse" if random.random() < 0.6 else "rectangle", columns, rows, radius)
    u, v = random.integers(0, 512 - np.array(mask.shape) + 1)
    shade = _textures()[random.integers(6), u : u + mask.shape[0], v : v + mask.shape[1]]
    # Light falls from one side, so the shape is a little brighter there.
    slope_x, slope_y = random.normal(0, 12 / radius, 2).astype(np.float32)
    shade = shade * np.float32(random.gamma(2, 7)) + columns * slope_x + rows * slope_y
    leaf = _colour(random) + shade[..., None]
    patch = canvas[top:bottom, left:right]
    patch += mask[..., None] * (leaf - patch)


def _radii(random: np.random.Generator, count: int, smallest: float, largest: float) -> np.ndarray:
    """Radii whose density falls as r^-3 between two bounds, by inverting the distribution function."""
    u = random.random(count)
    return (smallest**-2 - u * (smallest**-2 - largest**-2)) ** -0.5


def paint(random: np.random.Generator, size: int) -> Image.Image:
    """A dead-leaves painting with some straight edges and words: an RGB image, size x size."""
    scenes = round((size / _BACKGROUND_SIDE) ** 2)  # how many embedded scenes are as large
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = _colour(random)
    for radius in np.sort(random.uniform(60, 150, 10 * scenes))[::-1]:
        _paint_leaf(random, canvas, radius)
    for radius in _radii(random, 110 * scenes, 5, 110):
        _paint_leaf(random, canvas, radius)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(scenes * random.integers(1, 5)):
        ends = random.uniform(-0.2 * size, 1.2 * size, 4)
        draw.line(list(ends), fill=tuple(_colour(random).astype(int)), width=int(random.integers(1, 7)))
    for _ in range(scenes * random.integers(1, 4)):
        letters = random.choice(list("ABCDEFGHKLMNOPRSTUWXYZabcdeghnorstu0123456789"), random.integers(3, 9))
        corner = tuple(random.uniform(0, 0.8 * size, 2))
        font = ImageFont.load_default(int(random.integers(12, 40)))
        draw.text(corner, "".join(letters), fill=tuple(_colour(random).astype(int)), font=font)
    return image


def cut_object(random: np.random.Generator, largest: float) -> Image.Image:
    """A moving object: a piece of another painting with a soft-edged outline, an RGBA image."""
    radius = random.uniform(20, largest)
    size = int(2 * radius) + 8
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = _colour(random)
    for leaf_radius in _radii(random, 12, 4, radius):
        _paint_leaf(random, canvas, leaf_radius)
    offset = np.arange(size, dtype=np.float32) - size / 2
    shape = "ellipse" if random.random() < 0.5 else "rectangle"
    mask = _leaf_mask(random, shape, offset[None], offset[:, None], radius)
    return Image.fromarray(np.dstack([np.clip(canvas, 0, 255), 255 * mask]).astype(np.uint8), "RGBA")
