"""Image quality as the report measured it: RGB, whole image, one number per image.

Every function takes two images or batches, [H, W, 3] or [N, H, W, 3], uint8 or float in [0, 1]. Floats are clipped and
rounded to 8 bits first, for that is what a saved picture holds. They are tensors in, tensors out, and run inside a
graph as well as on NumPy arrays.
"""

from __future__ import annotations

from deepdeblur_tf.compat import tf


def _eight_bit(image):
    """Values 0 to 255 as float64."""
    image = tf.convert_to_tensor(image)
    if image.dtype == tf.uint8:
        return tf.cast(image, tf.float64)
    if not image.dtype.is_floating:
        raise ValueError(f"metrics take uint8 or float images. Received: dtype {image.dtype.name}")
    return tf.round(tf.clip_by_value(tf.cast(image, tf.float64), 0.0, 1.0) * 255.0)


def psnr(a, b):
    """Peak signal-to-noise ratio, 10 log10(255^2 / MSE).

    Args:
        a: uint8 or float [0, 1], [H, W, 3] or [N, H, W, 3].
        b: The same shape.

    Returns:
        float64 in dB, scalar or [N]; infinite for equal images.

    Raises:
        ValueError: for another dtype.
    """
    error = tf.reduce_mean(tf.square(_eight_bit(a) - _eight_bit(b)), axis=[-3, -2, -1])
    return 10.0 * tf.math.log(255.0**2 / error) / tf.math.log(tf.constant(10.0, tf.float64))
