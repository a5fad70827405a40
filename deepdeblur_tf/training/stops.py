"""What ends a training early: a loss that is no number, and signals."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable

from deepdeblur_tf.compat import tf
from deepdeblur_tf.terminal import reader_is_gone


class NonFiniteLoss(RuntimeError):
    """The loss is no longer a finite number; the message names the step."""


class Interrupted(RuntimeError):
    """The user asked to stop, and the run can be continued."""


class StopOnNonFiniteLoss(tf.keras.callbacks.Callback):
    """Raises `NonFiniteLoss` at the first step that the trainer skipped. Belongs before all others.

    Args:
        names: From a step, counted from 1, to the names of its batch's images. None for pairs that are made while the
            training runs, which are no files.
    """

    def __init__(self, names: Callable[[int], list[str]] | None):
        super().__init__()
        self.names = names

    def on_train_batch_end(self, batch, logs=None):
        if logs["skipped"]:
            step = self.model.steps_done
            value = next(name for name, value in logs.items() if not math.isfinite(value))
            images = f" The batch's images: {', '.join(self.names(step))}." if self.names else ""
            spoilt = " take a spoilt image out," if self.names else ""
            raise NonFiniteLoss(
                f"the {value.replace('_', ' ')} became {logs[value]} at step {step}, so training stopped before the "
                f"weights changed.{images} The same command would come to the same step again: lower "
                f"training.learning_rate in a new run,{spoilt} or use --training.on_nan skip."
            )


class StopOnSignal(tf.keras.callbacks.Callback):
    """Ctrl-C, SIGTERM and SIGHUP end the training after the running step, with a checkpoint; a second Ctrl-C at once.

    `ask` is what handles them; see `terminal.on_stops`.

    Args:
        checkpoints: The run's `Checkpoints`, which must see each epoch's end before.
    """

    def __init__(self, checkpoints):
        super().__init__()
        self.checkpoints, self._asked = checkpoints, False

    def ask(self, number, frame):
        self._asked = True
        reader_is_gone()  # after SIGHUP; a progress bar would fail before the checkpoint is there
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def on_train_batch_end(self, batch, logs=None):
        if self._asked and self.checkpoints.save_within_epoch():
            raise Interrupted(f"stopped after step {self.model.steps_done}")

    def on_test_batch_end(self, batch, logs=None):
        # Nothing to save: there is a checkpoint from just before the epoch's last step.
        if self._asked:
            raise Interrupted(f"stopped in the validation after step {self.model.steps_done}")

    def on_epoch_end(self, epoch, logs=None):
        if self._asked:  # at its last step; the epoch's checkpoint has just been written
            raise Interrupted(f"stopped after step {self.model.steps_done}")
