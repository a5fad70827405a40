"""The learning rate and the optimizer of the report (section 3)."""

from __future__ import annotations

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Training


def learning_rate_schedule(training: Training, steps_per_epoch: int):
    """The piecewise-constant learning rate, counted in epochs and turned into steps.

    Args:
        training: The experiment's settings: learning_rate, decay.epochs, decay.factor.
        steps_per_epoch: int.

    Returns:
        Keras schedule from the step, counted from 0, to the rate: `learning_rate` in the first decay.epochs[0]
        epochs, then `factor` times less after each entry.
    """
    # PiecewiseConstantDecay keeps a value up to and including its boundary, so the boundary is an epoch's last step.
    boundaries = [epochs * steps_per_epoch - 1 for epochs in training.decay.epochs]
    values = [training.learning_rate * training.decay.factor**drops for drops in range(len(boundaries) + 1)]
    if not boundaries:  # Keras wants at least one
        boundaries, values = [0], 2 * values
    return tf.keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def make_optimizer(training: Training, steps_per_epoch: int) -> tf.keras.optimizers.Optimizer:
    """Adam with Keras's defaults, the report's learning rate, and gradients clipped by value to [-clip, clip].

    Keras clips inside the optimizer, after a mixed-precision loss scale is taken out of the gradients.

    Args:
        training: The experiment's settings: those of `learning_rate_schedule`, and clip.
        steps_per_epoch: int.

    Example:
        >>> import deepdeblur_tf
        >>> training = deepdeblur_tf.load_experiment("experiments/gopro_pixel_shuffle.yaml").training
        >>> optimizer = deepdeblur_tf.make_optimizer(training, steps_per_epoch=1051)
        >>> print(f"{float(optimizer.learning_rate):.0e}, clipped to {optimizer.clipvalue}")
        5e-05, clipped to 0.5
    """
    return tf.keras.optimizers.Adam(learning_rate_schedule(training, steps_per_epoch), clipvalue=training.clip)
