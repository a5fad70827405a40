"""The tables and plots of evaluations: the report's Tables 4.1 and 4.2, scenes, and networks compared."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from deepdeblur_tf.data.pairs import GOPRO_LARGE
from deepdeblur_tf.evaluation.measurement import means
from deepdeblur_tf.evaluation.published import MATLAB, PER_CHANNEL, PUBLISHED, REPORT_TABLES
from deepdeblur_tf.files import write_whole

_TITLES = {
    "loss": "Loss",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "ssim_matlab": "SSIM, MATLAB on RGB",
}
_DIGITS = {"loss": 5, "psnr": 2}


@dataclass(frozen=True)
class Result:
    """One network's figures.

    Attributes:
        label: What it is called.
        summary: The content of its summary.json.
        rows: Its rows by image, as `Evaluation.read_rows` gives them.
        folder: Where they lie.
    """

    label: str
    summary: dict
    rows: dict[str, dict]
    folder: Path


def _shown(name: str, value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{_DIGITS.get(name, 4)}f}"


def _escaped(text: str) -> str:
    """A name in a table's cell."""
    return text.replace("|", "\\|")


def _figures(values: dict) -> list[str]:
    return [_shown(name, values.get(name)) for name in _TITLES]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are texts."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def terminal_table(results: Sequence[Result]) -> str:
    """The means as aligned columns."""
    overall = [means(list(result.rows.values())) for result in results]
    lines = [["", *_TITLES.values()], ["blurry", *_figures(overall[0]["blurry"])]]
    lines += [[result.label, *_figures(mean["restored"])] for result, mean in zip(results, overall)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
        for line in lines
    )


def scenes_of(result: Result) -> list[str]:
    """The scenes that were measured, in order; none where the data has no scenes."""
    return list(dict.fromkeys(name.rpartition("/")[0] for name in result.rows if name.rpartition("/")[0]))


def _scene_means(result: Result, scene: str) -> dict:
    return means([row for name, row in result.rows.items() if name.rpartition("/")[0] == scene])


def is_gopro(result: Result) -> bool:
    """Whether the data has test scenes of GOPRO_Large, so that it can stand beside the report's figures."""
    return result.summary["data"]["layout"] == "gopro" and any(
        scene in GOPRO_LARGE["validation"] for scene in scenes_of(result)
    )


def _frames_table(results: Sequence[Result], frames: Sequence[str]) -> str:
    """Blurry, each network, and in GOPRO the report: for the frames and for the average."""
    gopro = is_gopro(results[0])
    lines = []
    for name in [*frames, "average"]:
        entries = []
        if name == "average":
            overall = [means(list(result.rows.values())) for result in results]
            title = f"**average of {overall[0]['images']} images**"
            entries.append(("blurry", overall[0]["blurry"]))
            entries += [(result.label, mean["restored"]) for result, mean in zip(results, overall)]
        elif name in results[0].rows:
            title, row = name, results[0].rows[name]
            entries.append(("blurry", {key: row[f"blurry_{key}"] for key in _TITLES}))
            entries += [(result.label, result.rows[name]) for result in results]
        else:
            title = f"{name} (not measured here)"
        for label, table in REPORT_TABLES.items() if gopro else ():
            if name in table:
                where = f"{label} (1111 images)" if name == "average" else label
                entries.append((where, dict(zip(("loss", "psnr", "ssim", "ms_ssim"), table[name]))))
        titles = [_escaped(title)] + [""] * len(entries)
        lines += [[title, _escaped(label), *_figures(values)] for title, (label, values) in zip(titles, entries)]
    return _table(["image", "", *_TITLES.values()], lines, 2)


def _scenes_table(results: Sequence[Result]) -> str:
    head = ["scene", "images", "blurry (dB)"]
    head += [f"{result.label} {what}" for result in results for what in ("(dB)", "gain (dB)", "SSIM")]
    lines = []
    for scene in scenes_of(results[0]):
        first = _scene_means(results[0], scene)
        line = [_escaped(scene), str(first["images"]), _shown("psnr", first["blurry"]["psnr"])]
        for result in results:
            values = _scene_means(result, scene)
            gain = values["restored"]["psnr"] - values["blurry"]["psnr"]
            line += [_shown("psnr", values["restored"]["psnr"]), f"{gain:+.2f}"]
            line.append(_shown("ssim", values["restored"]["ssim"]))
        lines.append(line)
    return _table(head, lines, 1)


