"""Pairs from videos and folders of frames: a blurry image is the mean of consecutive frames, the sharp one their
middle."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Union

import numpy as np

from deepdeblur_tf.creation.folder import Made, encoded
from deepdeblur_tf.creation.frame_checks import displacement, sharpness
from deepdeblur_tf.creation.inputs import Scene, check_size
from deepdeblur_tf.creation.threads import OrderedThreads
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.rgb import image_size, read_rgb
from deepdeblur_tf.images.videos import footage, video_frames
from deepdeblur_tf.synthesis.exposures import AVERAGED, gamma_mean, mean

NEAR = 8  # pairs before and after one, with whose sharp frames its own is compared
LEAST = 0.5  # of the median of their sharpness; a frame with less is blurry itself
# Pixels from one frame to the next: an edge is a pixel or two wide, so that up to here its copies make one streak.
UNBROKEN = 2.0

FrameOrFile = Union[np.ndarray, Path]  # a decoded one of a video, or a file, which the thread that averages it reads


class FromFrames:
    """Makes pairs from videos and folders of frames.

    Args:
        averaged: How many frames make one blurry image, odd. None draws one of `AVERAGED` for each scene.
        seed: Fixes what is drawn.
    """

    folders = ("blur", "blur_gamma", "sharp")

    def __init__(self, averaged: int | None, seed: int):
        self.choices = (averaged,) if averaged else AVERAGED
        self.seed = seed
        # Of each scene: how many frames make one blurry image; frames a second, None for a folder of frames.
        self._counted: dict[str, tuple[int, float | None]] = {}

    def count(self, scene: Scene) -> int:
        """How many pairs a scene gives, the ones that are left out later among them.

        Raises:
            UserError: what is wrong with it: unreadable, frames of two sizes, too few, too small.
        """
        if scene.frames:
            size = image_size(scene.frames[0])
            for file in scene.frames:
                other = image_size(file)
                if other != size:
                    raise UserError(
                        f"{file}: is {other[1]}x{other[0]}, the frames before it are {size[1]}x{size[0]}. A folder is "
                        "one scene, whose frames are of one size."
                    )
            frames, rate = len(scene.frames), None
        else:
            frames, rate, size = footage(scene.source)
        check_size(scene.source, size)
        fitting = [averaged for averaged in self.choices if averaged <= frames]
        if not fitting:
            raise UserError(f"{scene.source}: has {frames} frames; one blurry image takes {min(self.choices)}.")
        averaged = int(np.random.default_rng((self.seed, scene.number)).choice(fitting))
        self._counted[scene.key] = averaged, rate
        return frames // averaged

    def pairs(self, scene: Scene, done: Mapping[int, dict], threads: OrderedThreads) -> Iterator[Made]:
        """Makes a scene's pairs.

        Args:
            scene: One that `count` has counted.
            done: The entries of those that are there already, by their numbers, which begin at 1.
            threads: Where they are made.

        Yields:
            The others, in order; those whose sharp frame is blurry itself without images.
        """
        averaged, rate = self._counted[scene.key]
        windows = enumerate(_windows(scene, averaged, threads.failed), 1)
        calls = (
            partial(Made, number, done[number], {}) if number in done else partial(_expose, scene, rate, number, window)
            for number, window in windows
        )
        for made in _judged(threads.in_order(calls)):
            if made.number not in done:
                yield made


def _windows(scene: Scene, averaged: int, failed: Callable[[str], None]) -> Iterator[list[FrameOrFile]]:
    """As many consecutive frames as make one blurry image, over and over."""
    window: list[FrameOrFile] = []
    try:
        for frame in scene.frames or video_frames(scene.source):
            window.append(frame)
            if len(window) == averaged:
                yield window
                window = []
    except UserError as error:  # a video that is cut off
        failed(str(error))


def _expose(scene: Scene, rate: float | None, number: int, window: list[FrameOrFile]) -> Made:
    """Makes one pair."""
    frames = [read_rgb(frame) if isinstance(frame, Path) else frame for frame in window]
    first, middle = (number - 1) * len(frames), len(frames) // 2
    entry = {
        "source": scene.source.name,
        "first_frame": first,
        "frames": len(frames),
        "sharp_frame": first + middle,
        "frame_rate": rate,
        "displacement_pixels": round(displacement(frames), 3),
        "sharpness": round(sharpness(frames[middle]), 3),
    }
    images = {"blur": mean(frames), "blur_gamma": gamma_mean(frames), "sharp": frames[middle]}
    return Made(number, entry, {folder: encoded(image) for folder, image in images.items()})


def _judged(pairs: Iterable[Made]) -> Iterator[Made]:
    """Leaves out pairs whose sharp frame is blurry itself: less sharp than half of what is usual near it."""
    known: dict[int, float] = {}
    waiting: deque[Made] = deque()

    def judge() -> Made:
        made = waiting.popleft()
        near = [known[number] for number in range(made.number - NEAR, made.number + NEAR + 1) if number in known]
        usual = float(np.median(near))
        relative = made.entry["sharpness"] / usual if usual else 1.0
        entry = {**made.entry, "relative_sharpness": round(relative, 3), "left_out": relative < LEAST}
        return Made(made.number, entry, {} if relative < LEAST else made.images)

    for made in pairs:
        while waiting and waiting[0].number + NEAR < made.number:
            yield judge()
        known[made.number] = made.entry["sharpness"]
        waiting.append(made)
    while waiting:
        yield judge()


def jerkiness(entries: Iterable[Mapping]) -> str | None:
    """What is to be said of a scene whose streaks are broken, for things move too far from one frame to the next.

    Args:
        entries: The scene's, as the manifest has them.

    Returns:
        A sentence, with the frame rate that it would take; None where streaks are whole. Of the pairs' displacements
        it is their 95th percentile that counts, for a cut in a film is no motion.
    """
    entries = list(entries)
    largest = float(np.percentile([entry["displacement_pixels"] for entry in entries], 95))
    if largest <= UNBROKEN:
        return None
    rate = entries[0]["frame_rate"]
    takes = f"{largest / UNBROKEN:.1f} times as many frames a second"
    if rate:
        takes += f", {math.ceil(rate * largest / UNBROKEN)} in place of {rate:g}"
    return (
        f"{entries[0]['source']}: things move up to {largest:.1f} pixels from one frame to the next, so that "
        f"streaks are broken into copies. For at most {UNBROKEN:g} pixels it takes {takes}."
    )
