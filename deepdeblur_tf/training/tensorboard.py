"""The training's curves for TensorBoard."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from deepdeblur_tf.compat import tf

_SCALAR = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"})


def cut_events_after(step: int, folder: Path) -> None:
    """Cuts each of a folder's event files off before its first event of a later step.

    A process writes its steps in order into a file of its own, so what follows is later still. What a kill left
    incomplete is cut off too.
    """
    for path in folder.glob("events.out.tfevents.*"):
        end = 0
        with contextlib.suppress(tf.errors.DataLossError):
            for event in tf.compat.v1.io.tf_record_iterator(str(path)):
                if tf.compat.v1.Event.FromString(event).step > step:
                    break
                end += len(event) + 16  # its length and two checksums
        os.truncate(path, end)


class TensorBoard(tf.keras.callbacks.Callback):
    """Writes every iteration's values (report, Figure 3.3) and every epoch's validation for TensorBoard.

    Every iteration: train/loss, train/loss_1 to train/loss_3, psnr, gradient_norm, learning_rate, steps_per_second.
    Every validation: validation/loss, validation/psnr and so on. It belongs before `Checkpoints`, so that what a
    checkpoint continues from is in the files.

    Args:
        folder: Where the event files go.
        schedule: The learning rate as a function of the step.
        start: int. Steps done before. What earlier processes recorded beyond them is removed, for these steps are
            trained again.
    """

    def __init__(self, folder: Path, schedule, start: int):
        super().__init__()
        self.schedule = schedule
        cut_events_after(start, folder)
        self.writer = tf.summary.create_file_writer(str(folder))
        self._last = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self._last = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        rate = float(self.schedule(self.model.steps_done - 1))
        self._write("train", {**logs, "learning_rate": rate, "steps_per_second": 1 / (now - self._last)})
        self._last = now

    def on_epoch_end(self, epoch, logs=None):
        measured = {name[4:]: value for name, value in logs.items() if name.startswith("val_")}
        if measured:
            self._write("validation", measured)

    def _write(self, group: str, values: dict) -> None:
        # All in one event: tf.summary.scalar would make one of each, which takes seven times as long.
        values = [
            tf.compat.v1.Summary.Value(
                tag=f"{group}/{name}", metadata=_SCALAR, tensor=tf.make_tensor_proto(value, tf.float32)
            )
            for name, value in values.items()
        ]
        with self.writer.as_default(self.model.steps_done):
            tf.summary.experimental.write_raw_pb(tf.compat.v1.Summary(value=values).SerializeToString())
        self.writer.flush()  # a kill loses no step that a checkpoint holds
