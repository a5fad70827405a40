"""MATLAB's `imresize(..., 'bicubic')` in NumPy.

Why not `tf.image.resize`: its bicubic kernel and its antialiasing differ from MATLAB's, and the data of the field
(GOPRO's pyramids, the published figures) were made with MATLAB (report, section 3).

Four facts make the result equal to MATLAB's:
  - the kernel is Keys's cubic with a = -0.5, stretched by 1/scale when it shrinks with antialiasing;
  - beyond the border the image is mirrored with its edge pixel repeated;
  - the two axes are resized one after the other, the one with the smaller scale first, rows first on a tie;
  - an integer image is rounded (half up) and saturated after EACH of the two passes, a floating-point image never.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import sparse


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys's cubic convolution kernel with a = -0.5, the kernel of MATLAB's 'bicubic'.

    Args:
        x: float array of any shape. Distances in pixels.

    Returns:
        float array of the same shape, zero where |x| >= 2.
    """
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def mirror(index: np.ndarray, size: int) -> np.ndarray:
    """Folds positions outside of [0, size) back into it, the edge pixel repeated, as often as it takes."""
    folded = index % (2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)


@functools.lru_cache(maxsize=64)
def _weights(in_size: int, out_size: int, scale: float, antialiasing: bool, of_bytes: bool) -> sparse.csr_matrix:
    """The resize along one axis as a sparse [out_size, in_size] matrix, float64, or float32 where that is exact."""
    stretch = min(scale, 1.0) if antialiasing else 1.0
    width = 4.0 / stretch
    # MATLAB counts from 1: the centre of output pixel u lies at u / scale + (1 - 1 / scale) / 2 of the input.
    centre = np.arange(1, out_size + 1) / scale + 0.5 * (1 - 1 / scale)
    taps = math.ceil(width) + 2
    index = np.floor(centre - width / 2)[:, None] + np.arange(taps)
    weight = stretch * cubic(stretch * (centre[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    column = mirror(index.astype(np.int64) - 1, in_size)
    row = np.repeat(np.arange(out_size), taps)
    matrix = sparse.coo_matrix((weight.ravel(), (row, column.ravel())), (out_size, in_size)).tocsr()
    matrix.eliminate_zeros()
    # For the pipeline's factors 2 and 4 every weight is a multiple of 2^-12; then float32 holds every sum of 8-bit
    # values exactly, in half the time.
    exact = of_bytes and np.all(matrix.data * 2**12 % 1 == 0)
    return matrix.astype(np.float32) if exact else matrix


def _resize_rows(matrix: sparse.csr_matrix, image: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Applies `matrix` along axis 0 of an [H, ...] array; the result has `dtype`."""
    result = matrix @ image.reshape(len(image), -1).astype(matrix.dtype)
    if dtype.kind == "u":
        result += 0.5
        np.clip(result, 0, np.iinfo(dtype).max, out=result)  # the conversion below then rounds down
    return result.astype(dtype).reshape(-1, *image.shape[1:])


def imresize(image, scale=None, output_shape=None, antialiasing=True) -> np.ndarray:
    """Resizes an image as MATLAB's `imresize(image, scale, 'bicubic')` does, pixel for pixel.

    Args:
        image: array, [H, W] or [H, W, C]. uint8 or uint16 (rounded and saturated after each pass), float32 or
            float64 (computed in float64, never clipped; any value range).
        scale: float above 0. The result is ceil(H * scale) x ceil(W * scale). Give either this or `output_shape`.
        output_shape: (height, width) in pixels. Each axis gets its own scale.
        antialiasing: bool. Whether the kernel widens when the image shrinks, as MATLAB does. Defaults to True.

    Returns:
        array of the same dtype, [height, width] or [height, width, C].

    Raises:
        ValueError: for another rank or dtype, an empty image, or a size that is not above 0.

    Source: report, section 3 and reference [1]; equal to MATLAB R2019b's outputs (tests/test_resizing.py).

    Example:
        >>> import numpy as np
        >>> import deepdeblur_tf
        >>> image = np.arange(64, dtype=np.float64).reshape(8, 8)
        >>> deepdeblur_tf.imresize(image, 1 / 4)  # as MATLAB's imresize(reshape(0:63, 8, 8)', 1 / 4)
        array([[12.38378906, 16.63183594],
               [46.36816406, 50.61621094]])
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(f"imresize takes a non-empty [H, W] or [H, W, C] array. Received: shape {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float32, np.float64):
        raise ValueError(f"imresize takes uint8, uint16, float32 or float64. Received: dtype {image.dtype}")
    if (scale is None) == (output_shape is None):
        raise ValueError(
            f"imresize takes either scale or output_shape. Received: scale={scale}, output_shape={output_shape}"
        )
    height, width = image.shape[:2]
    if scale is not None:
        if not 0 < scale < math.inf:
            raise ValueError(f"imresize takes a scale above 0. Received: scale={scale}")
        output_shape = math.ceil(height * scale), math.ceil(width * scale)
        scales = float(scale), float(scale)
    else:
        if len(output_shape) != 2 or any(size < 1 or size != int(size) for size in output_shape):
            raise ValueError(f"imresize takes an output_shape of two whole numbers above 0. Received: {output_shape}")
        output_shape = tuple(int(size) for size in output_shape)
        scales = output_shape[0] / height, output_shape[1] / width

    for axis in (0, 1) if scales[0] <= scales[1] else (1, 0):
        matrix = _weights(
            image.shape[axis], output_shape[axis], scales[axis], bool(antialiasing), image.dtype == np.uint8
        )
        # A sparse matrix works on the first axis alone, so the columns' pass turns the image and turns it back.
        image = _resize_rows(matrix, image.swapaxes(0, axis), image.dtype).swapaxes(0, axis)
    return np.ascontiguousarray(image)
