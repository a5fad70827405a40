"""Training with a discriminator beside the network (Nah et al., section 3 and Table 1; the authors' Torch code)."""

from __future__ import annotations

from deepdeblur_tf.compat import apply_gradients, gradients, tf
from deepdeblur_tf.losses import judgement_loss
from deepdeblur_tf.model import run_network
from deepdeblur_tf.training.trainer import Trainer

layers = tf.keras.layers


def build_discriminator(filters: int = 64, kernel_size: int = 5) -> tf.keras.Model:
    """Builds the network that tells restored images from sharp ones, as the authors' code does.

    Ten convolutions without biases, each followed by a leaky ReLU of slope 0.2, make one vector of every 256x256
    pixels, and a last one makes one number of that.

    Args:
        filters: int. Channels of the network that is judged, even; the convolutions have half of them to eight
            times as many. Defaults to 64.
        kernel_size: int. Side of the kernels, odd; the last one's is 4. Defaults to 5.

    Returns:
        Keras model from images, float32 [N, H, W, 3] in [-0.5, 0.5], H and W at least 256, to float32 [N, 1, 1, 1], or
        to several numbers of larger images. The sigmoid makes the probability of "sharp" of each.
    """
    image = layers.Input((None, None, 3), name="image")
    x = layers.Rescaling(1.0, 0.5, name="from_0_to_1")(image)
    strides = (1, 2, 1, 2, 1, 4, 1, 4, 1)
    for number, stride in enumerate(strides, 1):
        # Not "same": TensorFlow's would pad a strided convolution less on the left than on the right.
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"pad_{number}")(x)
        channels = filters // 2 * 2 ** ((number - 1) // 2)
        x = layers.Conv2D(channels, kernel_size, stride, use_bias=False, name=f"conv_{number}")(x)
        x = layers.LeakyReLU(0.2, name=f"relu_{number}")(x)
    x = layers.Conv2D(8 * filters, 4, 4, use_bias=False, name="conv_10")(x)
    x = layers.LeakyReLU(0.2, name="relu_10")(x)
    logits = layers.Conv2D(1, 1, name="judgement", dtype="float32")(x)  # also under mixed precision
    return tf.keras.Model(image, logits, name="discriminator")


class AdversarialTrainer(Trainer):
    """Trains a network with the multi-scale loss and, with a small weight, to be taken for sharp by a discriminator.

    As in the authors' Torch code, both networks step at once, on gradients from before either step, and the
    discriminator's loss is multiplied by the weight as well (Adam divides it out again, but for its epsilon).

    Logs what `Trainer` does, and in training adversarial (how far restored patches are from being taken for sharp ones)
    and discriminator (how far it is from telling both), binary cross entropies in bits: 1 and 2 for one that guesses.
    gradient_norm is that of both networks' gradients.

    Args:
        discriminator: A network of `build_discriminator`.
        weight: float. The adversarial loss's.
        network, shipped, loss, ema: As `Trainer` has them.
    """

    def __init__(self, discriminator: tf.keras.Model, weight: float, network: tf.keras.Model, *args, **kwargs):
        super().__init__(network, *args, **kwargs)
        self.discriminator, self._weight = discriminator, weight
        self._means.update({name: tf.keras.metrics.Mean(name=name) for name in ("adversarial", "discriminator")})

    def compile(self, optimizer, discriminator_optimizer, **kwargs):
        """As `Trainer.compile`, with an optimizer for each network."""
        super().compile(optimizer, **kwargs)
        self.discriminator_optimizer = discriminator_optimizer
        self.discriminator_optimizer.build(self.discriminator.trainable_variables)

    @property
    def checkpointed(self) -> dict:
        both = {"discriminator": self.discriminator, "discriminator_optimizer": self.discriminator_optimizer}
        return {**super().checkpointed, **both}

    def _differentiate(self, blurry, sharp) -> tuple:
        with tf.GradientTape() as tape, tf.GradientTape() as other:
            restored = run_network(self.network, blurry, training=True)
            values = self._measure(sharp, restored)
            judged = self.discriminator(restored[0], training=True)
            values["adversarial"] = judgement_loss(judged, sharp=True)
            values["discriminator"] = judgement_loss(judged, sharp=False) + judgement_loss(
                self.discriminator(sharp[0], training=True), sharp=True
            )
            loss = values["loss"] + self._weight * values["adversarial"]
            own, for_own = gradients(tape, loss, self.network.trainable_variables, self.optimizer)
            others, for_other = gradients(
                other,
                self._weight * values["discriminator"],
                self.discriminator.trainable_variables,
                self.discriminator_optimizer,
            )
        return values, [*own, *others], (for_own, for_other)

    def _apply(self, strategy, gradients) -> None:
        own, others = gradients
        strategy.run(
            lambda own: apply_gradients(self.discriminator_optimizer, own, self.discriminator.trainable_variables),
            args=(others,),
        )
        super()._apply(strategy, own)

    def _set_step(self, step) -> None:
        super()._set_step(step)
        self.discriminator_optimizer.iterations.assign(step)
