"""Motion during an exposure: smooth random paths of a camera and of objects, as homographies over time.

Time runs from -1, where the shutter opens, to 1, where it closes; at 0 everything is where the sharp image shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

_MOST = 0.25  # of growth, and of what a tilt takes from the distance
_FINE = 129  # moments at which a path is integrated; odd, so that 0 is one of them


@dataclass(frozen=True)
class Motion:
    """How a plane moves over the image during one exposure.

    Attributes:
        times: float [T], from -1 to 1.
        shifts: float [T, 2]. The path (x, y) in pixels; (0, 0) at time 0.
        turn: Radians from time 0 to time 1; as much the other way before.
        zoom: Growth from time 0 to time 1, as a fraction.
        tilt: (x, y). The perspective's change from time 0 to time 1, in 1 / pixels.
    """

    times: np.ndarray
    shifts: np.ndarray
    turn: float = 0.0
    zoom: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)

    def homographies(self, times, centre) -> np.ndarray:
        """Where the points of the image at time 0 are at other times.

        Args:
            times: float [T].
            centre: (x, y) that the image turns and grows around, in pixels.

        Returns:
            float [T, 3, 3], from (x, y, 1) to a multiple of it.
        """
        times = np.asarray(times, float)
        scale = 1 + self.zoom * times
        cosine, sine = scale * np.cos(self.turn * times), scale * np.sin(self.turn * times)
        x, y = (np.interp(times, self.times, self.shifts[:, axis]) for axis in (0, 1))
        one = np.ones_like(times)
        moved = np.stack(
            [cosine, -sine, x, sine, cosine, y, self.tilt[0] * times, self.tilt[1] * times, one], axis=-1
        ).reshape(-1, 3, 3)
        return translation(*centre) @ moved @ translation(-centre[0], -centre[1])


def translation(x: float, y: float) -> np.ndarray:
    """The homography of a shift: float [3, 3]."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def inverse(homographies: np.ndarray) -> np.ndarray:
    """Multiples of the inverse homographies, [..., 3, 3] to the same: homographies have no scale.

    By cross products: `np.linalg.inv` wakes threads of its own, which take the cores from those that make pairs.
    """
    first, second, third = np.moveaxis(homographies, -2, 0)
    return np.stack([np.cross(second, third), np.cross(third, first), np.cross(first, second)], axis=-1)


def smooth_path(random: np.random.Generator, length: float) -> np.ndarray:
    """A smooth path through (0, 0) at time 0.

    Its direction bends and sways, and its speed changes, as a hand's or a walker's do: mostly a little, as an exposure
    is short beside a hand's sway, and at times much.

    Args:
        random: The generator.
        length: The path's length in pixels.

    Returns:
        float [129, 2], (x, y) at equally spaced times from -1 to 1.
    """
    time = np.linspace(-1, 1, _FINE)
    how_much = random.random() ** 2
    bend, sway, phase = random.normal(0, 0.4), random.normal(0, 0.25), random.uniform(0, 2 * np.pi)
    direction = random.uniform(0, 2 * np.pi) + how_much * (bend * time + sway * np.sin(2 * np.pi * time + phase))
    speed = 1 + random.uniform(0, 0.6) * np.sin(np.pi * time + random.uniform(0, 2 * np.pi))
    velocity = speed[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    steps = (velocity[1:] + velocity[:-1]) / 2
    steps *= length / np.linalg.norm(steps, axis=1).sum()
    path = np.vstack([np.zeros(2), np.cumsum(steps, axis=0)])
    return path - path[_FINE // 2]


def path_length(shifts: np.ndarray) -> float:
    """The length in pixels of a path [T, 2]."""
    return float(np.linalg.norm(np.diff(shifts, axis=0), axis=1).sum())


def still() -> Motion:
    """No motion at all."""
    return Motion(np.array([-1.0, 1.0]), np.zeros((2, 2)))


def random_motion(
    random: np.random.Generator, length: float, turn: float = 0.0, zoom: float = 0.0, tilt: float = 0.0
) -> Motion:
    """A motion along a smooth path.

    Args:
        random: The generator.
        length: The path's length in pixels.
        turn: Standard deviation of the turn, in radians.
        zoom: Standard deviation of the growth.
        tilt: Standard deviation of the perspective's change, in 1 / pixels.
    """
    path, turned, grown = smooth_path(random, length), float(random.normal(0, turn)), float(random.normal(0, zoom))
    tilted = float(random.normal(0, tilt)), float(random.normal(0, tilt))
    return Motion(np.linspace(-1, 1, _FINE), path, turned, min(max(grown, -_MOST), _MOST), tilted)


def within_sight(motion: Motion, size: tuple[int, int]) -> Motion:
    """A motion whose tilt brings no corner of an image of (height, width) nearer than three quarters of its distance.

    A plane that is tilted more reaches to the horizon, which no picture does.
    """
    nearer = (abs(motion.tilt[0]) * size[1] + abs(motion.tilt[1]) * size[0]) / 2
    if nearer <= _MOST:
        return motion
    return replace(motion, tilt=(motion.tilt[0] * _MOST / nearer, motion.tilt[1] * _MOST / nearer))


def joined(first: Motion, second: Motion) -> Motion:
    """An object's motion before a camera that moves as well: the paths are added, the rest is the camera's, `first`."""
    return Motion(first.times, first.shifts + second.shifts, first.turn, first.zoom, first.tilt)
