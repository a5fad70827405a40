"""How far a mean over images would move with other scenes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

FEWEST_SCENES = 5
RESAMPLES = 20_000


def scene_interval(values: Sequence[float], scenes: Sequence[str]) -> tuple[float, float] | None:
    """The 95 % interval of a mean over images, by resampling whole scenes (cluster bootstrap).

    The frames of one scene are much alike: as independent ones they would make the interval far too narrow. Scenes are
    drawn with replacement, each with all its images, and the interval lies between percentiles of the means. These lie
    somewhat farther out than 2.5 and 97.5, because resamples of few scenes vary too little: Hesterberg, "What Teachers
    Should Know About the Bootstrap", The American Statistician 69, 2015 ("expanded percentile").

    In a simulation of scenes of 100 frames (normal scene means with as much spread as the frames have, neighbouring
    frames correlated by 0.9) such intervals held the true mean in 95 % of 1000 trials with 8 and with 11 scenes, in
    92 % with 5, 88 % with 4 and 51 % with 2, and intervals that take frames for independent in 16 to 22 %.

    Args:
        values: One an image.
        scenes: The scene of each.

    Returns:
        (low, high); None for fewer than 5 scenes, which say too little, and for values that are not finite.
    """
    names, index = np.unique(scenes, return_inverse=True)
    count = len(names)
    if count < FEWEST_SCENES or not np.isfinite(values).all():
        return None
    sums, images = np.bincount(index, values), np.bincount(index)
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    means = sums[drawn].sum(axis=1) / images[drawn].sum(axis=1)
    tail = stats.norm.cdf(stats.t.ppf(0.025, count - 1) * math.sqrt(count / (count - 1)))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