def _gains(result: Result) -> dict[str, float]:
    # Where an input equals its sharp partner there is nothing to gain; its PSNR is infinite.
    rows = ((name, row) for name, row in result.rows.items() if math.isfinite(row["blurry_psnr"]))
    return {name: row["psnr"] - row["blurry_psnr"] for name, row in rows}


def _extremes_table(result: Result, count: int = 3) -> str:
    gains = sorted(_gains(result).items(), key=lambda item: item[1])
    chosen = gains if len(gains) <= 2 * count else [*gains[:count], *gains[-count:]]
    lines = [
        [_escaped(name), _shown("psnr", result.rows[name]["blurry_psnr"]), _shown("psnr", result.rows[name]["psnr"])]
        + [f"{gain:+.2f}"]
        for name, gain in chosen
    ]
    return _table(["image", "blurry (dB)", f"{result.label} (dB)", "gain (dB)"], lines, 1)


def _differences_table(results: Sequence[Result]) -> str:
    """Each network against the first, image by image, with the 95 % interval of the mean difference."""
    lines = []
    for result in results[1:]:
        for name, title in _TITLES.items():
            pairs = [(row[name], result.rows[image][name]) for image, row in results[0].rows.items()]
            differences = np.array([b - a for a, b in pairs if not math.isnan(a)])
            if not len(differences):
                continue
            better = differences < 0 if name == "loss" else differences > 0
            digits = _DIGITS.get(name, 4)
            interval = "-"
            if len(differences) > 1 and differences.std() > 0:
                low, high = stats.t.interval(0.95, len(differences) - 1, differences.mean(), stats.sem(differences))
                interval = f"{low:+.{digits}f} to {high:+.{digits}f}"
            lines.append(
                [f"{result.label} - {results[0].label}", title, f"{differences.mean():+.{digits}f}", interval]
                + [f"{better.sum()} of {len(differences)}"]
            )
    return _table(["", "", "mean difference", "95 % interval", "better on"], lines, 2)


