"""The multi-scale content loss (Nah et al., equation 5 without its 1 / 2K; report, section 3), and the adversarial one.

Another kind of error is a function here, named in `ERRORS`: the setting `training.loss` takes it. So that settings need
no TensorFlow, it is imported within the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable


def mse(difference):
    """The squared error, the paper's and the report's."""
    return difference * difference


def charbonnier(difference):
    """Charbonnier's, sqrt(difference^2 + 0.001^2) (Lai et al., LapSRN, CVPR 2017)."""
    from deepdeblur_tf.compat import tf

    return tf.sqrt(tf.square(difference) + 1e-3**2)


def log_mse(difference):
    """log(1 + m / 0.001) of each image's mean squared error m, float32 [N]: in nats, 0 for what is exact.

    So images count by how many dB they gain, while the squared error leaves most to those that are worst. Above 30 dB,
    where m is less than 0.001, an image counts as with the squared error, or those that are sharp would count the most.
    """
    from deepdeblur_tf.compat import tf

    return tf.math.log1p(tf.reduce_mean(tf.square(difference), axis=(1, 2, 3)) / 1e-3)


# From differences, float32 [N, H, W, 3] in [-1, 1], to what is averaged.
ERRORS: dict[str, Callable] = {"mse": mse, "l1": abs, "charbonnier": charbonnier, "log_mse": log_mse}


def multiscale_loss(sharp, restored, kind: str | Callable = "mse") -> list:
    """The mean error of each level; their sum is the loss.

    With squared errors, L = sum over levels k of 1 / (3 w_k h_k) ||L_k - S_k||^2, averaged over the batch.

    Args:
        sharp: tuple of tensors [N, H, W, 3], finest first, in [-0.5, 0.5].
        restored: tuple of as many tensors. One that exceeds its sharp partner (an image continued by mirroring to a
            multiple of 4) is cut to its size at the right and at the bottom.
        kind: A name in `ERRORS`, or such a function. Defaults to "mse", the paper's and the report's.

    Returns:
        list of float32 scalars, one a level, finest first.
    """
    from deepdeblur_tf.compat import tf

    error, losses = kind if callable(kind) else ERRORS[kind], []
    for sharp_level, restored_level in zip(sharp, restored):
        size = tf.shape(sharp_level)
        difference = tf.cast(restored_level[:, : size[1], : size[2]], tf.float32) - sharp_level
        losses.append(tf.reduce_mean(error(difference)))
    return losses


def judgement_loss(logits, sharp: bool):
    """The mean binary cross entropy of a discriminator's judgements, in bits: 1 for one that guesses.

    Args:
        logits: float32 tensor. What the sigmoid makes the probability of "sharp" of.
        sharp: What the judgements should be.

    Returns:
        float32 scalar.

    Source: Nah et al., equation 6; in bits as in the authors' Torch code.
    """
    from deepdeblur_tf.compat import tf

    return tf.reduce_mean(tf.nn.softplus(-logits if sharp else logits)) / math.log(2)
