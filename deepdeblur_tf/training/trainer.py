"""The custom training step: `Trainer` wraps the network and is trained with `fit`."""

from __future__ import annotations

from deepdeblur_tf.compat import gradients, tf
from deepdeblur_tf.data.numpy_call import original_errors
from deepdeblur_tf.losses import multiscale_loss
from deepdeblur_tf.metrics import psnr
from deepdeblur_tf.model import run_network


class Trainer(tf.keras.Model):
    """Trains a network of `build_model` with the multi-scale loss.

        trainer = Trainer(build_model())
        trainer.compile(make_optimizer(experiment.training, steps_per_epoch))
        trainer.fit(train, epochs=epochs, steps_per_epoch=steps_per_epoch, validation_data=validation)
        trainer.network.save("model.keras")

    Logs: loss (the sum over levels), loss_1 (finest) to loss_3, psnr (dB, of the finest level, 8 bits), and in
    training gradient_norm (the Euclidean norm of all gradients before clipping) and skipped (1 for a batch whose loss
    or gradients are NaN or infinite: it counts as a step, but changes neither weights nor means).

    Args:
        network: The network; it alone is what is saved and used afterwards.
    """

    def __init__(self, network: tf.keras.Model, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        names = [
            "loss",
            *(f"loss_{level + 1}" for level in range(len(network.inputs))),
            "psnr",
            "gradient_norm",
            "skipped",
        ]
        self._means = {name: tf.keras.metrics.Mean(name=name) for name in names}

    def compile(self, optimizer="adam", **kwargs):
        """As `keras.Model.compile`; the loss and the metrics are the trainer's own. XLA is off unless asked for."""
        super().compile(optimizer=optimizer, **{"jit_compile": False, **kwargs})
        self.optimizer.build(self.network.trainable_variables)  # within a step's condition it could not be

    def fit(self, *args, **kwargs):
        """As `keras.Model.fit`. Data of `make_datasets` that cannot be read raise ImageError or PairsError."""
        with original_errors():
            return super().fit(*args, **kwargs)

    @property
    def steps_done(self) -> int:
        """Training steps, over all epochs and processes."""
        return int(self.optimizer.iterations)

    @property
    def metrics(self) -> list:
        return list(self._means.values())

    def call(self, blurry, training=None):
        """The network's levels for blurry ones; see `build_model`."""
        return self.network(blurry, training=training)

    def _measure(self, sharp, restored) -> dict:
        losses = multiscale_loss(sharp, restored)
        size = tf.shape(sharp[0])
        finest = tf.cast(restored[0][:, : size[1], : size[2]], tf.float32)
        values = {"loss": tf.add_n(losses)}
        values.update({f"loss_{level}": loss for level, loss in enumerate(losses, 1)})
        values["psnr"] = tf.reduce_mean(psnr(finest + 0.5, sharp[0] + 0.5))
        return values

    def train_step(self, data):
        """One step on (blurry, sharp); returns this batch's values, whose means `fit` reports for the epoch."""
        blurry, sharp = data
        with tf.GradientTape() as tape:
            restored = run_network(self.network, blurry, training=True)
            values = self._measure(sharp, restored)
            plain, for_optimizer = gradients(tape, values["loss"], self.network.trainable_variables, self.optimizer)
        values["gradient_norm"] = tf.linalg.global_norm(plain)
        finite = tf.math.is_finite(values["loss"])
        # Infinite gradients are how a loss scale that is too large shows; the scaling optimizer sees to them itself.
        if not isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer):
            finite &= tf.math.is_finite(values["gradient_norm"])
        values["skipped"] = 1.0 - tf.cast(finite, tf.float32)
        # Keras 3 notices the end of a dataset of unknown length inside of this very graph; what does not wait for the
        # data, such as the means' counters, would be counted once too often.
        with tf.control_dependencies([values["loss"]]):
            tf.cond(finite, lambda: self._apply(for_optimizer), lambda: self.optimizer.iterations.assign_add(1))
            self._update_means(values, finite)
        # The batch's own values, not running means, so that a callback can record the loss of every iteration. `fit`
        # puts the means in their place at the end of an epoch, because the keys are those of `metrics`.
        return values

    def test_step(self, data):
        """Measures one batch of whole images; returns the means so far."""
        blurry, sharp = data
        values = self._measure(sharp, run_network(self.network, blurry, training=False))
        with tf.control_dependencies([values["loss"]]):
            self._update_means(values)
        return {name: self._means[name].result() for name in values}

    def _apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.network.trainable_variables))
        return tf.convert_to_tensor(self.optimizer.iterations)

    def _update_means(self, values: dict, finite=True) -> None:
        for name, value in values.items():
            counts = tf.logical_or(finite, name == "skipped")
            self._means[name].update_state(tf.where(counts, value, tf.zeros_like(value)), tf.cast(counts, tf.float32))
