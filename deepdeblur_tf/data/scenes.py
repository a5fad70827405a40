"""Embedded scenes: pairs made from a seed, so that training runs with no download.

A scene is painted after the dead-leaves model of natural images (Lee, Mumford and Huang, IJCV 2001): opaque, textured,
coloured shapes that cover one another, their radii r distributed as r^-3. A few straight edges and words are added.
The camera moves and turns over the painted ground, and objects cut from other paintings move before it. As in GOPRO,
several sharp frames are averaged into the blurry image, and the middle frame is the sharp one.
"""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deepdeblur_tf.config import SCENE_SIZE

MARGIN = 32  # pixels of painted ground around the frame, more than the camera ever moves
GAMMA = 2.2  # GOPRO's approximation of the camera's response (Nah et al., section 2)


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


def _paint_leaf(random: np.random.Generator, canvas: np.ndarray, radius: float, centre=None) -> None:
    """Paints one textured shape onto a float32 [H, W, 3] canvas, in place."""
    size = canvas.shape[0]
    x, y = centre if centre is not None else random.uniform(-radius / 2, size + radius / 2, 2)
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


def _paint(random: np.random.Generator, size: int) -> Image.Image:
    """A dead-leaves painting with some straight edges and words: an RGB image, size x size."""
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = _colour(random)
    for radius in np.sort(random.uniform(60, 150, 10))[::-1]:
        _paint_leaf(random, canvas, radius)
    for radius in _radii(random, 110, 5, 110):
        _paint_leaf(random, canvas, radius)
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(random.integers(1, 5)):
        ends = random.uniform(-0.2 * size, 1.2 * size, 4)
        draw.line(list(ends), fill=tuple(_colour(random).astype(int)), width=int(random.integers(1, 7)))
    for _ in range(random.integers(1, 4)):
        letters = random.choice(list("ABCDEFGHKLMNOPRSTUWXYZabcdeghnorstu0123456789"), random.integers(3, 9))
        corner = tuple(random.uniform(0, 0.8 * size, 2))
        font = ImageFont.load_default(int(random.integers(12, 40)))
        draw.text(corner, "".join(letters), fill=tuple(_colour(random).astype(int)), font=font)
    return image


def _cut_object(random: np.random.Generator, largest: float) -> Image.Image:
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


def _path(random: np.random.Generator, frames: int, reach: float) -> np.ndarray:
    """A smooth path through (0, 0) at the middle frame: float [frames, 2] in pixels, about `reach` long."""
    time = np.linspace(-1, 1, frames)[:, None]
    angle = random.uniform(0, 2 * np.pi)
    forward = np.array([[np.cos(angle), np.sin(angle)]])
    bend = random.normal(0, 0.2) * forward[:, ::-1] * [[-1, 1]]
    return reach / 2 * (time * forward + time**2 * bend)


def _moved(image: Image.Image, shift, turn: float, size: int, origin) -> Image.Image:
    """The size x size window at `origin` of an image that moved by `shift` and turned by `turn` radians."""
    cosine, sine = np.cos(turn), np.sin(turn)
    centre = np.array(image.size) / 2
    start = np.asarray(origin) - shift - centre
    x = cosine * start[0] - sine * start[1] + centre[0]
    y = sine * start[0] + cosine * start[1] + centre[1]
    return image.transform(
        (size, size), Image.Transform.AFFINE, (cosine, -sine, x, sine, cosine, y), Image.Resampling.BILINEAR
    )


def make_scene(random: np.random.Generator, blur: str = "blur") -> np.ndarray:
    """Makes one pair.

    Args:
        random: The generator; the same state makes the same pair.
        blur: "blur" averages the frames' 8-bit values, "blur_gamma" their linear light (a gamma of 2.2).

    Returns:
        uint8 [256, 256, 6]: the blurry image's RGB, then the sharp one's.
    """
    frames = int(random.choice([7, 9, 11, 13]))  # GOPRO averages 7 to 13 frames
    ground = _paint(random, SCENE_SIZE + 2 * MARGIN)
    camera = _path(random, frames, random.uniform(3, 1.2 * frames))
    turns = np.linspace(-1, 1, frames) * random.normal(0, 0.008)
    objects = [
        (
            _cut_object(random, 60),
            random.uniform(0, SCENE_SIZE, 2),
            _path(random, frames, random.uniform(0, 1.4 * frames)),
        )
        for _ in range(random.integers(0, 4))
    ]
    # Linear light is averaged through a table of 256 values.
    linear = (np.arange(256, dtype=np.float32) / 255) ** GAMMA if blur == "blur_gamma" else None
    total = np.zeros((SCENE_SIZE, SCENE_SIZE, 3), np.float32)
    for frame in range(frames):
        view = _moved(ground, camera[frame], turns[frame], SCENE_SIZE, (MARGIN, MARGIN))
        for cut, middle, path in objects:
            corner = middle + path[frame] + camera[frame] - np.array(cut.size) / 2
            whole = np.floor(corner).astype(int)
            # The object's fraction of a pixel is moved by interpolation, the rest by where it is put.
            shifted = _moved(cut, corner - whole, 0.0, cut.size[0], (0, 0))
            view.paste(shifted, tuple(int(v) for v in whole), shifted)
        pixels = np.asarray(view)
        total += pixels if linear is None else linear[pixels]
        if frame == frames // 2:
            sharp = pixels
    mean = total / frames
    if linear is not None:
        mean = 255 * mean ** (1 / GAMMA)
    return np.dstack([np.floor(mean + 0.5).astype(np.uint8), sharp])


class Scenes:
    """A source of embedded scenes; see `deepdeblur_tf.data.sources`.

    Args:
        count: int. Number of pairs.
        seed: int. The experiment's seed.
        blur: "blur" or "blur_gamma".
        split: "train" or "validation"; the two share no scene.
    """

    def __init__(self, count: int, seed: int, blur: str, split: str):
        self.count, self.seed, self.blur, self.split = count, seed, blur, split
        self.names = [f"{split}/{index:06d}" for index in range(count)]

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> np.ndarray:
        """Makes one pair: uint8 [256, 256, 6]."""
        key = (self.seed, ("train", "validation").index(self.split), int(index))
        return make_scene(np.random.default_rng(key), self.blur)
