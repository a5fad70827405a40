"""The pyramid inside a TensorFlow graph: bit-identical to MATLAB's `imresize` on uint8, or scikit-image's Gaussian one.

Training resizes its patches with the NumPy `imresize` in `tf.numpy_function`, as the report did. Whole images and
exported graphs cannot call Python, so they use this, and so does the Gaussian pyramid everywhere.
"""

from __future__ import annotations

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.resizing import cubic

# The kinds of pyramid, each with how it continues an image whose sides are no multiples, in the words of `np.pad`.
PADDING = {"matlab_bicubic": "symmetric", "gaussian": "edge"}


def _bicubic_taps(factor: int) -> np.ndarray:
    """The weights of MATLAB's shrink by `factor`: 4 * factor values, symmetric, each a dyadic rational."""
    return cubic((np.arange(4 * factor) + 0.5) / factor - 2) / factor


def _gaussian_taps() -> np.ndarray:
    """The weights of a Gaussian's seven pixels and of the mean of two neighbours, in one: 8 values, symmetric."""
    gaussian = np.exp(-0.5 * (np.arange(-3, 4) / (2 / 3)) ** 2)
    return np.convolve(gaussian / gaussian.sum(), [0.5, 0.5])


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


def _shrink(image, taps: np.ndarray, factor: int, axis: int):
    # A convolution would be shorter, but TF32 and bfloat16 units would round it.
    margin = (len(taps) - factor) // 2
    padded = mirror_pad(image, margin, margin, axis)
    length = tf.shape(image)[axis]
    result = 0.0
    for start, tap in enumerate(taps):
        here = [slice(None)] * len(image.shape)
        here[axis] = slice(start, start + length, factor)
        result += float(tap) * padded[tuple(here)]
    return result


def _matlab_bicubic(image, factor: int):
    # Every product and sum is a multiple of 2^-12 below 2^12, so float32 is exact here in whatever order it sums.
    values, taps = tf.cast(image, tf.float32), _bicubic_taps(factor)
    for axis in (1, 2):
        values = tf.clip_by_value(tf.floor(_shrink(values, taps, factor, axis) + 0.5), 0.0, 255.0)
    return tf.cast(values, tf.uint8)


def shrunk(image, factor: int):
    """Images of any size shrunk as MATLAB's `imresize(image, 1 / factor)` does, pixel for pixel.

    Args:
        image: uint8 [N, H, W, 3].
        factor: int. 2, 4 or 8.

    Returns:
        uint8, each side divided and rounded up.
    """
    # In float64, which no unit rounds, and exactly: every product and sum is a multiple of 2^-16 below 2^12.
    values, taps = tf.transpose(tf.cast(image, tf.float64), [0, 3, 1, 2]), _bicubic_taps(factor)
    margin = (len(taps) - factor) // 2
    for axis in (2, 3):
        padded = mirror_pad(values, margin, margin + factor - 1, axis)  # the last cell may reach beyond the image
        size = tf.shape(padded)
        shape, strides = ([-1, 1], [factor, 1]) if axis == 2 else ([1, -1], [1, factor])
        kernel = tf.reshape(tf.constant(taps, tf.float64), [*shape, 1, 1])
        summed = tf.nn.conv2d(tf.reshape(padded, [-1, size[2], size[3], 1]), kernel, strides, "VALID")
        summed = tf.reshape(summed, tf.concat([size[:2], tf.shape(summed)[1:3]], 0))
        values = tf.clip_by_value(tf.floor(summed + 0.5), 0, 255)
    return tf.cast(tf.transpose(values, [0, 2, 3, 1]), tf.uint8)


def enlarged(image, factor: int, height, width):
    """Images enlarged as MATLAB's `imresize(image, factor)` does, and cut off on the right and at the bottom.

    Args:
        image: float32 [N, h, w, C].
        factor: int. 2, 4 or 8.
        height: Scalar int tensor. Rows of the result, at most h * factor.
        width: The same for its columns.

    Returns:
        float32 [N, height, width, C].
    """
    centres = (np.arange(factor) + 0.5) / factor - 0.5  # of the pixels that one becomes, in its own coordinates
    for axis, length in ((1, height), (2, width)):
        size = tf.shape(image)[axis]
        padded = mirror_pad(tf.cast(image, tf.float64), 2, 2, axis)  # as NumPy's version sums
        neighbours = tf.stack([tf.gather(padded, tf.range(start, start + size), axis=axis) for start in range(5)], -1)
        weights = cubic(centres[:, None] - np.arange(-2, 3))  # [factor, 5]
        pixels = tf.experimental.numpy.moveaxis(tf.tensordot(neighbours, weights, [[4], [1]]), -1, axis + 1)
        shape = tf.tensor_scatter_nd_update(tf.shape(image), [[axis]], [size * factor])
        image = tf.reshape(tf.cast(pixels, tf.float32), shape)
        image = tf.gather(image, tf.range(length), axis=axis)
    return image


def _gaussian(image):
    values, taps = tf.cast(image, tf.float32), _gaussian_taps()
    for axis in (1, 2):
        values = _shrink(values, taps, 2, axis)
    return values


def pyramid(image, levels: int, kind: str = "matlab_bicubic") -> tuple:
    """The image and its halves and quarters, finest first.

    Args:
        image: uint8 [N, H, W, 3], or for "gaussian" float32 in [0, 255] too. Height and width are multiples of
            2 ** (levels - 1).
        levels: int. 1 to 3.
        kind: "matlab_bicubic": imresize(B1, 1/2) and imresize(B1, 1/4), both straight from the finest. "gaussian":
            scikit-image's `pyramid_gaussian` (sigma 2/3, cut off at 4 sigma, mirrored at the border; then the mean of
            2x2 pixels), each level from the one above, not rounded. Defaults to "matlab_bicubic".

    Returns:
        tuple of `levels` tensors, [N, H / 2^k, W / 2^k, 3]: the image itself, then uint8, or for "gaussian" float32 in
        [0, 255], equal to scikit-image's but for float32's rounding.

    Source: report, Figure 3.2; for "gaussian" DeepDeblur-PyTorch, by the paper's authors.
    """
    if kind == "gaussian":
        made = [image]
        for _ in range(levels - 1):
            made.append(_gaussian(made[-1]))
        return tuple(made)
    return (image, *(_matlab_bicubic(image, factor) for factor in (2, 4)[: levels - 1]))


def padded(image, levels: int, kind: str = "matlab_bicubic"):
    """Images [N, H, W, 3] of any dtype, continued at the right and at the bottom to multiples of 2 ** (levels - 1)."""
    size, multiple = tf.shape(image), 2 ** (levels - 1)
    for axis in (1, 2):
        after = (multiple - size[axis] % multiple) % multiple
        if PADDING[kind] == "edge":  # the last pixel is repeated
            image = tf.gather(image, tf.minimum(tf.range(size[axis] + after), size[axis] - 1), axis=axis)
        else:
            image = mirror_pad(image, 0, after, axis)
    return image


def padded_pyramid(image, levels: int, kind: str = "matlab_bicubic") -> tuple:
    """`pyramid` for images of any size, which are `padded`."""
    return pyramid(padded(image, levels, kind), levels, kind)
