"""Draws the figures of README.md and docs/: python notebooks/draw_figures.py

Everything in them comes from the real thing: the network of `build_model`, the data pipeline, and what `photographs`,
the network that comes with the package, makes of raccoon.jpg. That photo, with raccoon_sharp.jpg, was made by `--photo`
of `scipy.datasets.face()` (public-domain-image.com, public domain), as `synthesize` blurs photos.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import imageio.v3 as iio
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyBboxPatch

import deepdeblur_tf
from deepdeblur_tf.compat import tf
from deepdeblur_tf.creation.profiles import PROFILES
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.images.panels import side_by_side
from deepdeblur_tf.images.rgb import read_rgb
from deepdeblur_tf.synthesis.generator import make_pair
from deepdeblur_tf.synthesis.pictures import Pictures, placed

FOLDER = Path(__file__).parent / "figures"
RACCOON = (FOLDER / "raccoon.jpg", FOLDER / "raccoon_sharp.jpg")
FACE = np.s_[40:480, 430:960]

COLOURS = {"image": "#dbe9f6", "convolution": "#fde0c5", "blocks": "#f9c6a0", "up": "#cfe8cf"}


def blurred(file: str) -> None:
    """Blurs a photo as `synthesize` does, and writes both, of equal sizes."""
    photo = read_rgb(file)
    how = dataclasses.replace(PROFILES["camera"], path=14, objects=0, unblurred=0, exposure=0, jpeg=0)
    pair, _ = make_pair(
        np.random.default_rng(4),
        how,
        (720, 960),
        Pictures(lambda number: photo, 1, painted=0),
        lambda random, size: placed(random, photo, size)[0],
    )
    for path, image in zip(RACCOON, np.split(pair, 2, axis=2)):
        iio.imwrite(path, image, quality=92)


def photograph() -> None:
    """A photo that `photographs` was not trained on, blurry and restored."""
    blurry, sharp = map(read_rgb, RACCOON)
    images = (blurry, deepdeblur_tf.restore(deepdeblur_tf.load_model("photographs"), blurry))
    captions = [
        f"{title} {deepdeblur_tf.metrics.psnr(image, sharp):.2f} dB"
        for title, image in zip(("blurry", "restored"), images)
    ]
    print(*captions, sep=", ")
    panel = side_by_side([image[FACE] for image in images], captions)
    iio.imwrite(FOLDER / "photographs.jpg", panel, quality=92)


def network() -> None:
    """The report's network, counted from its layers (report, Figure 2.1)."""
    model = deepdeblur_tf.build_model()
    layers = {layer.name: layer for layer in model.layers}
    figure, axis = plt.subplots(figsize=(11, 4.6))

    def box(x, y, width, text, kind):
        axis.add_patch(FancyBboxPatch((x, y - 0.3), width, 0.6, "round,pad=0.02", fc=COLOURS[kind], ec="#555555"))
        axis.text(x + width / 2, y, text, ha="center", va="center", fontsize=8.5)

    def arrow(*points):
        for start, end in zip(points, points[1:-1]):
            axis.plot(*zip(start, end), color="#555555", linewidth=1)
        axis.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "->", "color": "#555555"})

    def kernel(layer):
        height, width = layer.kernel_size
        return f"{height}x{width}, {layer.filters}"

    for level in (1, 2, 3):
        y, part = 4.4 - 1.7 * level, [layer for name, layer in layers.items() if name.startswith(f"level{level}_")]
        blocks = sum(layer.name.endswith("_add") for layer in part)
        parameters = sum(layer.count_params() for layer in part)
        size = "" if level == 1 else f" at 1/{2 ** (level - 1)}"
        box(0, y, 1.2, f"blurry B{level}{size}", "image")
        box(2.3, y, 1.5, f"convolution\n{kernel(layers[f'level{level}_head'])}", "convolution")
        block = layers[f"level{level}_block1_conv1"]
        box(4.3, y, 2.6, f"{blocks} residual blocks\n{kernel(block)}, ReLU, {kernel(block)}, add", "blocks")
        box(7.4, y, 1.5, f"convolution\n{kernel(layers[f'level{level}_tail'])}", "convolution")
        box(9.4, y, 1.2, f"restored L{level}", "image")
        with_up = ", with the up-convolution" if level < 3 else ""
        axis.text(
            5.6, y - 0.45, f"{parameters:,} parameters{with_up}", ha="center", va="top", fontsize=7.5, color="#555555"
        )
        for start, end in ((1.22, 2.28), (3.82, 4.28), (6.92, 7.38), (8.92, 9.38)):
            arrow((start, y), (end, y))
        if level > 1:
            up = layers[f"level{level - 1}_up"]
            box(1.1, y + 0.85, 2.0, f"{kernel(up)}, pixel shuffle", "up")
            arrow((10.0, y + 0.32), (10.0, y + 0.85), (3.12, y + 0.85))
            arrow((1.75, y + 1.17), (1.75, y + 1.68))
            axis.text(1.81, y + 1.4, "join", fontsize=7.5, color="#555555", va="center")
    axis.set(xlim=(-0.1, 10.8), ylim=(-1.3, 3.2))
    axis.axis("off")
    figure.savefig(FOLDER / "network.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def data() -> None:
    """A pair's way into a batch (report, Figures 3.1 and 3.2)."""
    experiment = deepdeblur_tf.load_experiment(
        Path(__file__).parents[1] / "experiments" / "quickstart.yaml",
        {
            "data.scenes": 1,  # so that the batch is of this pair
            "data.cache": "none",
            "training.batch_size": 1,
            "training.epochs": 1,
            "training.decay.epochs": [],
        },
    )
    side = experiment.data.patch_size
    train, _ = deepdeblur_tf.make_datasets(experiment)
    levels = [tuple(level[0].numpy() + 0.5 for level in image) for image in next(iter(train))]
    pair = find_data(experiment).open()[0].read(0)
    panels = [
        ("decode, concatenate\nuint8 [256, 256, 6]", np.vstack([pair[..., :3], pair[..., 3:]]) / 255),
        (f"one crop, one flip for both\nuint8 [{side}, {side}, 6]", np.vstack([level[0] for level in levels])),
        (
            "MATLAB's imresize, each from the finest\nfloat32 in [-0.5, 0.5]",
            np.vstack([_side_by_side(image) for image in levels]),
        ),
    ]
    widths = [image.shape[1] / image.shape[0] for _, image in panels]
    figure, axes = plt.subplots(1, 3, figsize=(11, 5.2), gridspec_kw={"width_ratios": widths, "wspace": 0.12})
    for axis, (title, image) in zip(axes, panels):
        axis.imshow(np.clip(image, 0, 1))
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    axes[0].text(-0.04, 0.75, "blurry", transform=axes[0].transAxes, rotation=90, va="center", ha="right")
    axes[0].text(-0.04, 0.25, "sharp", transform=axes[0].transAxes, rotation=90, va="center", ha="right")
    figure.savefig(FOLDER / "data.png", dpi=110, bbox_inches="tight")
    plt.close(figure)


def _side_by_side(levels) -> np.ndarray:
    height = len(levels[0])
    return np.hstack([np.pad(level, [(height - len(level), 0), (0, 6), (0, 0)], constant_values=1) for level in levels])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", help="A sharp photo; makes raccoon.jpg and raccoon_sharp.jpg anew.")
    flags = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    tf.keras.utils.set_random_seed(0)
    network()
    data()
    if flags.photo:
        blurred(flags.photo)
    photograph()
    print(*sorted(FOLDER.iterdir()), sep="\n")
