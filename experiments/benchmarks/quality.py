"""What networks do to whole images: python -m experiments.benchmarks.quality MODEL [MODEL ...] --pairs DIR --sharp DIR

A row for each set of pairs as it is, with noise (sigma 5 of 255) and as JPEG of quality 75, and for each folder of
sharp photos, which a network should leave as they are. PSNR in dB as `metrics.psnr` has it, of whole images, averaged
over them; of the blurry ones, or of the sharp ones' copies, as it was before the restoration.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deepdeblur_tf import load_model, metrics
from deepdeblur_tf.config import Data
from deepdeblur_tf.data.kinds import find_test_set
from deepdeblur_tf.images.rgb import SUFFIXES, read_rgb
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.synthesis.camera import compress

NOISE = 5  # standard deviation, of 255
QUALITY = 75  # of JPEG, as Pillow counts


def noisy(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] with Gaussian noise, the same each time."""
    noise = np.random.default_rng(0).normal(0, NOISE, image.shape)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)


def test_pairs(root: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """A data set's test images, blurry and sharp: uint8 [H, W, 3]."""
    source = find_test_set(Data(root)).source
    return [tuple(np.split(source.read(index), 2, axis=2)) for index in range(len(source))]


def photos(root: str) -> list[np.ndarray]:
    """A folder's photos: uint8 [H, W, 3]."""
    return [read_rgb(file) for file in sorted(Path(root).iterdir()) if file.suffix.lower() in SUFFIXES]


VERSIONS = {
    "as it is": lambda image: image,
    f"noise {NOISE}": noisy,
    f"JPEG {QUALITY}": lambda image: compress(image, QUALITY),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="A run's folder, a .keras file, or photographs.")
    parser.add_argument("--pairs", metavar="DIR", nargs="*", default=[], help="Data sets; their test images are taken.")
    parser.add_argument("--sharp", metavar="DIR", nargs="*", default=[], help="Folders of sharp photos.")
    flags = parser.parse_args()

    sets = {root: test_pairs(root) for root in flags.pairs}
    sharp_ones = {root: photos(root) for root in flags.sharp}
    print("| network | images | version | before | after | gain | least gain |\n|---|---|---|---|---|---|---|")
    for model in flags.models:
        restorer = Restorer(load_model(model))
        for root, pairs in sets.items():
            for version, degrade in VERSIONS.items():
                before, after = np.transpose(
                    [
                        [metrics.psnr(image, sharp) for image in (degraded, restorer(degraded))]
                        for degraded, sharp in ((degrade(blurry), sharp) for blurry, sharp in pairs)
                    ]
                )
                print(
                    f"| {model} | {len(pairs)} of {root} | {version} | {before.mean():.2f} | {after.mean():.2f} | "
                    f"{(after - before).mean():+.2f} | {(after - before).min():+.2f} |",
                    flush=True,
                )
        for root, images in sharp_ones.items():
            kept = np.array([metrics.psnr(restorer(image), image) for image in images])
            print(
                f"| {model} | {len(images)} of {root} | sharp | ∞ | {kept.mean():.2f} | | {kept.min():.2f} at least |",
                flush=True,
            )


if __name__ == "__main__":
    main()
