"""A data set made by several threads: as many scenes at a time as keep them busy."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

import cv2

from deepdeblur_tf.creation.folder import DataSetFolder
from deepdeblur_tf.creation.from_frames import FromFrames
from deepdeblur_tf.creation.from_photos import FromPhotos
from deepdeblur_tf.creation.inputs import Scene
from deepdeblur_tf.creation.threads import OrderedThreads
from deepdeblur_tf.errors import UserError


def make_all(
    maker: FromFrames | FromPhotos,
    counts: Mapping[Scene, int],
    data_set: DataSetFolder,
    jobs: int,
    failed: Callable[[str], None],
    progress: Callable[[int], object],
) -> None:
    """Makes all pairs that are not there yet.

    Args:
        maker: What makes them.
        counts: The scenes, and how many pairs each gives.
        data_set: Where they go; claimed.
        jobs: How many pairs are made at a time.
        failed: Called with the message for what cannot be read. The rest is made.
        progress: Called with the number of pairs that were made or left out since the last call.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    cv2.setNumThreads(1)  # its own would take the cores from those that make other pairs
    todo = [scene for scene, count in counts.items() if len(data_set.done(scene.key)) < count]
    drivers = max(1, min(len(todo), jobs))  # each reads a scene, whose pairs the pool makes
    ahead = math.ceil(jobs / drivers) + 1
    stopped, counting = threading.Event(), threading.Lock()

    def drive(scene: Scene) -> None:
        if stopped.is_set():
            return
        done = data_set.done(scene.key)
        try:
            for made in maker.pairs(scene, done, OrderedThreads(pool, ahead, failed)):
                if stopped.is_set():
                    return
                data_set.add(scene.key, made)
                with counting:
                    progress(1)
        except UserError as error:
            failed(str(error))

    with ThreadPoolExecutor(jobs) as pool, ThreadPoolExecutor(drivers) as readers:
        driven = [readers.submit(drive, scene) for scene in todo]
        try:
            for future in as_completed(driven):
                future.result()
        finally:
            stopped.set()
