"""The pyramid inside a TensorFlow graph, bit-identical to MATLAB's `imresize` on uint8 for the factors 2 and 4.

Training resizes its patches with the NumPy `imresize` in `tf.numpy_function`, as the report did. Whole images and
exported graphs cannot call Python, so they use this.
"""

from __future__ import annotations

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.resizing import cubic


def _taps(factor: int) -> np.ndarray:
    """The weights of a shrink by `factor`: 4 * factor values, symmetric, each a dyadic rational."""
    return cubic((np.arange(4 * factor) + 0.5) / factor - 2) / factor


def mirror_pad(image, before: int, after, axis: int):
    """Continues an image beyond its border by mirroring it, the edge pixel repeated, as often as it takes.

    `tf.pad(..., "SYMMETRIC")` does the same but refuses to pad by more than the image's size.

    Args:
        image: tensor of any shape and dtype.
        before: int. Pixels to add at the front of the axis.
        after: int or scalar int tensor. Pixels to add at its end.
        axis: int.

    Returns:
        tensor of the same dtype, larger along `axis`.
    """
    size = tf.shape(image)[axis]
    # Counted from whole periods before the image: converters to ONNX take the remainder of a negative number wrongly.
    folded = (tf.range(before + size + after) + (2 * size - 1) * before) % (2 * size)
    return tf.gather(image, tf.where(folded < size, folded, 2 * size - 1 - folded), axis=axis)


def _shrink(image, factor: int, axis: int):
    # Every product and sum is a multiple of 2^-12 below 2^12, so float32 is exact here in whatever order it sums.
    # A convolution would be shorter, but TF32 and bfloat16 units would round it.
    taps = _taps(factor)
    margin = 3 * factor // 2
    padded = mirror_pad(image, margin, margin, axis)
    length = tf.shape(image)[axis]
    result = 0.0
    for start, tap in enumerate(taps):
        here = [slice(None)] * len(image.shape)
        here[axis] = slice(start, start + length, factor)
        result += float(tap) * padded[tuple(here)]
    return tf.clip_by_value(tf.floor(result + 0.5), 0.0, 255.0)


def pyramid(image, levels: int) -> tuple:
    """The image and its halves and quarters, finest first: B1, imresize(B1, 1/2), imresize(B1, 1/4).

    Args:
        image: uint8 [N, H, W, 3]. Height and width are multiples of 2 ** (levels - 1).
        levels: int. 1 to 3.

    Returns:
        tuple of `levels` uint8 tensors, [N, H / 2^k, W / 2^k, 3].

    Source: report, Figure 3.2; both lower levels come straight from the finest.
    """
    values = tf.cast(image, tf.float32)
    coarser = (_shrink(_shrink(values, factor, axis=1), factor, axis=2) for factor in (2, 4)[: levels - 1])
    return (image, *(tf.cast(level, tf.uint8) for level in coarser))


def padded_pyramid(image, levels: int) -> tuple:
    """The pyramid of images of any size, continued at the right and at the bottom by mirroring.

    Args:
        image: uint8 [N, H, W, 3].
        levels: int. 1 to 3.

    Returns:
        tuple of `levels` uint8 tensors as `pyramid` gives them, H and W rounded up to multiples of 2 ** (levels - 1).
    """
    size = tf.shape(image)
    for axis in (1, 2):
        multiple = 2 ** (levels - 1)
        image = mirror_pad(image, 0, (multiple - size[axis] % multiple) % multiple, axis)
    return pyramid(image, levels)
