"""Validation images as pictures, blurry, restored and sharp, after each validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.data.protocol import Source
from deepdeblur_tf.data.sources import spread
from deepdeblur_tf.images.panels import centre, side_by_side, stacked
from deepdeblur_tf.images.rgb import write_image
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.terminal import shown_name

SAMPLE_SIDE = 320  # pixels of a sample that are shown, from its middle


class ValidationSamples(tf.keras.callbacks.Callback):
    """After every validation, the same few images as blurry | restored | sharp, in TensorBoard and as a PNG.

    Shown is the middle of each image, pixel for pixel; the PSNR in the captions is that of the whole image.

    Args:
        source: The validation pairs.
        count: int. How many of them to show.
        folder: Where epoch_<number>.png goes.
        writer: TensorBoard's file writer.
    """

    def __init__(self, source: Source, count: int, folder: Path, writer):
        super().__init__()
        self.source, self.folder, self.writer = source, folder, writer
        self._indices = spread(len(source), count)

    def file(self, epoch: int) -> Path:
        """The PNG of an epoch, counted from 1."""
        return self.folder / f"epoch_{epoch:04d}.png"

    def on_epoch_end(self, epoch, logs=None):
        if "val_psnr" not in logs or not len(self._indices):
            return
        rows = []
        for index in self._indices:
            blurry, sharp = np.split(self.source.read(index), 2, axis=2)
            restored = restore(self.model.shipped, blurry, scale=1)
            captions = [
                f"{title} {psnr(image, sharp):.2f} dB" for title, image in (("blurry", blurry), ("restored", restored))
            ]
            shown = [centre(image, SAMPLE_SIDE) for image in (blurry, restored, sharp)]
            name = shown_name(self.source.names[index])
            rows.append(side_by_side(shown, [*captions, f"sharp: {name}"]))
            with self.writer.as_default(self.model.steps_done):
                tf.summary.image(f"samples/{name}", rows[-1][None])
        self.writer.flush()
        write_image(self.file(epoch + 1), stacked(rows))
