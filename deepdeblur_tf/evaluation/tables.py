"""The tables of evaluations: the report's Tables 4.1 and 4.2, scenes, and networks compared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from deepdeblur_tf.data.paired_files import GOPRO_LARGE
from deepdeblur_tf.evaluation.folder import Result
from deepdeblur_tf.evaluation.intervals import FEWEST_SCENES, RESAMPLES, scene_interval
from deepdeblur_tf.evaluation.published import MATLAB, PER_CHANNEL, PUBLISHED, REPORT_TABLES
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.metrics import METRICS
from deepdeblur_tf.terminal import shown_name

_TITLES = {name: metric.title for name, metric in METRICS.items()}


def _shown(name: str, value: float | None, sign: str = "") -> str:
    return "-" if value is None or math.isnan(value) else f"{value:{sign}.{METRICS[name].digits}f}"


def _escaped(text: str) -> str:
    """A name in a table's cell."""
    return text.replace("|", "\\|")


def _figures(values: dict) -> list[str]:
    return [_shown(name, values.get(name)) for name in _TITLES]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose first `left` columns are texts."""
    lines = [head, ["---"] * left + ["---:"] * (len(head) - left), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def terminal_table(results: Sequence[Result]) -> str:
    """The means as aligned columns."""
    lines = [["", *_TITLES.values()], ["blurry", *_figures(results[0].summary["overall"]["blurry"])]]
    lines += [[shown_name(result.label), *_figures(result.summary["overall"]["restored"])] for result in results]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))])
        for line in lines
    )


def is_gopro(result: Result) -> bool:
    """Whether the data has test scenes of GOPRO_Large, so that it can stand beside the report's figures."""
    return result.summary["data"]["layout"] == "gopro" and any(
        scene in GOPRO_LARGE["test"] for scene in result.summary["scenes"]
    )


def _frames_table(results: Sequence[Result], frames: Sequence[str]) -> str:
    """Blurry, each network, and in GOPRO the report: for the frames and for the average."""
    gopro = is_gopro(results[0])
    lines = []
    for name in [*frames, "average"]:
        entries = []
        if name == "average":
            title = f"**average of {len(results[0].rows)} images**"
            entries.append(("blurry", results[0].summary["overall"]["blurry"]))
            entries += [(result.label, result.summary["overall"]["restored"]) for result in results]
        elif name in results[0].rows:
            title, row = name, results[0].rows[name]
            entries.append(("blurry", {key: row[f"blurry_{key}"] for key in _TITLES}))
            entries += [(result.label, result.rows[name]) for result in results]
        else:
            title = f"{name} (not measured here)"
        for label, rows in REPORT_TABLES.items() if gopro else ():
            if name in rows:
                where = f"{label} (1111 images)" if name == "average" else label
                entries.append((where, dict(zip(("loss", "psnr", "ssim", "ms_ssim"), rows[name]))))
        titles = [_escaped(title)] + [""] * len(entries)
        lines += [[title, _escaped(label), *_figures(values)] for title, (label, values) in zip(titles, entries)]
    return table(["image", "", *_TITLES.values()], lines, 2)


def _scenes_table(results: Sequence[Result]) -> str:
    head = ["scene", "images", "blurry (dB)"]
    head += [f"{result.label} {what}" for result in results for what in ("(dB)", "gain (dB)", "SSIM")]
    gains = [result.scene_gains() for result in results]
    lines = []
    for scene, first in results[0].summary["scenes"].items():
        line = [_escaped(scene), str(first["images"]), _shown("psnr", first["blurry"]["psnr"])]
        for result, gain in zip(results, gains):
            mean = result.summary["scenes"][scene]["restored"]
            line += [_shown("psnr", mean["psnr"]), _shown("psnr", gain[scene], "+"), _shown("ssim", mean["ssim"])]
        lines.append(line)
    return table(head, lines, 1)


def _extremes_table(result: Result, count: int = 3) -> str:
    gains = sorted(result.gains().items(), key=lambda item: item[1])
    chosen = gains if len(gains) <= 2 * count else [*gains[:count], *gains[-count:]]
    lines = [
        [_escaped(name), *(_shown("psnr", result.rows[name][key]) for key in ("blurry_psnr", "psnr"))]
        + [_shown("psnr", gain, "+")]
        for name, gain in chosen
    ]
    return table(["image", "blurry (dB)", f"{result.label} (dB)", "gain (dB)"], lines, 1)


def _differences_table(results: Sequence[Result]) -> str:
    """Each against the first, image by image, with the 95 % interval of the mean difference."""
    first = results[0]
    scenes = {image: image if first.independent else scene for image, scene in first.scenes.items()}
    lines = []
    for result in results[1:]:
        for name, title in _TITLES.items():
            # Finished pictures have no loss, small images no SSIM.
            pairs = {image: (row[name], result.rows[image][name]) for image, row in first.rows.items()}
            pairs = {image: pair for image, pair in pairs.items() if not any(map(math.isnan, pair))}
            if not pairs:
                continue
            values = [0.0 if one == other else other - one for one, other in pairs.values()]  # 0 of two infinite ones
            better = sum(value < 0 if METRICS[name].lower_is_better else value > 0 for value in values)
            interval = scene_interval(values, [scenes[image] for image in pairs])
            lines.append(
                [f"{result.label} - {first.label}", title, _shown(name, sum(values) / len(values), "+")]
                + [" to ".join(_shown(name, end, "+") for end in interval) if interval else "-"]
                + [f"{better} of {len(values)}"]
            )
    note = (
        f"The interval says where the mean would lie for other scenes: {RESAMPLES:,} resamples of whole scenes, with a "
        "fixed seed, for the frames of one scene are alike."
    )
    count = len(set(scenes.values()))
    if count < FEWEST_SCENES:
        note += f" None is shown for {count} scene{'s' * (count > 1)}: fewer than {FEWEST_SCENES} say too little."
        note += "" if first.independent else " The images of one folder count as one scene."
    return table(["", "", "mean difference", "95 % interval", "better on"], lines, 2) + f"\n\n{note}"


