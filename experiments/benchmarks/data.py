"""How fast the data are made: python -m experiments.benchmarks.data (one core: prefix `taskset -c 0`).

`imresize` of the pipeline's two cases against a plain port of MATLAB's algorithm that gathers the pixels under each
kernel and multiplies them by the weights, and the embedded scenes in pairs a second.
"""

import functools
import statistics
import timeit

import numpy as np

from deepdeblur_tf.data.scenes import EmbeddedScenes
from deepdeblur_tf.resizing import imresize
from tests.helpers import plain_imresize


def milliseconds(function, repeats):
    function()
    return 1000 * statistics.median(timeit.repeat(function, number=1, repeat=repeats))


def main():
    image = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    for scale in (1 / 2, 1 / 4):
        np.testing.assert_array_equal(imresize(image, scale), plain_imresize(image, scale))
        ours = milliseconds(functools.partial(imresize, image, scale), 300)
        plain = milliseconds(functools.partial(plain_imresize, image, scale), 50)
        print(
            f"imresize 256 -> {int(256 * scale)}, RGB uint8: {ours:.2f} ms, plain {plain:.2f} ms, {plain / ours:.1f} x"
        )
    scenes = EmbeddedScenes(50, 0, "blur", "train")
    indices = iter(range(50))
    print(f"scenes: {1000 / milliseconds(lambda: scenes.read(next(indices)), 49):.1f} pairs of 256x256 a second")


if __name__ == "__main__":
    main()
