"""A video restored, frame by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.video_writer import writing
from deepdeblur_tf.images.videos import Frame, open_video, survey


def restore_video(path, target, restore: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """Restores a video. Each frame is shown when it was; the picture is coded anew, at high quality, the rest copied.

    Args:
        path: The video.
        target: Where to, with a suffix that can be written.
        restore: From a frame, uint8 or, of a video of more than 8 bits, uint16 [H, W, 3], to its restored form.

    Returns:
        In what it is not as it was, in a few words each.

    Raises:
        ImageError: a file that is no video or is cut off, or the plugin is missing.
        OSError: the result cannot be written.
    """
    source = survey(path)
    last = None
    with open_video(path, is_deep=True) as video, writing(Path(target), video, source) as writer:
        for item in video.items():
            if isinstance(item, Frame):
                writer.add(dataclasses.replace(item, pixels=restore(item.pixels)))
                last = item.time * video.tick
            else:
                writer.copy(item)
        if last is None or last - source.begin < (source.last - source.begin) * 4 / 5:
            raise ImageError(f"{path}: is damaged; most of it does not decode")
    remarks = [*video.remarks, *writer.remarks]
    if Path(target).suffix.lower() != Path(path).suffix.lower():
        remarks.insert(0, f"written as {Path(target).suffix}, for {Path(path).suffix.lower()} cannot be written")
    return remarks
