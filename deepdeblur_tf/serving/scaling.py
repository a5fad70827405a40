"""A restoration inside a graph, as `Restorer` does it: its scale chosen and applied, and grey kept grey."""

from __future__ import annotations

import functools
from collections.abc import Callable

from deepdeblur_tf.compat import tf
from deepdeblur_tf.images.grey import LUMA_WEIGHTS
from deepdeblur_tf.model import to_network, to_uint8
from deepdeblur_tf.pyramid import enlarged, shrunk
from deepdeblur_tf.restoration.scale import AHEAD, CELL, CROPS, LEAST_CHANGE, MARGIN, SCALES, SIDE

_FACTORS = [round(1 / scale) for scale in SCALES]


def restored_at(images, number, network: Callable) -> tf.Tensor:
    """Pictures restored at a scale, as `Restorer` does it.

    Args:
        images: uint8 [N, H, W, 3].
        number: int32 scalar. The scale's in `SCALES`.
        network: From uint8 [N, H, W, 3] to float32 of the same shape, in [-0.5, 0.5] but not clipped.

    Returns:
        uint8 of the same shape.
    """
    height, width = tf.unstack(tf.shape(images)[1:3])
    small = _by_number(number, lambda factor: images if factor == 1 else shrunk(images, factor))
    restored = network(small)  # once in the graph, whose optimisation takes long enough

    def added(factor):
        if factor == 1:
            return to_uint8(restored)
        change = tf.clip_by_value(restored, -0.5, 0.5) - to_network(small)
        values = tf.cast(images, tf.float32) + 255 * enlarged(change, factor, height, width)
        return tf.cast(tf.clip_by_value(tf.round(values), 0.0, 255.0), tf.uint8)

    return grey_as(images, _by_number(number, added))


def grey_as(images, restored) -> tf.Tensor:
    """Restored pictures; those of pictures without colours without colours, as `Restorer` has them.

    Args:
        images: uint8 [N, H, W, 3], as they were.
        restored: uint8 of the same shape.
    """
    values, results = tf.cast(images, tf.float32), tf.cast(restored, tf.float32)
    colour = tf.reduce_max(tf.abs(values[..., 1:] - values[..., :1]), axis=(1, 2, 3), keepdims=True)
    luma = tf.floor((tf.reduce_sum(results * LUMA_WEIGHTS, axis=3, keepdims=True) + 2**15) / 2**16)
    # By arithmetic, for TFLite has no choice between sizes that it does not know.
    return tf.cast(results + (1 - tf.minimum(colour, 1.0)) * (luma - results), tf.uint8)


def _by_number(number, make: Callable) -> tf.Tensor:
    """What `make` makes of the factor of the scale with a number: tensor [N, H, W, 3]."""
    made = tf.switch_case(number, [functools.partial(make, factor) for factor in _FACTORS])
    return tf.ensure_shape(made, [None, None, None, 3])


def best_scale(image, network: Callable) -> tf.Tensor:
    """The number in `SCALES` of the scale that `restoration.scale.best_scale` finds.

    Args:
        image: uint8 [H, W, 3].
        network: As `restored_at` has it.
    """
    sides = [SIDE * factor for factor in _FACTORS]  # of the crops
    shorter = tf.reduce_min(tf.shape(image)[:2])

    def tried():
        edges = _edges(image)
        crops = []
        for factor, side in zip(_FACTORS, sides):
            crops.append(
                tf.cond(
                    shorter >= side,
                    functools.partial(_crops, image, edges, factor),
                    lambda: tf.zeros((0, SIDE, SIDE, 3), tf.uint8),
                )
            )
        restored = tf.split(network(tf.concat(crops, 0)), [tf.shape(each)[0] for each in crops], num=len(crops))
        changes = [tf.where(shorter >= side, _change(*pair), 0.0) for side, pair in zip(sides, zip(crops, restored))]
        best, most = tf.constant(0), changes[0]
        for number, change in enumerate(changes[1:], 1):
            best = tf.where(change > tf.maximum(LEAST_CHANGE, AHEAD * most), number, best)
            most = tf.maximum(most, change)
        return best

    return tf.cond(shorter >= sides[1], tried, lambda: tf.constant(0))


def _edges(image):
    """Squares of how steep the picture is, in cells of a thumbnail: int64 [H / 8, W / 8]."""
    height, width = (length // CELL for length in tf.unstack(tf.shape(image)[:2]))
    rgb = tf.cast(image[: height * CELL, : width * CELL], tf.int32)
    luma = (tf.reduce_sum(rgb * LUMA_WEIGHTS, axis=2) + 2**15) // 2**16  # as Pillow's "L"
    cells = tf.reshape(luma, [height, CELL, width, CELL])
    thumbnail = tf.cast((tf.reduce_sum(cells, axis=(1, 3)) + CELL**2 // 2) // CELL**2, tf.int64)
    down, right = thumbnail[1:] - thumbnail[:-1], thumbnail[:, 1:] - thumbnail[:, :-1]
    return tf.pad(down**2, [[0, 1], [0, 0]]) + tf.pad(right**2, [[0, 0], [0, 1]])


def _crops(image, edges, factor: int):
    """The squares of a picture with the steepest edges, none over another, shrunk: uint8 [N, 160, 160, 3]."""
    side = SIDE * factor
    cells = side // CELL
    sums = tf.cumsum(tf.cumsum(tf.pad(edges, [[1, 0], [1, 0]]), axis=0), axis=1)
    energy = sums[cells:, cells:] - sums[:-cells, cells:] - sums[cells:, :-cells] + sums[:-cells, :-cells]
    rows, columns = tf.range(tf.shape(energy)[0]), tf.range(tf.shape(energy)[1])
    crops, is_free = [], []
    for _ in range(CROPS):
        place = tf.argmax(tf.reshape(energy, [-1]), output_type=tf.int32)
        row, column = place // tf.shape(energy)[1], place % tf.shape(energy)[1]
        is_free.append(energy[row, column] >= 0)
        top, left = row * CELL, column * CELL
        crops.append(image[top : top + side, left : left + side])
        over = tf.logical_and(tf.abs(rows - row)[:, None] < cells, tf.abs(columns - column) < cells)
        energy = tf.where(over, tf.constant(-1, tf.int64), energy)
    taken = tf.boolean_mask(tf.stack(crops), tf.stack(is_free))
    return tf.ensure_shape(taken if factor == 1 else shrunk(taken, factor), [None, SIDE, SIDE, 3])


def _change(crops, restored):
    """`restoration.scale.relative_change` in crops of a picture, without their borders."""
    inner, half = slice(MARGIN, SIDE - MARGIN), SIDE // 2 - MARGIN
    values, restored = tf.cast(crops, tf.float32)[:, inner, inner], 255 * (restored[:, inner, inner] + 0.5)
    cells = tf.reshape(values, [-1, half, 2, half, 2, 3])
    detail = tf.sqrt(tf.reduce_mean((cells - tf.reduce_mean(cells, axis=(2, 4), keepdims=True)) ** 2))
    return tf.sqrt(tf.reduce_mean((restored - values) ** 2)) / (detail + 0.1)
