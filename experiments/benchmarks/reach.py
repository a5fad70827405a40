"""Gain by the length of the blur: python -m experiments.benchmarks.reach MODEL [MODEL ...] --sharp DIR

Sharp photos are blurred along paths of each length, a straight one and one as `synthesize` bends it, in linear light
(gamma 2.2), and restored. A row for each length: the mean gain in dB of PSNR as `metrics.psnr` has it, of whole images.
With `--scales`, a column for each scale, in brackets the relative change that `--scale auto` goes by. `--picture FILE`
draws the curves.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from deepdeblur_tf import load_model, metrics
from deepdeblur_tf.images.rgb import read_rgb
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.restoration.scale import SCALES
from deepdeblur_tf.synthesis.camera import light_of_values, quantized
from deepdeblur_tf.synthesis.motion import Motion, smooth_path
from deepdeblur_tf.synthesis.pictures import placed
from deepdeblur_tf.synthesis.rendering import margin_of, render

LENGTHS = (2, 5, 10, 15, 20, 30, 40, 60, 80, 100)  # pixels


def blurred(photo: np.ndarray, size: tuple[int, int], length: float, bent: bool, seed: int):
    """(blurry, sharp): uint8 [H, W, 3] of a size, the same each time; beyond its borders a photo is mirrored."""
    random = np.random.default_rng((seed, round(length), bent))
    angle = random.uniform(0, np.pi)
    straight = np.outer(np.linspace(-length / 2, length / 2, 129), (np.cos(angle), np.sin(angle)))
    motion = Motion(np.linspace(-1, 1, 129), smooth_path(random, length) if bent else straight)
    margin = margin_of(motion, size)
    background = placed(random, photo, (size[0] + 2 * margin, size[1] + 2 * margin))[0]
    blurry, sharp = render(cv2.LUT(background, 255 * light_of_values("gamma")), margin, motion)
    return quantized(blurry, "gamma"), quantized(sharp, "gamma")


def gains(restorer: Restorer, pairs) -> tuple[float, float]:
    """(the mean gain in dB, the mean relative change)."""
    results = []
    for blurry, sharp in pairs:
        gain = metrics.psnr(restorer(blurry), sharp) - metrics.psnr(blurry, sharp)
        results.append((gain, restorer.change))
    return tuple(np.mean(results, axis=0))


def draw(curves: dict[str, list[float]], lengths, file: Path) -> None:
    """A line for each column of the table."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        axes.plot(lengths, values, marker="o", label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="path in pixels", ylabel="gain in dB of PSNR", xscale="log", xticks=lengths)
    axes.set_xticklabels([f"{length:g}" for length in lengths])
    axes.minorticks_off()
    axes.legend()
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", nargs="+", help="A run's folder, a .keras file, or photographs.")
    parser.add_argument("--sharp", metavar="DIR", type=Path, required=True, help="A folder of sharp photos.")
    parser.add_argument("--size", default="1280x720", help="Of the pictures, WIDTHxHEIGHT (default: %(default)s).")
    parser.add_argument("--lengths", type=float, nargs="+", default=LENGTHS, help="Of the paths, in pixels.")
    parser.add_argument("--scales", action="store_true", help="Every scale by itself, beside auto.")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="Where to draw the curves, such as reach.png.")
    flags = parser.parse_args()
    width, height = map(int, flags.size.split("x"))
    photos = [read_rgb(file) for file in sorted(flags.sharp.iterdir())]

    scales = ("auto", *SCALES) if flags.scales else ("auto", 1)
    restorers = {}
    for model in flags.models:
        network = load_model(model)
        restorers.update({f"{model}, scale {scale}": Restorer(network, scale=scale) for scale in scales})
    curves: dict[str, list[float]] = {name: [] for name in restorers}
    print("| path in pixels |", " | ".join(restorers), "|\n|" + "---|" * (1 + len(restorers)))
    for length in flags.lengths:
        pairs = [
            blurred(photo, (height, width), length, bent, seed)
            for seed, photo in enumerate(photos)
            for bent in (False, True)
        ]
        cells = []
        for name, restorer in restorers.items():
            gain, change = gains(restorer, pairs)
            curves[name].append(gain)
            cells.append(f"{gain:+.2f} ({change:.2f})")
        print(f"| {length:g} |", " | ".join(cells), "|", flush=True)
    if flags.picture:
        draw(curves, flags.lengths, flags.picture)


if __name__ == "__main__":
    main()