def _published_table(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        mean = means(list(result.rows.values()))
        values = [_shown(name, mean["restored"][name]) for name in ("psnr", "ssim", "ssim_matlab")]
        where = f"measured here, {mean['images']} of 1111 images"
        lines.append([f"**{result.label}**", result.summary["data"]["blur"], where, *values])
    for label, table in REPORT_TABLES.items():
        _, psnr, ssim, _ = table["average"]
        lines.append([label, "not said", "Tables 4.1 and 4.2", _shown("psnr", psnr), _shown("ssim", ssim), ""])
    lines += [
        [entry.method, entry.blur, entry.source, _shown("psnr", entry.psnr)]
        + [entry.ssim if entry.convention == kind else "" for kind in (PER_CHANNEL, MATLAB)]
        for entry in PUBLISHED
    ]
    head = ["method", "blur folder", "source", "PSNR (dB)", f"SSIM {PER_CHANNEL}", f"SSIM {MATLAB}"]
    return _table(head, lines, 3)


def _about(result: Result) -> str:
    model, data, restoration = (result.summary[key] for key in ("model", "data", "restoration"))
    tiled = sum(row["tiles"] > 1 for row in result.rows.values())
    ways = [f"{tiled} of {len(result.rows)} images in tiles" if tiled else "whole images"]
    ways += ["x8 self-ensemble"] if restoration["self_ensemble"] else []
    ways += [restoration["runtime"]] if restoration["runtime"] != "tensorflow" else []
    return (
        f"- **{result.label}**: `{model['file']}` (SHA-256 {model['sha256'][:12]}), {model['parameters']:,} parameters"
        + (f", experiment {model['experiment']}" if model["experiment"] else "")
        + f"; {', '.join(ways)}; {means(list(result.rows.values()))['seconds']:.2f} s an image on "
        f"{result.summary['device']}, TensorFlow {result.summary['versions']['tensorflow']}; "
        f"figures in `{result.folder}`"
    )


def write_report(path: Path, results: Sequence[Result], frames: Sequence[str], figures: dict[str, str]) -> None:
    """Writes the report in Markdown.

    Args:
        path: The file.
        results: One network or more, of one data set, all with the same images.
        frames: The images that have rows of their own.
        figures: File beside the report to its caption.
    """
    first = results[0]
    data, count = first.summary["data"], len(first.rows)
    complete = f"{count} images" if count == data["pairs"] else f"{count} of {data['pairs']} images"
    parts = [
        f"# {' and '.join(result.label for result in results)} on {Path(data['root']).name} ({data['blur']})",
        f"Measured on {complete} of `{data['root']}` ({data['layout']} layout, blur folder `{data['blur']}`).",
        "\n".join(map(_about, results)),
        "## Quality",
        _frames_table(results, frames),
    ]
    if len(results) > 1:
        parts += ["## Compared image by image", _differences_table(results)]
    if len(scenes_of(first)) > 1:
        parts += ["## Scenes", _scenes_table(results)]
    parts += ["## Least and most gained"] + [_extremes_table(result) for result in results]
    for name, caption in figures.items():
        parts += [f"![{caption}]({name})", f"*{caption}*"]
    if is_gopro(first):
        parts += ["## Beside published figures"]
        if count < sum(GOPRO_LARGE["validation"].values()):
            parts.append(
                f"**Not comparable yet**: these are averages over GOPRO's 1111 test images, those of this evaluation "
                f"over {count}."
            )
        parts += [
            "The two SSIM columns are two different measures; only figures of one column, and of one blur folder, can "
            "be compared.",
            _published_table(results),
        ]
    parts += ["## How it was measured"]
    parts.append("\n".join(f"- {_TITLES.get(key, key)}: {text}" for key, text in first.summary["convention"].items()))
    small = sum(math.isnan(row["ms_ssim"]) for row in first.rows.values())
    if small:
        parts.append(
            f"{small} images have a side below 161 pixels, too small for the coarsest scale of MS-SSIM (below 11 "
            "pixels also for SSIM); those means are of the other images."
        )
    write_whole(path, lambda file: file.write_text("\n\n".join(parts) + "\n", encoding="utf-8"))


@contextlib.contextmanager
def _axes(path: Path, inches: tuple[float, float]):
    """Matplotlib axes whose figure is written to a file at the end; needs no screen."""
    from matplotlib.figure import Figure

    figure = Figure(inches, dpi=120, layout="constrained")
    yield figure.add_subplot()
    write_whole(path, figure.savefig)


def plot_gains(path: Path, results: Sequence[Result]) -> None:
    """Plots what each image gained over how blurry it was: a point an image."""
    with _axes(path, (7, 4.5)) as axes:
        for result in results:
            gains = _gains(result)
            blurry = [result.rows[name]["blurry_psnr"] for name in gains]
            label = f"{result.label}: mean {np.mean(list(gains.values())):+.2f} dB" if gains else result.label
            axes.scatter(blurry, list(gains.values()), s=24 if len(gains) < 200 else 8, alpha=0.7, label=label)
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set_xlabel("PSNR of the blurry image (dB)")
        axes.set_ylabel("gain in PSNR (dB)")
        axes.set_title("Gain over the input's blur")
        axes.figure.legend(loc="outside lower center", ncols=2)


def plot_scenes(path: Path, results: Sequence[Result]) -> None:
    """Plots each scene's mean gain: a bar a network."""
    scenes = scenes_of(results[0])
    with _axes(path, (7, 1.5 + 0.3 * len(scenes) * (1 + len(results)) / 2)) as axes:
        height = 0.8 / len(results)
        for number, result in enumerate(results):
            by_scene = [_scene_means(result, scene) for scene in scenes]
            gains = [values["restored"]["psnr"] - values["blurry"]["psnr"] for values in by_scene]
            axes.barh(np.arange(len(scenes)) + number * height, gains, height * 0.9, label=result.label)
        axes.set_yticks(np.arange(len(scenes)) + 0.4 - height / 2, scenes)
        axes.invert_yaxis()
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.set_xlabel("mean gain in PSNR (dB)")
        axes.set_title("Gain by scene")
        axes.figure.legend(loc="outside lower center", ncols=2)
