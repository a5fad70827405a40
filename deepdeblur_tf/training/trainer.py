"""The custom training step: `Trainer` wraps the network and is trained with `fit`."""

from __future__ import annotations

from collections.abc import Callable

from deepdeblur_tf.compat import apply_gradients, gradients, mean_over_replicas, tf
from deepdeblur_tf.data.numpy_call import original_errors
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.losses import ERRORS, multiscale_loss
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.model import run_network

# dB. A patch without any blur may be restored exactly, and one infinity would be the mean of an epoch. This is what a
# 256x256 patch has with a single value off by one.
MOST_PSNR = 100.0


class Trainer(tf.keras.Model):
    """Trains a network of `build_model` with the multi-scale loss.

    Batches are (blurry, sharp), each a tuple of the network's levels: float32 [N, H, W, 3] in [-0.5, 0.5], finest
    first, as `make_datasets` gives them.

    Logs: loss (the sum over levels), loss_1 (finest) to loss_3, psnr (dB, of the finest level, 8 bits), and in
    training gradient_norm (the Euclidean norm of all gradients before clipping) and skipped (1 for a batch whose loss
    or gradients are NaN or infinite: it counts as a step, but changes neither weights nor means). Under a
    `tf.distribute` strategy all of them, and the step, are those of all replicas' batches together.

    Args:
        network: The network that is trained.
        shipped: The network that is validated, saved and used afterwards, of the same shape as `network`: float32
            where that computes in less, or its moving average. Defaults to `network` itself.
        loss: The kind of error: a name in `losses.ERRORS`, or a function from the differences of a level, float32
            [N, H, W, 3], to what is averaged. Defaults to "mse".
        ema: How much of itself the shipped network keeps at each step, from 0, and below 1. Defaults to 0: it gets the
            weights as they are when it is validated.

    Example:
        >>> import numpy as np
        >>> import deepdeblur_tf
        >>> trainer = deepdeblur_tf.Trainer(deepdeblur_tf.build_model(levels=2, blocks=1, filters=4))
        >>> trainer.compile("adam")  # or what make_optimizer gives
        >>> levels = tuple(np.zeros((2, side, side, 3), np.float32) for side in (64, 32))
        >>> history = trainer.fit(levels, levels, batch_size=2, verbose=0).history  # or make_datasets' batches
        >>> sorted(history)
        ['gradient_norm', 'loss', 'loss_1', 'loss_2', 'psnr', 'skipped']
        >>> trainer.network.save("model.keras")
    """

    def __init__(
        self,
        network: tf.keras.Model,
        shipped: tf.keras.Model | None = None,
        loss: str | Callable = "mse",
        ema: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not callable(loss) and loss not in ERRORS:
            raise UserError(f"loss: received {loss!r}; allowed: one of {', '.join(ERRORS)}, or a function.")
        self.network, self.shipped = network, shipped or network
        self._error, self._ema = loss, ema
        levels = [f"loss_{level}" for level, _ in enumerate(network.inputs, 1)]
        names = ["loss", *levels, "psnr", "gradient_norm", "skipped"]
        self._means = {name: tf.keras.metrics.Mean(name=name) for name in names}
        self.distribute_reduction_method = "first"  # for Keras 2: each replica's values are those of all

    def compile(self, optimizer="adam", **kwargs):
        """As `keras.Model.compile`; the loss and the metrics are the trainer's own. XLA is off unless asked for."""
        super().compile(optimizer=optimizer, **{"jit_compile": False, **kwargs})
        self.optimizer.build(self.network.trainable_variables)  # within a step's condition it could not be

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`. Data of `make_datasets` that cannot be read raise ImageError or PairsError."""
        with original_errors():
            return super().fit(*args, **kwargs)

    def evaluate(self, *args, **kwargs):
        """As `keras.Model.evaluate`, of the shipped network; `fit` calls it for each validation."""
        self.update_shipped()
        return super().evaluate(*args, **kwargs)

    @property
    def checkpointed(self) -> dict:
        """What a checkpoint of this training holds, by name."""
        # The shipped network only where it is another one: checkpoints of plain runs lack it.
        shipped = {"shipped": self.shipped} if self.shipped is not self.network else {}
        return {"network": self.network, "optimizer": self.optimizer, **shipped}

    @property
    def steps_done(self) -> int:
        """Training steps, over all epochs and processes."""
        return int(tf.convert_to_tensor(self.optimizer.iterations))

    @property
    def metrics(self) -> list:
        return list(self._means.values())

    def call(self, blurry, training=None):
        """The network's levels for blurry ones; see `build_model`."""
        return self.network(blurry, training=training)

    def _measure(self, sharp, restored) -> dict:
        losses = multiscale_loss(sharp, restored, self._error)
        size = tf.shape(sharp[0])
        finest = tf.cast(restored[0][:, : size[1], : size[2]], tf.float32)
        values = {"loss": tf.add_n(losses)}
        values.update({f"loss_{level}": loss for level, loss in enumerate(losses, 1)})
        decibels = tf.reduce_mean(tf.minimum(psnr(finest + 0.5, sharp[0] + 0.5), MOST_PSNR))
        return {**values, "psnr": tf.cast(decibels, tf.float32)}

    def train_step(self, data):
        """One step on (blurry, sharp); returns this batch's values, whose means `fit` reports for the epoch."""
        values, plain, for_optimizer = self._differentiate(*data)
        values = mean_over_replicas(values)
        values["gradient_norm"] = tf.linalg.global_norm(plain)
        finite = tf.math.is_finite(values["loss"])
        # Infinite gradients are how a loss scale that is too large shows; the scaling optimizer sees to them itself.
        if not isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            finite &= tf.math.is_finite(values["gradient_norm"])
        values["skipped"] = 1.0 - tf.cast(finite, tf.float32)
        # Keras 3 notices the end of a dataset of unknown length inside of this very graph; what does not wait for the
        # data, such as the means' counters, would be counted once too often.
        with tf.control_dependencies([values["loss"]]):
            # Once for all replicas: within a replica no condition may hold what all of them do together.
            tf.distribute.get_replica_context().merge_call(self._apply_or_skip, args=(finite, for_optimizer))
            self._update_means(values, finite)
        # The batch's own values, not running means, so that a callback can record the loss of every iteration. `fit`
        # puts the means in their place at the end of an epoch, because the keys are those of `metrics`.
        return values

    def _differentiate(self, blurry, sharp) -> tuple:
        """This replica's values; and of the whole batch all gradients, and those that `_apply` takes."""
        with tf.GradientTape() as tape:
            restored = run_network(self.network, blurry, training=True)
            values = self._measure(sharp, restored)
            plain, for_optimizer = gradients(tape, values["loss"], self.network.trainable_variables, self.optimizer)
        return values, plain, for_optimizer

    def test_step(self, data):
        """Measures one batch of whole images; returns the means so far.

        A third element of `data`, 1 or 0, tells whether this replica's images count.
        """
        blurry, sharp, *counts = data
        count = tf.cast(counts[0], tf.float32) if counts else 1.0
        values = self._measure(sharp, run_network(self.shipped, blurry, training=False))
        values, count = mean_over_replicas(({name: value * count for name, value in values.items()}, count))
        values = {name: value / count for name, value in values.items()}
        with tf.control_dependencies([values["loss"]]):
            self._update_means(values, weight=count)
        return {name: self._means[name].result() for name in values}

    def _apply_or_skip(self, strategy, finite, gradients) -> None:
        tf.cond(
            strategy.experimental_local_results(finite)[0],
            lambda: self._apply(strategy, gradients),
            lambda: self._set_step(self.optimizer.iterations + 1),
        )

    def _apply(self, strategy, gradients) -> None:
        step = tf.identity(self.optimizer.iterations) + 1
        strategy.run(
            lambda own: apply_gradients(self.optimizer, own, self.network.trainable_variables), args=(gradients,)
        )
        if self._ema:
            # Little is kept at first, or the random start would stay in the average for long.
            early = tf.cast(1 + step, tf.float32) / tf.cast(10 + step, tf.float32)
            self._ship(tf.minimum(self._ema, early))
        # A scaled loss that overflowed is a step, too, for the data goes on: the optimizer alone would not count it.
        self._set_step(step)

    def _set_step(self, step) -> None:
        self.optimizer.iterations.assign(step)

    def _ship(self, kept) -> None:
        for shipped, weight in zip(self.shipped.trainable_variables, self.network.trainable_variables):
            shipped.assign(kept * shipped + (1 - kept) * weight)

    def update_shipped(self) -> None:
        """Gives the shipped network the weights as they are, unless it is their moving average."""
        if self.shipped is not self.network and not self._ema:
            self.shipped.set_weights(self.network.get_weights())

    def _update_means(self, values: dict, finite=True, weight=1.0) -> None:
        for name, value in values.items():
            counts = tf.logical_or(finite, name == "skipped")
            if name == "gradient_norm":  # a loss scale that is too large makes infinite ones of a finite loss
                counts &= tf.math.is_finite(value)
            value = tf.where(counts, value, tf.zeros_like(value))
            self._means[name].update_state(value, weight * tf.cast(counts, tf.float32))
