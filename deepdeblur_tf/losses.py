"""The multi-scale content loss (Nah et al., equation 5 without its 1/2; report, section 3), and the adversarial one."""

from __future__ import annotations

import math

from deepdeblur_tf.compat import tf

_ERRORS = {
    "mse": tf.square,
    "l1": tf.abs,
    "charbonnier": lambda difference: tf.sqrt(tf.square(difference) + 1e-3**2),  # Lai et al., LapSRN, CVPR 2017
}


def multiscale_loss(sharp, restored, kind: str = "mse") -> list:
    """The mean error of each level; their sum is the loss.

    With squared errors, L = sum over levels k of 1 / (3 w_k h_k) ||L_k - S_k||^2, averaged over the batch.

    Args:
        sharp: tuple of tensors [N, H, W, 3], finest first, in [-0.5, 0.5].
        restored: tuple of as many tensors. One that exceeds its sharp partner (an image continued by mirroring to a
            multiple of 4) is cut to its size at the right and at the bottom.
        kind: "mse", "l1" or "charbonnier". Defaults to "mse", the paper's and the report's.

    Returns:
        list of float32 scalars, one a level, finest first.
    """
    losses = []
    for sharp_level, restored_level in zip(sharp, restored):
        size = tf.shape(sharp_level)
        difference = tf.cast(restored_level[:, : size[1], : size[2]], tf.float32) - sharp_level
        losses.append(tf.reduce_mean(_ERRORS[kind](difference)))
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
    return tf.reduce_mean(tf.nn.softplus(-logits if sharp else logits)) / math.log(2)
