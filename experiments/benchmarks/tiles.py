"""What tiles change: python -m experiments.benchmarks.tiles MODEL IMAGE [IMAGE ...]

For every overlap a line: the restored image cut into tiles of 320 pixels beside the overlap, against the whole one.
The default of `deepdeblur_tf.restore` was chosen by it.
"""

import sys

import imageio.v3 as iio
import numpy as np

from deepdeblur_tf import load_model, restore


def main(model, *images):
    network = load_model(model)
    for name in images:
        image = iio.imread(name)
        whole = restore(network, image, memory=2**50, scale=1).astype(int)
        print(f"{name}: {image.shape[1]}x{image.shape[0]}")
        for overlap in (0, 16, 32, 48, 64, 96, 128, 192):
            tiled = restore(network, image, tile=320 + 2 * overlap, overlap=overlap, scale=1)
            difference = np.abs(tiled - whole).max(axis=2)
            print(
                f"  overlap {overlap:3}: largest difference {difference.max():3} of 255, "
                f"pixels that differ {100 * np.mean(difference > 0):8.4f} %, by more than 1 "
                f"{100 * np.mean(difference > 1):8.4f} %",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
