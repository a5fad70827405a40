"""A network measured on pairs, image by image, into a folder that an interrupted evaluation continues."""

from __future__ import annotations

import csv
import json
import math
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import deepdeblur_tf
from deepdeblur_tf import metrics
from deepdeblur_tf.compat import device_name, tf
from deepdeblur_tf.data.test_set import TestSet
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.losses import multiscale_loss
from deepdeblur_tf.model import to_network, to_uint8
from deepdeblur_tf.pyramid import padded_pyramid
from deepdeblur_tf.restoration.restorer import restore_levels

MEASURES = ("loss", "psnr", "ssim", "ssim_matlab", "ms_ssim")
COLUMNS = ("image", *MEASURES, "seconds", "tiles", *(f"blurry_{name}" for name in MEASURES))

CONVENTION = {
    "images": "whole image, RGB, clipped and rounded to 8 bits; each measured alone, then averaged",
    "loss": "sum over the levels of the mean squared error in [-0.5, 0.5], before clipping and rounding",
    "psnr": "dB, peak 255, over all pixels and channels",
    "ssim": "per channel: 11x11 Gaussian, sigma 1.5, inside the image, K1 0.01, K2 0.03 (scikit-image, the report)",
    "ssim_matlab": "MATLAB's ssim on RGB arrays: 11x11x11 Gaussian, border repeated (most GOPRO tables)",
    "ms_ssim": "five scales, per channel (Wang et al. 2003)",
    "seconds": "of the restoration, without reading and measuring",
    "tiles": "into which the image was cut where memory was short; 1 for an image restored whole",
}


# What must be equal for figures to stand in one table.
_IDENTITY = (
    ("model", "sha256"),
    ("data", "blur"),
    ("data", "fingerprint"),
    ("restoration", "tile"),
    ("restoration", "memory"),
    ("restoration", "self_ensemble"),
    ("restoration", "runtime"),
)


