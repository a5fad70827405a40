"""The one file that knows which Keras runs and whether tensorflow-addons is there.

TensorFlow 2.15 with Keras 2 and tensorflow-addons (Python 3.9 to 3.11), or TensorFlow 2.21 with Keras 3 (3.12, 3.13),
there also with Keras 2 from tf-keras where TF_USE_LEGACY_KERAS=1 asks for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

from deepdeblur_tf.errors import UserError, install_line, quiet_libraries
from deepdeblur_tf.machine import cores

if sys.version_info >= (3, 12):
    # Keras 3 computes with what this variable names, or else ~/.keras/keras.json.
    backend = os.environ["KERAS_BACKEND"] = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise UserError(
            f"KERAS_BACKEND: received {backend!r}; allowed: tensorflow, for this package is written in TensorFlow. "
            "Unset the variable."
        )
else:
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # here it would ask for another package of the same Keras 2

with quiet_libraries():
    import tensorflow as tf

    tf.config.list_physical_devices("GPU")  # the first call prints many lines where there is no driver

tf.get_logger().setLevel("ERROR")

try:
    KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3")  # Keras 2's tf.keras does not tell its version
except ImportError as error:
    raise UserError(
        f"TF_USE_LEGACY_KERAS asks for Keras 2, which is not installed: {install_line('multi_worker')}"
    ) from error


def need_keras_2(what: str) -> None:
    """Raises UserError where Keras 3 runs, whose `fit` fails with several workers."""
    if KERAS_3:
        raise UserError(
            f"{what} needs Keras 2: on Python 3.12 and 3.13 install it, {install_line('multi_worker')}, and set "
            "TF_USE_LEGACY_KERAS=1 for all of the processes."
        )


def gpus() -> list:
    """The GPUs that TensorFlow uses, without those hidden by `tf.config.set_visible_devices`."""
    return tf.config.get_visible_devices("GPU")


def device_name() -> str:
    """The device that TensorFlow computes on, in words."""
    if not gpus():
        return f"CPU, {cores()} cores"
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus()]
    return f"GPU, {names[0]}" + (f" (of {len(names)})" if len(names) > 1 else "")


def tf_variables(owner) -> list[tf.Variable]:
    """The variables of a network, an optimizer or a metric as TensorFlow's own, which Keras 3 wraps."""
    return [variable.value if KERAS_3 else variable for variable in owner.variables]


def gradients(tape: tf.GradientTape, loss, variables, optimizer) -> tuple[list, list]:
    """Gradients under a possibly loss-scaling optimizer (mixed float16).

    Keras 2 and 3 scale the loss in different places; a step that ignores it trains 2^15 times too slowly, silently.
    Under a strategy they are the mean over the replicas, those of the whole batch.

    Args:
        tape: The tape that recorded `loss`, still recording.
        loss: float32 scalar.
        variables: What to differentiate by.
        optimizer: The Keras optimizer, wrapped in a LossScaleOptimizer under mixed float16.

    Returns:
        (gradients of `loss`, gradients to hand to `optimizer.apply_gradients`).
    """
    if not isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
        plain = mean_over_replicas(tape.gradient(loss, variables))
        return plain, plain
    if KERAS_3:  # `apply_gradients` divides by the scale itself
        scaled = mean_over_replicas(tape.gradient(optimizer.scale_loss(loss), variables))
        scale = optimizer.scale_loss(tf.constant(1.0))
        return [gradient / scale for gradient in scaled], scaled
    scaled = mean_over_replicas(tape.gradient(optimizer.get_scaled_loss(loss), variables))
    plain = optimizer.get_unscaled_gradients(scaled)
    return plain, plain


def slot_index(optimizer, variable) -> int:
    """The place of a variable in an optimizer's lists of what it keeps of each."""
    return optimizer._get_variable_index(variable) if KERAS_3 else optimizer._index_dict[optimizer._var_key(variable)]


def mean_over_replicas(values):
    """The mean over a strategy's replicas, of each tensor in a structure; the values themselves without a strategy."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)


def apply_gradients(optimizer, gradients, variables) -> None:
    """`optimizer.apply_gradients` of what `gradients` gave for the optimizer, which are the same on all replicas."""
    if not KERAS_3:
        optimizer.apply_gradients(zip(gradients, variables), skip_gradients_aggregation=True)
        return
    # Keras 3 clips on each replica, then sums over them: the first one gives all, the others nothing (but NaN as NaN).
    is_first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)
    optimizer.apply_gradients(zip([gradient * tf.cast(is_first, gradient.dtype) for gradient in gradients], variables))


def _shown(logs) -> dict:
    """The logs that a progress bar has room for."""
    return {key: value for key, value in (logs or {}).items() if key in ("loss", "psnr", "val_psnr")}


@contextlib.contextmanager
def progress_bar(first_epoch: int, epochs: int):
    """A callback with tqdm bars on a terminal for `fit`: epoch, step, loss, PSNR and the time left.

    Args:
        first_epoch: Epochs done before this `fit`, so that the time left is that of the rest.
        epochs: Of the whole training; a `fit` may be for some of them.
    """
    seconds = 0.2  # between two pictures
    if sys.version_info >= (3, 12):
        from tqdm.keras import TqdmCallback

        class Bar(TqdmCallback, tf.keras.callbacks.Callback):  # the second: tqdm's is always one of Keras 3
            def __init__(self):
                super().__init__(mininterval=seconds, dynamic_ncols=True)
                self._epoch_done, self._batch_done = self.on_epoch_end, self.on_batch_end
                self.on_epoch_end = lambda epoch, logs=None: self._epoch_done(epoch, _shown(logs))
                self.on_train_batch_end = lambda batch, logs=None: self._batch_done(batch, _shown(logs))

            def set_params(self, params):
                super().set_params({**params, "epochs": epochs})

            def on_epoch_begin(self, epoch, logs=None):
                super().on_epoch_begin(epoch, logs)
                self.batch_bar.unit_scale = False  # or it counts "14.0/15.0"

        bar, lines = Bar(), ("batch_bar", "epoch_bar")
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its end of life
            from tensorflow_addons.callbacks import TQDMProgressBar

        class AddonsBar(TQDMProgressBar):
            def set_params(self, params):
                super().set_params({**params, "epochs": epochs})

            def on_train_begin(self, logs=None):
                super().on_train_begin(logs)
                self.overall_progress_tqdm.initial = self.overall_progress_tqdm.n = first_epoch
                self.overall_progress_tqdm.refresh()

            def on_epoch_begin(self, epoch, logs=None):
                self.overall_progress_tqdm.clear()  # or its line runs into the epoch's
                super().on_epoch_begin(epoch, logs)
                self.overall_progress_tqdm.refresh()

            def on_batch_end(self, batch, logs=None):
                super().on_batch_end(batch, _shown(logs))

            def on_epoch_end(self, epoch, logs=None):
                super().on_epoch_end(epoch, _shown(logs))

        bar, lines = AddonsBar(), ("epoch_progress_tqdm", "overall_progress_tqdm")
        bar.update_interval = seconds  # its constructor takes whole updates a second only
    try:
        yield bar
    finally:
        for line in (getattr(bar, name) for name in lines):
            if line is not None:
                line.close()
