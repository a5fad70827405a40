"""What happens beside the training steps: TensorBoard, samples, checkpoints, history, and stops."""

from __future__ import annotations

import contextlib
import csv
import math
import signal
import time
from collections.abc import Callable

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.images.panels import centre, side_by_side, stacked
from deepdeblur_tf.images.rgb import write_image
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.runs.networks import save_network
from deepdeblur_tf.training.checkpoints import CheckpointFiles

SAMPLE_SIDE = 320  # pixels of a sample that are shown, from its middle


class NonFiniteLoss(RuntimeError):
    """The loss is no longer a finite number; the message names the step."""


class Interrupted(RuntimeError):
    """The user asked to stop, and the run can be continued."""


def _step(model) -> int:
    """Training steps done, over all epochs."""
    return int(model.optimizer.iterations)


class StopOnNonFiniteLoss(tf.keras.callbacks.Callback):
    """Raises `NonFiniteLoss` at the first step that the trainer skipped. Belongs before all others.

    Args:
        names: From a step, counted from 1, to the names of its batch's images.
    """

    def __init__(self, names: Callable[[int], list[str]]):
        super().__init__()
        self.names = names

    def on_train_batch_end(self, batch, logs=None):
        if logs["skipped"]:
            step = _step(self.model)
            value = "loss" if not math.isfinite(logs["loss"]) else "gradient_norm"
            raise NonFiniteLoss(
                f"the {value.replace('_', ' ')} became {logs[value]} at step {step}, so training stopped before the "
                f"weights changed. The batch's images: {', '.join(self.names(step))}. The same command would come to "
                "the same step again: lower training.learning_rate in a new run, take a spoilt image out, or use "
                "--training.on_nan skip."
            )


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ctrl-C and SIGTERM end the training after the running step, with a checkpoint; a second Ctrl-C ends it at once.

    Args:
        checkpoints: The run's `Checkpoints`.
    """

    def __init__(self, checkpoints):
        super().__init__()
        self.checkpoints = checkpoints
        self._asked = False
        self._before = {}

    def __enter__(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number, frame):
        self._asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, batch, logs=None):
        if self._asked:
            self.checkpoints.save_within_epoch()
            raise Interrupted(f"stopped after step {_step(self.model)}")

    def on_test_batch_end(self, batch, logs=None):
        # Nothing to save: there is a checkpoint from just before the epoch's last step.
        if self._asked:
            raise Interrupted(f"stopped in the validation after step {_step(self.model)}")


def _drop_events_after(step: int, folder) -> None:
    """Rewrites the newest event file without the events of later steps; the older ones were seen to before."""
    files = sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime_ns)
    if not files:
        return

    def write(path):
        with tf.io.TFRecordWriter(str(path)) as writer, contextlib.suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(files[-1])):  # a record cut off by the kill ends the file
                if tf.compat.v1.Event.FromString(record.numpy()).step <= step:
                    writer.write(record.numpy())

    write_whole(files[-1], write)


class TensorBoard(tf.keras.callbacks.Callback):
    """Writes every iteration's values (report, Figure 3.3) and every epoch's validation for TensorBoard.

    Every iteration: train/loss, train/loss_1 to train/loss_3, psnr, gradient_norm, learning_rate, steps_per_second.
    Every validation: validation/loss, validation/psnr and so on.

    Args:
        folder: Where the event files go.
        schedule: The learning rate as a function of the step.
        start: int. Steps done before. What an earlier process recorded beyond them, before it was killed, is removed,
            for these steps are trained again.
    """

    def __init__(self, folder, schedule, start: int):
        super().__init__()
        self.schedule = schedule
        _drop_events_after(start, folder)
        self.writer = tf.summary.create_file_writer(str(folder))
        self._last = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        self._last = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        step = _step(self.model)
        values = {
            **logs,
            "learning_rate": float(self.schedule(step - 1)),
            "steps_per_second": 1 / (now - self._last),
        }
        self._last = now
        with self.writer.as_default(step):
            for name, value in values.items():
                tf.summary.scalar(f"train/{name}", value)

    def on_epoch_end(self, epoch, logs=None):
        with self.writer.as_default(_step(self.model)):
            for name, value in logs.items():
                if name.startswith("val_"):
                    tf.summary.scalar(f"validation/{name[4:]}", value)
        self.writer.flush()


class Samples(tf.keras.callbacks.Callback):
    """After every validation, the same few images as blurry | restored | sharp, in TensorBoard and as a PNG.

    Shown is the middle of each image, pixel for pixel; the PSNR in the captions is that of the whole image.

    Args:
        source: The validation pairs.
        indices: Which of them to show.
        folder: Where epoch_<number>.png goes.
        writer: TensorBoard's file writer.
    """

    def __init__(self, source, indices, folder, writer):
        super().__init__()
        self.source, self.indices, self.folder, self.writer = source, indices, folder, writer
        self.last_picture = None

    def on_epoch_end(self, epoch, logs=None):
        if "val_psnr" not in logs or not len(self.indices):
            return
        rows = []
        for index in self.indices:
            blurry, sharp = np.split(self.source.read(index), 2, axis=2)
            restored = restore(self.model.network, blurry)
            captions = [
                f"{title} {psnr(image, sharp):.2f} dB" for title, image in (("blurry", blurry), ("restored", restored))
            ]
            shown = [centre(image, SAMPLE_SIDE) for image in (blurry, restored, sharp)]
            rows.append(side_by_side(shown, [*captions, f"sharp: {self.source.names[index]}"]))
            with self.writer.as_default(_step(self.model)):
                tf.summary.image(f"samples/{self.source.names[index]}", rows[-1][None])
        self.last_picture = self.folder / f"epoch_{epoch + 1:04d}.png"
        write_image(self.last_picture, stacked(rows))


class Checkpoints(tf.keras.callbacks.Callback):
    """The state to continue from, the best network so far, and history.csv.

    A checkpoint holds the weights, Adam's moments and step, the best validation PSNR, and the epoch's running means,
    so that an epoch interrupted in its middle still reports the mean over all its steps. It is written at each epoch's
    end, just before the last step of an epoch with a validation (so that little is lost by a stop during it) and every
    few minutes; the last few are kept.

    Args:
        run: The run folder.
        trainer: The compiled `Trainer`.
        schedule: The learning rate as a function of the step.
        steps_per_epoch: int.
        minutes: float. The longest time between two checkpoints.
        keep: int. How many are kept.
        validated: The numbers of the epochs, from 1, that end with a validation.
    """

    def __init__(self, run: Run, trainer, schedule, steps_per_epoch: int, minutes: float, keep: int, validated):
        super().__init__()
        self.run, self.trainer, self.schedule, self.validated = run, trainer, schedule, validated
        self.steps_per_epoch, self.minutes = steps_per_epoch, minutes
        trainer.optimizer.build(trainer.network.trainable_variables)
        self._best = tf.Variable(-math.inf, dtype=tf.float64)
        self._means = tf.Variable(np.zeros((len(trainer.metrics), 2)))
        self._seconds = tf.Variable(0.0, dtype=tf.float64)
        self._files = CheckpointFiles(
            tf.train.Checkpoint(
                network=trainer.network,
                optimizer=trainer.optimizer,
                best=self._best,
                means=self._means,
                seconds=self._seconds,
            ),
            run.last_checkpoints,
            keep,
        )
        self._saved_at = self._epoch_began = time.monotonic()

    def restore(self) -> tuple[int, list[str]]:
        """Puts the newest sound checkpoint's state into the trainer; see `CheckpointFiles.restore`."""
        return self._files.restore()

    def save(self) -> None:
        """Writes a checkpoint of this moment."""
        self._means.assign([[float(v) for v in metric.variables] for metric in self.trainer.metrics])
        now = time.monotonic()
        seconds = float(self._seconds)
        self._seconds.assign(seconds + now - self._epoch_began)
        self._files.save(_step(self.trainer))
        self._seconds.assign(seconds)
        self._saved_at = now

    def save_within_epoch(self) -> None:
        """Writes a checkpoint, but not between an epoch's last step and its validation: to continue would skip that."""
        if _step(self.trainer) % self.steps_per_epoch:
            self.save()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_began = time.monotonic()
        if _step(self.trainer) % self.steps_per_epoch:  # continued in the middle, after `fit` has reset the means
            for metric, values in zip(self.trainer.metrics, self._means.numpy()):
                for variable, value in zip(metric.variables, values):
                    variable.assign(value)
        else:
            self._seconds.assign(0.0)

    def on_train_batch_end(self, batch, logs=None):
        epochs, left_over = divmod(_step(self.trainer) + 1, self.steps_per_epoch)
        before_validation = left_over == 0 and epochs in self.validated
        if before_validation or time.monotonic() - self._saved_at > 60 * self.minutes:
            self.save_within_epoch()

    def on_epoch_end(self, epoch, logs=None):
        if logs.get("val_psnr", -math.inf) > float(self._best):
            self._best.assign(logs["val_psnr"])
            save_network(self.trainer.network, self.run.best)
        self._append_history(epoch, logs)
        self.save()

    def _append_history(self, epoch: int, logs: dict) -> None:
        step = _step(self.trainer)
        losses = [metric.name for metric in self.trainer.metrics]
        names = [*losses, *(f"val_{name}" for name in losses if name not in ("gradient_norm", "skipped"))]
        row = {
            "epoch": epoch + 1,
            "step": step,
            "learning_rate": float(self.schedule(step - 1)),
            "seconds": f"{float(self._seconds) + time.monotonic() - self._epoch_began:.1f}",
            **{name: logs.get(name, "") for name in names},
            "skipped": round(logs["skipped"] * self.steps_per_epoch),  # as a number of batches
        }
        # After a kill the last epoch may have a row but no checkpoint; it is trained again and its row replaced.
        rows = [old for old in self.run.read_history() if int(old["epoch"]) <= epoch]

        def write(path):
            with open(path, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                writer.writeheader()
                writer.writerows([*rows, row])

        write_whole(self.run.history, write)
