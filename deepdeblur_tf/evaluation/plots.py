"""The plots of evaluations: what was gained, by image and by scene."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepdeblur_tf.evaluation.folder import Result
from deepdeblur_tf.files import write_whole


@contextlib.contextmanager
def _axes(path: Path, inches: tuple[float, float]):
    """Matplotlib axes whose figure is written to a file at the end; needs no screen."""
    from matplotlib.figure import Figure

    figure = Figure(inches, dpi=120, layout="constrained")
    yield figure.add_subplot()
    figure.legend(loc="outside lower center", ncols=2)
    write_whole(path, figure.savefig)


def plot_gains(path: Path, results: Sequence[Result]) -> None:
    """Plots what each image gained over how blurry it was: a point an image. Infinite gains have no point."""
    with _axes(path, (7, 4.5)) as axes:
        for result in results:
            gains = result.gains()
            blurry = [result.rows[name]["blurry_psnr"] for name in gains]
            label = f"{result.label}: mean {np.mean(list(gains.values())):+.2f} dB" if gains else result.label
            axes.scatter(blurry, list(gains.values()), s=24 if len(gains) < 200 else 8, alpha=0.7, label=label)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel="PSNR of the blurry image (dB)", ylabel="gain in PSNR (dB)", title="Gain over the input's blur")


def plot_scenes(path: Path, results: Sequence[Result]) -> None:
    """Plots each scene's mean gain: a bar a network. Infinite gains have no bar."""
    scenes = list(results[0].summary["scenes"])
    with _axes(path, (7, 1.5 + 0.3 * len(scenes) * (1 + len(results)) / 2)) as axes:
        height = 0.8 / len(results)
        for number, result in enumerate(results):
            gains = [gain if math.isfinite(gain) else math.nan for gain in result.scene_gains().values()]
            axes.barh(np.arange(len(scenes)) + number * height, gains, height * 0.9, label=result.label)
        axes.set_yticks(np.arange(len(scenes)) + 0.4 - height / 2, scenes)
        axes.invert_yaxis()
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set(xlabel="mean gain in PSNR (dB)", title="Gain by scene")
