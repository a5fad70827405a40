"""Checkpoints: what a run continues from, when that is written, and the files, of which the newest sound ones count."""

from __future__ import annotations

import math
import re
import shutil
import time
from pathlib import Path

import numpy as np

from deepdeblur_tf.compat import tf, tf_variables
from deepdeblur_tf.config import Training
from deepdeblur_tf.files import sha256_of, write_whole
from deepdeblur_tf.networks.archive import save_network
from deepdeblur_tf.runs.folder import Run, RunError


class Checkpoints(tf.keras.callbacks.Callback):
    """The state to continue from, and the best network so far. Belongs after what writes the run's other files.

    A checkpoint holds the weights, Adam's moments and step, the best validation PSNR, and the epoch's running means,
    so that an epoch interrupted in its middle still reports the mean over all its steps. It is written at each epoch's
    end, just before the last step of an epoch with a validation (so that little is lost by a stop during it) and every
    few minutes; the last few are kept.

    Args:
        run: The run folder.
        trainer: The compiled `Trainer`.
        seconds: Variable. What the running epoch has taken; see `History`.
        settings: The experiment's: checkpoint_minutes, keep_checkpoints.
        steps_per_epoch: int.
        validated: The numbers of the epochs, from 1, that end with a validation.
    """

    def __init__(self, run: Run, trainer, seconds, settings: Training, steps_per_epoch: int, validated):
        super().__init__()
        self.run, self.trainer, self.validated = run, trainer, validated
        self.steps_per_epoch, self.minutes = steps_per_epoch, settings.checkpoint_minutes
        self._seconds, self._best = seconds, tf.Variable(-math.inf, dtype=tf.float64)
        self._means = tf.Variable(np.zeros((len(trainer.metrics), 2)))
        self.files = CheckpointFiles(
            tf.train.Checkpoint(best=self._best, means=self._means, seconds=seconds, **trainer.checkpointed),
            run.last_checkpoints,
            settings.keep_checkpoints,
        )
        self._saved_at = time.monotonic()

    @property
    def variables(self) -> list[tf.Variable]:
        """All that a checkpoint holds."""
        parts = self.trainer.checkpointed.values()
        return [*(each for part in parts for each in tf_variables(part)), self._best, self._means, self._seconds]

    def _copies(self, variable) -> tuple:
        """A mean's variable on each of this process's devices; each is that of all of them."""
        return self.trainer.distribute_strategy.experimental_local_results(variable)

    def save(self) -> None:
        """Writes a checkpoint of this moment."""
        self._means.assign([[float(self._copies(v)[0]) for v in tf_variables(m)] for m in self.trainer.metrics])
        self.files.save(self.trainer.steps_done)
        self.run.keep_config()
        self._saved_at = time.monotonic()

    def save_within_epoch(self) -> bool:
        """Writes a checkpoint, but not between an epoch's last step and its validation: to continue would skip that.

        Returns:
            Whether it was written.
        """
        is_within = self.trainer.steps_done % self.steps_per_epoch > 0
        if is_within:
            self.save()
        return is_within

    def on_epoch_begin(self, epoch, logs=None):
        if self.trainer.steps_done % self.steps_per_epoch:  # continued in the middle, after `fit` has reset the means
            for metric, values in zip(self.trainer.metrics, self._means.numpy()):
                for variable, value in zip(tf_variables(metric), values):
                    for copy in self._copies(variable):
                        copy.assign(value)

    def on_train_batch_end(self, batch, logs=None):
        epochs, left_over = divmod(self.trainer.steps_done + 1, self.steps_per_epoch)
        before_validation = left_over == 0 and epochs in self.validated
        if before_validation or time.monotonic() - self._saved_at > 60 * self.minutes:
            self.save_within_epoch()

    def on_epoch_end(self, epoch, logs=None):
        if logs.get("val_psnr", -math.inf) > float(self._best):
            self._best.assign(logs["val_psnr"])
            save_network(self.trainer.shipped, self.run.best)
        self.save()


class CheckpointFiles:
    """The checkpoints step-<number>.{index,data-*} of a folder, each with a step-<number>.sha256.

    The hashes are written last, so that a checkpoint without them is one that a kill cut off.

    Args:
        checkpoint: What is saved and restored.
        folder: Where.
        keep: int. How many are kept, the newest.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, folder: Path, keep: int):
        self.checkpoint, self.folder, self.keep = checkpoint, folder, keep

    def save(self, step: int) -> None:
        """Writes a checkpoint of this moment and removes what is too old.

        Raises:
            RunError: the folder was removed meanwhile.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for left_over in self.folder.glob("step-*_temp"):  # TensorFlow's, from a kill while it wrote
            shutil.rmtree(left_over)
        self._hashes(step).unlink(missing_ok=True)
        try:
            self.checkpoint.write(str(self.folder / f"step-{step}"))
        except (tf.errors.NotFoundError, tf.errors.FailedPreconditionError) as error:
            raise RunError(
                f"{self.folder}: was removed while a checkpoint was written there. The same command continues the run "
                "from the last one that is left."
            ) from error
        lines = "".join(f"{sha256_of(path)}  {path.name}\n" for path in self._files(step))
        write_whole(self._hashes(step), lambda path: path.write_text(lines, encoding="utf-8"))
        later = [other for other in self.steps() if other > step]  # damaged ones, from before the run fell back
        for old in later + [other for other in self.steps() if other <= step][self.keep :]:
            # The hashes first: what is left of a checkpoint that is half removed is not taken for a whole one.
            for path in (self._hashes(old), *self._files(old)):
                path.unlink(missing_ok=True)

    def restore(self) -> tuple[int, list[str]]:
        """Reads the newest sound checkpoint.

        Returns:
            (its step, 0 where there is no checkpoint at all; a line on each newer one that is damaged).

        Raises:
            RunError: all are damaged, or they are another Keras's.
        """
        damaged = []
        for step in self.steps():
            reason = self._damage(step)
            if reason is None:
                self._read(step)
                return step, damaged
            damaged.append(f"{self.folder / f'step-{step}'}: {reason}")
        if any(self._hashes(step).is_file() for step in self.steps()):
            lines = (f"  {line}" for line in damaged)
            raise RunError("no checkpoint is sound:", *lines, f"Remove {self.folder} to begin anew.")
        return 0, damaged

    def steps(self) -> list[int]:
        """The steps of which there is at least one file, the newest first."""
        found = (re.match(r"step-(\d+)\.", path.name) for path in self.folder.glob("step-*.*"))
        return sorted({int(match[1]) for match in found if match}, reverse=True)

    def _hashes(self, step: int) -> Path:
        return self.folder / f"step-{step}.sha256"

    def _files(self, step: int) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"step-{step}.*") if path.suffix != ".sha256")

    def _damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint; None for a sound one."""
        if not self._hashes(step).is_file():
            return "was not finished, by a kill"
        try:
            lines = self._hashes(step).read_text(encoding="utf-8").splitlines()
            for digest, name in (line.split("  ", 1) for line in lines):
                if sha256_of(self.folder / name) != digest:
                    return f"{name} is damaged, its content does not match its SHA-256"
        except (OSError, ValueError) as error:
            return f"cannot be read ({error})"
        return None if lines else "its list of hashes is empty"

    def _read(self, step: int) -> None:
        path = str(self.folder / f"step-{step}")
        try:
            self.checkpoint.read(path).assert_existing_objects_matched()
        except AssertionError as error:
            raise RunError(
                f"{path} does not fit TensorFlow {tf.__version__}. A run is continued on the stack that began it: "
                "Python 3.9 to 3.11 or Python 3.12 and 3.13."
            ) from error