def _published_table(results: Sequence[Result]) -> str:
    lines = []
    for result in results:
        restored = result.summary["overall"]["restored"]
        values = [_shown(name, restored[name]) for name in ("psnr", "ssim", "ssim_matlab")]
        where = f"measured here, {len(result.rows)} of 1111 images"
        lines.append([f"**{result.label}**", result.summary["data"]["blur"], where, *values])
    for label, rows in REPORT_TABLES.items():
        _, psnr, ssim, _ = rows["average"]
        lines.append([label, "not said", "Tables 4.1 and 4.2", _shown("psnr", psnr), _shown("ssim", ssim), ""])
    lines += [
        [entry.method, entry.blur, entry.source, _shown("psnr", entry.psnr)]
        + [entry.ssim if entry.convention == kind else "" for kind in (PER_CHANNEL, MATLAB)]
        for entry in PUBLISHED
    ]
    head = ["method", "blur folder", "source", "PSNR (dB)", f"SSIM {PER_CHANNEL}", f"SSIM {MATLAB}"]
    return table(head, lines, 3)


def way(restoration: Mapping) -> str:
    """How images were restored, in a few words.

    Args:
        restoration: The section of a summary.
    """
    scale = restoration.get("scale", 1.0)  # as it was before there was such an option
    ways = [f"scale {scale if scale == 'auto' else format(scale, 'g')}"]
    ways += ["x8 self-ensemble"] if restoration["self_ensemble"] else []
    ways += [restoration["runtime"]] if restoration["runtime"] != "tensorflow" else []
    return ", ".join(ways)


def _about(result: Result) -> str:
    pictures = result.summary.get("pictures")
    if pictures:
        return (
            f"- **{result.label}**: finished pictures in `{pictures['folder']}` (fingerprint "
            f"{pictures['fingerprint']}); figures in `{result.folder}`"
        )
    model, data, restoration = (result.summary[key] for key in ("model", "data", "restoration"))
    tiled = sum(row["tiles"] > 1 for row in result.rows.values())
    ways = [f"{tiled} of {len(result.rows)} images in tiles" if tiled else "whole images", way(restoration)]
    return (
        f"- **{result.label}**: `{model['file']}` (SHA-256 {model['sha256'][:12]}), {model['parameters']:,} parameters"
        + (f", experiment {model['experiment']}" if model["experiment"] else "")
        + f"; {', '.join(ways)}; {result.summary['overall']['seconds']:.2f} s an image on "
        f"{result.summary['device']}, TensorFlow {result.summary['versions']['tensorflow']}; "
        f"figures in `{result.folder}`"
    )


def write_markdown(path: Path, results: Sequence[Result], frames: Sequence[str], captions: dict[str, str]) -> None:
    """Writes all tables and pictures as one Markdown page.

    Args:
        path: The file.
        results: One network or more, of one data set, all with the same images.
        frames: The images that have rows of their own beside the average.
        captions: Those of the pictures, by their paths relative to the page.
    """
    first = results[0]
    data, count = first.summary["data"], len(first.rows)
    complete = f"{count} images" if count == data["pairs"] else f"{count} of {data['pairs']} images"
    blocks = [
        f"# {' and '.join(result.label for result in results)} on {Path(data['root']).name} ({data['blur']})",
        f"Measured on {complete} of `{data['root']}` ({data['layout']} layout, blur folder `{data['blur']}`).",
        "\n".join(map(_about, results)),
        "## Quality",
        _frames_table(results, frames),
    ]
    if len(results) > 1:
        blocks += ["## Compared image by image", _differences_table(results)]
    if len(first.summary["scenes"]) > 1:
        blocks += ["## Scenes", _scenes_table(results)]
    blocks += ["## Least and most gained"] + [_extremes_table(result) for result in results]
    for name, caption in captions.items():
        blocks += [f"![{caption}]({name})", f"*{caption}*"]
    if is_gopro(first):
        blocks += ["## Beside published figures"]
        if count < sum(GOPRO_LARGE["test"].values()):
            blocks.append(
                f"**Not comparable yet**: these are averages over GOPRO's 1111 test images, those of this evaluation "
                f"over {count}."
            )
        blocks += [
            "The two SSIM columns are two different metrics; only figures of one column, and of one blur folder, can "
            "be compared.",
            _published_table(results),
        ]
    blocks += ["## How it was measured"]
    blocks.append("\n".join(f"- {_TITLES.get(key, key)}: {text}" for key, text in first.summary["convention"].items()))
    for name, metric in METRICS.items():
        small = sum(math.isnan(row[name]) for row in first.rows.values())
        if small and metric.of:
            blocks.append(
                f"{small} images have a side below {metric.smallest} pixels, too small for {metric.title}; its means "
                "are of the other images."
            )
    write_whole(path, lambda file: file.write_text("\n\n".join(blocks) + "\n", encoding="utf-8"))