class EvaluationError(UserError):
    """An evaluation folder that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation's folder.

        metrics.csv     a row an image, in the order of measuring
        summary.json    what was measured, and the means, overall and per scene
        restored/       the restored images that the pictures show

    Args:
        folder: Its path.
        label: What the network is called in tables and pictures.
    """

    folder: Path
    label: str

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def summary(self) -> Path:
        return self.folder / "summary.json"

    def restored(self, name: str) -> Path:
        return self.folder / "restored" / f"{name}.png"

    def read_summary(self) -> dict:
        try:
            summary = json.loads(self.summary.read_text(encoding="utf-8"))
            complete = all(key in summary[section] for section, key in (*_IDENTITY, ("data", "root")))
            if complete and all(set(MEASURES) <= set(summary["overall"][side]) for side in ("restored", "blurry")):
                return summary
        except (ValueError, KeyError, TypeError):
            pass
        raise EvaluationError(
            f"{self.summary}: is not from an evaluation, or from one of another version. Give another folder with "
            "--output."
        )

    def read_rows(self) -> dict[str, dict]:
        """The measured images by name. A last line that was cut off by a kill is left out."""
        if not self.metrics.is_file():
            return {}
        with open(self.metrics, newline="", encoding="utf-8") as file:
            lines = [line for line in file if line.endswith("\n")]
        rows = csv.DictReader(lines)
        if lines and rows.fieldnames != list(COLUMNS):
            raise EvaluationError(
                f"{self.metrics}: is not from an evaluation, or another program changed it. Its first line should be "
                f"{','.join(COLUMNS)}. Give another folder with --output."
            )
        return {row["image"]: {key: _number(value) for key, value in row.items() if key != "image"} for row in rows}

    def claim(self, about: dict) -> None:
        """Makes the folder for an evaluation, or checks that it holds this very one.

        Args:
            about: What determines the figures: the sections model, data and restoration of the summary.

        Raises:
            EvaluationError: it holds another evaluation, with what differs, or other files.
        """
        if self.summary.is_file():
            held = self.read_summary()
            differing = [
                f"{section}.{key}: {held[section][key]!r} / {about[section][key]!r}"
                for section, key in _IDENTITY
                if held[section][key] != about[section][key]
            ]
            if differing:
                raise EvaluationError(
                    f"{self.folder} holds another evaluation. What differs (there / here):\n  "
                    + "\n  ".join(differing)
                    + "\nGive another folder with --output, or remove that one."
                )
        elif self.folder.exists() and (not self.folder.is_dir() or self.metrics.exists()):
            raise EvaluationError(f"{self.folder} holds other files. Give another folder with --output.")
        self.folder.mkdir(parents=True, exist_ok=True)
        # Also drops a torn last line, which an added row would otherwise run into.
        rows = self.read_rows()
        write_whole(self.metrics, lambda path: _write_csv(path, rows))

    def add(self, name: str, row: dict) -> None:
        """Adds an image's row to metrics.csv."""
        with open(self.metrics, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerow([name, *(_text(row[key]) for key in COLUMNS[1:])])

    def write_summary(self, about: dict, test_set: TestSet) -> dict:
        """Writes summary.json from the rows of the images that are measured, and returns it."""
        names, scenes = test_set.source.names, test_set.scenes
        rows = self.read_rows()
        measured = [(scene, rows[name]) for name, scene in zip(names, scenes) if name in rows]
        by_scene: dict[str, list] = {}
        for scene, row in measured:
            by_scene.setdefault(scene, []).append(row)
        summary = {
            **about,
            "convention": CONVENTION,
            "versions": {
                "deepdeblur_tf": deepdeblur_tf.__version__,
                "tensorflow": tf.__version__,
                "python": platform.python_version(),
            },
            "device": device_name(),
            "label": self.label,
            "measured": len(measured),
            "finished": len(measured) == len(names),
            "overall": means([row for _, row in measured]),
            "scenes": {scene: means(rows) for scene, rows in sorted(by_scene.items()) if scene},
        }
        text = json.dumps(_plain(summary), indent=2, allow_nan=False, ensure_ascii=False)
        write_whole(self.summary, lambda path: path.write_text(text + "\n", encoding="utf-8"))
        return summary


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _plain(value):
    """Numbers that JSON has no word for as texts or null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _write_csv(path: Path, rows: dict[str, dict]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([name, *(_text(row[key]) for key in COLUMNS[1:])] for name, row in rows.items())


def means(rows: Sequence[dict]) -> dict:
    """The means over images: {"images": n, "restored": {...}, "blurry": {...}, "seconds": ...}.

    A measure that an image is too small for is averaged over the others.
    """

    def mean(key):
        values = [row[key] for row in rows if not math.isnan(row[key])]
        return float(np.mean(values)) if values else math.nan

    return {
        "images": len(rows),
        "restored": {name: mean(name) for name in MEASURES},
        "blurry": {name: mean(f"blurry_{name}") for name in MEASURES},
        "seconds": mean("seconds"),
    }


def _quality(image: np.ndarray, sharp: np.ndarray) -> dict:
    smallest = {"ssim": metrics.SSIM_SMALLEST, "ms_ssim": metrics.MS_SSIM_SMALLEST}
    return {
        name: float(getattr(metrics, name)(image, sharp)) if min(sharp.shape[:2]) >= smallest.get(name, 1) else math.nan
        for name in MEASURES[1:]
    }


def measure(model: tf.keras.Model, pair: np.ndarray, **options) -> tuple[dict, np.ndarray]:
    """Restores and measures one image.

    Args:
        model: A network of `build_model` or `load_model`.
        pair: uint8 [H, W, 6], the blurry image's RGB, then the sharp one's.
        **options: As `deepdeblur_tf.restore` has them.

    Returns:
        (the columns of metrics.csv but the name; NaN for what the image is too small for,
         the restored image, uint8 [H, W, 3]).
    """
    blurry, sharp = np.split(pair, 2, axis=2)
    parts: list[float] = []
    begin = time.perf_counter()
    levels = restore_levels(model, blurry, **options, progress=parts.append)
    restored = to_uint8(levels[0]).numpy()[: sharp.shape[0], : sharp.shape[1]]
    seconds = time.perf_counter() - begin

    # As in the validation during training: the finest level is measured at its own size.
    blurry_levels, sharp_levels = (
        [to_network(level) for level in padded_pyramid(image[None], len(levels))] for image in (blurry, sharp)
    )
    sharp_levels[0] = to_network(sharp[None])

    def loss(of_levels):
        return float(tf.add_n(multiscale_loss(sharp_levels, of_levels)))

    row = {"loss": loss([level[None] for level in levels]), **_quality(restored, sharp), "seconds": seconds}
    row["tiles"] = sum(1 for part in parts[parts.index(min(parts)) :])  # a retry in smaller tiles begins anew
    before = {"loss": loss(blurry_levels), **_quality(blurry, sharp)}
    return {**row, **{f"blurry_{key}": value for key, value in before.items()}}, restored
