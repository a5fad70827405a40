"""What else is varied in training patches, beside the report's crops and flips."""

from __future__ import annotations

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Augmentation


def augmented(pair, augmentation: Augmentation, seed):
    """A pair, varied.

    Args:
        pair: uint8 [H, H, 6].
        augmentation: What is varied.
        seed: int64 [2]. What is drawn is a function of it.

    Returns:
        uint8 [H, H, 6]; where the values are no longer whole, float32 in [0, 255].
    """
    turn_seed, colour_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    if augmentation.turns:
        quarters = tf.random.stateless_uniform([], turn_seed, 0, 4, tf.int32)
        pair = tf.ensure_shape(tf.image.rot90(pair, quarters), pair.shape)
    if augmentation.colours:
        # Gains alone: they are the same before and after an average, but for what they clip.
        gains = tf.random.stateless_uniform([4], colour_seed, [0.7, 0.9, 0.9, 0.9], [1.1, 1.1, 1.1, 1.1])
        values = tf.cast(pair, tf.float32) * tf.tile(gains[0] * gains[1:], [2])
        pair = tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)
    return _as_the_authors(pair, augmentation, tf.random.experimental.stateless_fold_in(seed, 1))


def _as_the_authors(pair, augmentation: Augmentation, seed):
    """The augmentations of the authors' code, in its order (DeepDeblur_release, DeepDeblur-PyTorch)."""
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6))
    if augmentation.sharp_input:
        blurry, sharp = tf.split(pair, 2, axis=2)
        chosen = tf.random.stateless_uniform([], seeds[0]) < augmentation.sharp_input
        pair = tf.concat([tf.where(chosen, sharp, blurry), sharp], axis=2)
    if augmentation.channel_order:
        order = tf.argsort(tf.random.stateless_uniform([3], seeds[1]))
        pair = tf.gather(pair, tf.concat([order, 3 + order], axis=0), axis=2)
    if augmentation.saturation:
        chosen = tf.random.stateless_uniform([], seeds[2]) < augmentation.saturation
        factor = tf.where(chosen, tf.random.stateless_uniform([], seeds[3], 0.5, 1.5), 1.0)
        pair = tf.concat([_saturated(image, factor) for image in tf.split(pair, 2, axis=2)], axis=2)
    if augmentation.noise:
        blurry, sharp = tf.split(tf.cast(pair, tf.float32), 2, axis=2)
        deviation = augmentation.noise * tf.random.stateless_normal([], seeds[4])
        noise = deviation * tf.random.stateless_normal(tf.shape(blurry), seeds[5])
        pair = tf.concat([tf.clip_by_value(blurry + noise, 0.0, 255.0), sharp], axis=2)
    return pair


def _saturated(image, factor):
    """[H, W, 3] of 0 to 255 with its saturation in HSV multiplied; float32, clipped as in the PyTorch code."""
    # Hue and value stay, so in RGB every channel's distance from the largest one, the value, is multiplied.
    image = tf.cast(image, tf.float32)
    value = tf.reduce_max(image, axis=2, keepdims=True)
    return tf.clip_by_value(value + factor * (image - value), 0.0, 255.0)
