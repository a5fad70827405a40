"""The multi-scale content loss (Nah et al., equation 5 without its 1/2; report, section 3)."""

from __future__ import annotations

from deepdeblur_tf.compat import tf


def multiscale_loss(sharp, restored) -> list:
    """The mean squared error of each level; their sum is the loss.

    L = sum over levels k of 1 / (3 w_k h_k) ||L_k - S_k||^2, averaged over the batch.

    Args:
        sharp: tuple of tensors [N, H, W, 3], finest first, in [-0.5, 0.5].
        restored: tuple of as many tensors. One that exceeds its sharp partner (an image continued by mirroring to a
            multiple of 4) is cut to its size at the right and at the bottom.

    Returns:
        list of float32 scalars, one a level, finest first.
    """
    losses = []
    for sharp_level, restored_level in zip(sharp, restored):
        size = tf.shape(sharp_level)
        difference = tf.cast(restored_level[:, : size[1], : size[2]], tf.float32) - sharp_level
        losses.append(tf.reduce_mean(tf.square(difference)))
    return losses
