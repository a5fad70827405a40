"""One embedded scene: a pair that is made of nothing but a seed. Needs no OpenCV.

The camera moves and turns over a painted background, and objects cut from other paintings move before it. As in GOPRO,
several sharp frames are averaged into the blurry image, and the middle frame is the sharp one.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from deepdeblur_tf.config import SCENE_SIZE
from deepdeblur_tf.synthesis.exposures import AVERAGED, gamma_mean, mean
from deepdeblur_tf.synthesis.painting import cut_object, paint

MARGIN = 32  # pixels of painted background around the frame, more than the camera ever moves


def _path(random: np.random.Generator, frames: int, reach: float) -> np.ndarray:
    """A smooth path through (0, 0) at the middle frame: float [frames, 2] in pixels, about `reach` long."""
    time = np.linspace(-1, 1, frames)[:, None]
    angle = random.uniform(0, 2 * np.pi)
    forward = np.array([[np.cos(angle), np.sin(angle)]])
    bend = random.normal(0, 0.2) * forward[:, ::-1] * [[-1, 1]]
    return reach / 2 * (time * forward + time**2 * bend)


def _moved(image: Image.Image, shift, angle: float, size: int, origin) -> Image.Image:
    """The size x size window at `origin` of an image that moved by `shift` and turned by `angle` radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    centre = np.array(image.size) / 2
    start = np.asarray(origin) - shift - centre
    x = cosine * start[0] - sine * start[1] + centre[0]
    y = sine * start[0] + cosine * start[1] + centre[1]
    return image.transform(
        (size, size), Image.Transform.AFFINE, (cosine, -sine, x, sine, cosine, y), Image.Resampling.BILINEAR
    )


def make_embedded_scene(random: np.random.Generator, blur: str = "blur") -> np.ndarray:
    """Makes one pair.

    Args:
        random: The generator; the same state makes the same pair.
        blur: "blur" averages the frames' 8-bit values, "blur_gamma" their linear light (a gamma of 2.2).

    Returns:
        uint8 [256, 256, 6]: the blurry image's RGB, then the sharp one's.
    """
    frames = int(random.choice(AVERAGED))
    background = paint(random, SCENE_SIZE + 2 * MARGIN)
    camera = _path(random, frames, random.uniform(3, 1.2 * frames))
    angles = np.linspace(-1, 1, frames) * random.normal(0, 0.008)
    objects = [
        (
            cut_object(random, 60),
            random.uniform(0, SCENE_SIZE, 2),
            _path(random, frames, random.uniform(0, 1.4 * frames)),
        )
        for _ in range(random.integers(0, 4))
    ]
    views = []
    for frame in range(frames):
        view = _moved(background, camera[frame], angles[frame], SCENE_SIZE, (MARGIN, MARGIN))
        for cut, middle, path in objects:
            corner = middle + path[frame] + camera[frame] - np.array(cut.size) / 2
            left, top = (int(side) for side in np.floor(corner))
            # The object's fraction of a pixel is moved by interpolation, the rest by where it is put.
            shifted = _moved(cut, corner - (left, top), 0.0, cut.size[0], (0, 0))
            view.paste(shifted, (left, top), shifted)
        views.append(np.asarray(view))
    # In float32, as the scenes have always been computed.
    blurry = gamma_mean(views, np.float32) if blur == "blur_gamma" else mean(views)
    return np.dstack([blurry, views[frames // 2]])
