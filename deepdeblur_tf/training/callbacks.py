"""What happens beside the training steps: history, samples, progress in a file, and stops."""

from __future__ import annotations

import csv
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepdeblur_tf.compat import tf
from deepdeblur_tf.data.sources import Source, spread
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.images.panels import centre, side_by_side, stacked
from deepdeblur_tf.images.rgb import write_image
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.runs.folder import Run

SAMPLE_SIDE = 320  # pixels of a sample that are shown, from its middle
IN_TRAINING = ("adversarial", "discriminator", "gradient_norm", "skipped")  # the values that no validation has


class NonFiniteLoss(RuntimeError):
    """The loss is no longer a finite number; the message names the step."""


class Interrupted(RuntimeError):
    """The user asked to stop, and the run can be continued."""


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
            step = self.model.steps_done
            value = next(name for name, value in logs.items() if not math.isfinite(value))
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
            raise Interrupted(f"stopped after step {self.model.steps_done}")

    def on_test_batch_end(self, batch, logs=None):
        # Nothing to save: there is a checkpoint from just before the epoch's last step.
        if self._asked:
            raise Interrupted(f"stopped in the validation after step {self.model.steps_done}")


class EpochLines(tf.keras.callbacks.Callback):
    """Prints a line an epoch on stderr: the progress bar's stand-in where that is no terminal.

    Args:
        epochs: int. Of the whole training.
        steps_per_epoch: int.
        start: int. Steps done before.
    """

    def __init__(self, epochs: int, steps_per_epoch: int, start: int):
        super().__init__()
        self.epochs, self.steps_per_epoch, self.start = epochs, steps_per_epoch, start
        self._began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        step = self.model.steps_done
        seconds_a_step = (time.monotonic() - self._began) / (step - self.start)
        left = tqdm.format_interval(seconds_a_step * (self.epochs * self.steps_per_epoch - step))
        values = [f"{name} {logs[name]:.4g}" for name in ("loss", "psnr", "val_psnr") if name in logs]
        sys.stdout.flush()  # where both go into one file, what was printed before comes first
        print(f"epoch {epoch + 1}/{self.epochs}: {', '.join(values)}, {left} left", file=sys.stderr, flush=True)


class Samples(tf.keras.callbacks.Callback):
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
            rows.append(side_by_side(shown, [*captions, f"sharp: {self.source.names[index]}"]))
            with self.writer.as_default(self.model.steps_done):
                tf.summary.image(f"samples/{self.source.names[index]}", rows[-1][None])
        self.writer.flush()
        write_image(self.file(epoch + 1), stacked(rows))


class History(tf.keras.callbacks.Callback):
    """Writes history.csv, a row an epoch. Belongs before `Checkpoints`.

    Args:
        run: The run folder.
        schedule: The learning rate as a function of the step.
        steps_per_epoch: int.

    Attributes:
        seconds: float64 variable. What the running epoch has taken, in all processes that worked on it.
    """

    def __init__(self, run: Run, schedule, steps_per_epoch: int):
        super().__init__()
        self.run, self.schedule, self.steps_per_epoch = run, schedule, steps_per_epoch
        self.seconds = tf.Variable(0.0, dtype=tf.float64)
        self._last = time.monotonic()

    def _add_seconds(self) -> None:
        now = time.monotonic()
        self.seconds.assign_add(now - self._last)
        self._last = now

    def on_epoch_begin(self, epoch, logs=None):
        self._last = time.monotonic()
        if self.model.steps_done % self.steps_per_epoch == 0:  # not continued in the middle
            self.seconds.assign(0.0)

    def on_train_batch_end(self, batch, logs=None):
        self._add_seconds()

    def on_epoch_end(self, epoch, logs=None):
        self._add_seconds()
        step = self.model.steps_done
        losses = [metric.name for metric in self.model.metrics]
        names = [*losses, *(f"val_{name}" for name in losses if name not in IN_TRAINING)]
        row = {
            "epoch": epoch + 1,
            "step": step,
            "learning_rate": float(self.schedule(step - 1)),
            "seconds": f"{float(self.seconds):.1f}",
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
