"""What a training says of its epochs: history.csv, and lines in place of a progress bar."""

from __future__ import annotations

import csv
import sys
import time

from tqdm import tqdm

from deepdeblur_tf.compat import tf
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.runs.folder import Run

IN_TRAINING = ("adversarial", "discriminator", "gradient_norm", "skipped")  # the values that no validation has


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
                writer = csv.DictWriter(file, list(row), extrasaction="ignore", lineterminator="\n")
                writer.writeheader()
                writer.writerows([*rows, row])

        write_whole(self.run.history, write)


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
