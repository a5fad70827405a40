"""What is measured of one image, and the means over many."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from deepdeblur_tf.compat import tf
from deepdeblur_tf.images.grey import is_grey, without_colours
from deepdeblur_tf.losses import multiscale_loss
from deepdeblur_tf.metrics import METRICS
from deepdeblur_tf.model import settings_of, to_levels, to_network, to_uint8
from deepdeblur_tf.restoration.restorer import Restorer

CONVENTION = {
    "images": "whole image, RGB, clipped and rounded to 8 bits; each measured alone, then averaged",
    **{name: metric.convention for name, metric in METRICS.items()},
    "seconds": "of the restoration, without reading and measuring",
    "tiles": "into which the image was cut where memory was short; 1 for an image restored whole",
}


def _quality(image: np.ndarray, sharp: np.ndarray) -> dict:
    return {
        name: float(metric.of(image, sharp)) if min(sharp.shape[:2]) >= metric.smallest else math.nan
        for name, metric in METRICS.items()
        if metric.of
    }


def measure(restorer: Restorer, pair: np.ndarray) -> tuple[dict, np.ndarray]:
    """Restores and measures one image.

    Args:
        restorer: The network with its options.
        pair: uint8 [H, W, 6], the blurry image's RGB, then the sharp one's.

    Returns:
        (the columns of metrics.csv but the name; NaN for what the image is too small for, and for the loss at another
         scale than 1, at which there are no levels to compare,
         the restored image, uint8 [H, W, 3]).
    """
    blurry, sharp = np.split(pair, 2, axis=2)
    begin = time.perf_counter()
    scale = restorer.scale_of(blurry)
    if scale == 1:
        levels = restorer.levels(blurry)
        restored = to_uint8(levels[0]).numpy()[: sharp.shape[0], : sharp.shape[1]]
        restored = without_colours(restored) if is_grey(blurry) else restored  # as `restorer` does
    else:
        levels, restored = None, restorer(blurry, scale=scale)
    seconds = time.perf_counter() - begin

    # As in the validation during training: the finest level is measured at its own size.
    settings = settings_of(restorer.model)
    blurry_levels, sharp_levels = (
        to_levels(image[None], settings.levels, settings.pyramid) for image in (blurry, sharp)
    )
    sharp_levels = (to_network(sharp[None]), *sharp_levels[1:])

    def loss(of_levels):
        return float(tf.add_n(multiscale_loss(sharp_levels, of_levels)))

    own_loss = loss([level[None] for level in levels]) if levels else math.nan
    row = _row(restored, pair, own_loss, loss(blurry_levels))
    return {**row, "seconds": seconds, "tiles": restorer.tiles}, restored


def measure_finished(restored: np.ndarray, pair: np.ndarray) -> dict:
    """`measure`'s columns for uint8 [H, W, 3] that another program restored; NaN for what belongs to a network."""
    return {**_row(restored, pair, math.nan, math.nan), "seconds": math.nan, "tiles": math.nan}


def _row(restored: np.ndarray, pair: np.ndarray, loss: float, blurry_loss: float) -> dict:
    blurry, sharp = np.split(pair, 2, axis=2)
    before = {"loss": blurry_loss, **_quality(blurry, sharp)}
    return {"loss": loss, **_quality(restored, sharp), **{f"blurry_{key}": value for key, value in before.items()}}


def means(rows: Sequence[dict]) -> dict:
    """The means over images: {"images": n, "restored": {...}, "blurry": {...}, "seconds": ...}.

    A metric that an image is too small for is averaged over the others. There is no mean loss where an image has none:
    those that were restored at scale 1 are others than those that were not.
    """

    def mean(key):
        values = [row[key] for row in rows if not math.isnan(row[key])]
        is_whole = len(values) == len(rows) or not key.endswith("loss")
        return float(np.mean(values)) if values and is_whole else math.nan

    return {
        "images": len(rows),
        "restored": {name: mean(name) for name in METRICS},
        "blurry": {name: mean(f"blurry_{name}") for name in METRICS},
        "seconds": mean("seconds"),
    }
