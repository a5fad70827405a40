"""What networks do to whole images: python -m experiments.benchmarks.quality MODEL [MODEL ...] --data DIR --sharp DIR

A row for each set of pairs as it is, with noise (sigma 5 of 255) and as JPEG of quality 75: PSNR in dB as
`metrics.psnr` has it, of whole images, averaged over them, before and after; and how many lost more than 0.05 dB. For
each folder of sharp photos, which a network should leave as they are, the PSNR of their restored copies. `brightness`
is the largest change of a channel's mean in any of the images, of 255. Then what shows in no mean: the largest error in
pictures of one colour, the largest difference of channels in grey photos, and the lattice of two pixels in restored
noise, in dB below white.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from deepdeblur_tf import load_model, metrics
from deepdeblur_tf.config import Data
from deepdeblur_tf.data.kinds import find_test_set
from deepdeblur_tf.images.rgb import USUAL_SUFFIXES, read_rgb
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
    return [read_rgb(file) for file in sorted(Path(root).iterdir()) if file.suffix.lower() in USUAL_SUFFIXES]


VERSIONS = {
    "as it is": lambda image: image,
    f"noise {NOISE}": noisy,
    f"JPEG {QUALITY}": lambda image: compress(image, QUALITY),
}


def brightness(before: np.ndarray, after: np.ndarray) -> float:
    """The largest change of a channel's mean, of 255."""
    return float(np.abs(after.mean(axis=(0, 1)) - before.mean(axis=(0, 1))).max())


def flat_error(restorer: Restorer) -> int:
    """The largest error, of 255, in pictures of one colour: the cube's corners, and all mixtures of three values."""
    colours = {*itertools.product((0, 255), repeat=3), *itertools.product((40, 128, 220), repeat=3)}
    pictures = (np.full((96, 128, 3), colour, np.uint8) for colour in sorted(colours))
    return max(int(np.abs(restorer(picture).astype(int) - picture).max()) for picture in pictures)


def grey_error(restorer: Restorer, images: list[np.ndarray]) -> int:
    """The largest difference of channels, of 255, in what becomes of photos without colours."""
    greys = (np.asarray(Image.fromarray(image).convert("L").convert("RGB")) for image in images)
    return max(int(np.ptp(restorer(grey), axis=2).max()) for grey in greys)


def lattice(restorer: Restorer) -> float:
    """The strongest pattern of two pixels in restored noise around grey, in dB below white."""
    noise = noisy(np.full((512, 512, 3), 128, np.uint8))
    change = (restorer(noise).astype(float) - noise).mean(axis=2)
    phases = change.reshape(256, 2, 256, 2).mean(axis=(0, 2))
    patterns = ([[1, -1], [-1, 1]], [[1, 1], [-1, -1]], [[1, -1], [1, -1]])
    return float(20 * np.log10(255 / max(abs((phases * pattern).mean()) for pattern in patterns)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="A run's folder, a .keras file, or photographs.")
    parser.add_argument(
        "--data", "--pairs", metavar="DIR", nargs="*", default=[], help="Data sets; their test images are taken."
    )
    parser.add_argument("--sharp", metavar="DIR", nargs="*", default=[], help="Folders of sharp photos.")
    parser.add_argument("--scale", default="auto", help="As predict has it (default: %(default)s).")
    flags = parser.parse_args()

    sets = {root: test_pairs(root) for root in flags.data}
    sharp_ones = {root: photos(root) for root in flags.sharp}
    print("| network | images | version | before | after | gain | least gain | worse | brightness |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in flags.models:
        restorer = Restorer(load_model(model), scale=flags.scale if flags.scale == "auto" else float(flags.scale))
        for root, pairs in sets.items():
            for version, degrade in VERSIONS.items():
                degraded = [(degrade(blurry), sharp) for blurry, sharp in pairs]
                restored = [restorer(image) for image, _ in degraded]
                before, after = (
                    np.array([metrics.psnr(image, sharp) for image, (_, sharp) in zip(images, degraded)])
                    for images in ([image for image, _ in degraded], restored)
                )
                shift = max(brightness(image, result) for (image, _), result in zip(degraded, restored))
                gains = after - before
                print(
                    f"| {model} | {len(pairs)} of {root} | {version} | {before.mean():.2f} | {after.mean():.2f} | "
                    f"{gains.mean():+.2f} | {gains.min():+.2f} | {(gains < -0.05).sum()} | {shift:.2f} |",
                    flush=True,
                )
        for root, images in sharp_ones.items():
            restored = [restorer(image) for image in images]
            kept = np.array([metrics.psnr(result, image) for result, image in zip(restored, images)])
            shift = max(brightness(image, result) for image, result in zip(images, restored))
            print(
                f"| {model} | {len(images)} of {root} | sharp | ∞ | {kept.mean():.2f} | | {kept.min():.2f} at least | "
                f"| {shift:.2f} |",
                flush=True,
            )
        print(f"\n{model}: flat colours are off by {flat_error(restorer)} of 255 at most", end="")
        for root, images in sharp_ones.items():
            print(f"; channels of {root} in grey differ by {grey_error(restorer, images)} at most", end="")
        print(f"; the lattice in noise is {lattice(restorer):.1f} dB below white", flush=True)


if __name__ == "__main__":
    main()
