"""One evaluation, from networks and pairs to tables and pictures; continues an interrupted one where it stopped."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepdeblur_tf.data.pairs import PairsError
from deepdeblur_tf.data.sources import spread
from deepdeblur_tf.data.test_set import TestSet
from deepdeblur_tf.evaluation.measurement import Evaluation, EvaluationError, means, measure
from deepdeblur_tf.evaluation.network import Network
from deepdeblur_tf.evaluation.published import REPORT_FRAMES
from deepdeblur_tf.evaluation.tables import Result, is_gopro, plot_gains, plot_scenes, scenes_of, write_report
from deepdeblur_tf.files import sha256_of
from deepdeblur_tf.images.panels import details, overview, stacked, worst_details
from deepdeblur_tf.images.rgb import ImageError, read_rgb, write_image
from deepdeblur_tf.restoration.restorer import restore
from deepdeblur_tf.runs.networks import load_model

DETAIL_SIDE = 128  # pixels
DETAILS = 2  # an image


def evaluate_networks(
    networks: Sequence[Network],
    test_set: TestSet,
    count: int | None,
    pictures: Mapping[str, Sequence[tuple[int, int]]],
    options: Mapping,
    folder: Path,
    say=print,
) -> list[Result]:
    """Measures networks on the same images and writes a report for each and one for all.

    Args:
        networks: What to measure.
        test_set: On what.
        count: How many of its images, evenly spread; None for all. What is measured already stays in the tables.
        pictures: Names of the images to show, with (left, top) of the details to enlarge; none for those where the
            error is largest. Empty for three images, those that the report names where they are there.
        options: As `deepdeblur_tf.restore` has them.
        folder: Where the report on all networks goes; that of a single one is its own.
        say: Called with each line for the user.

    Returns:
        The figures of each network.

    Raises:
        EvaluationError: a folder holds another evaluation.
        ImageError, PairsError: an image that cannot be read, by name.
        ValueError: options that are not allowed, or a file that is no network.
    """
    names = test_set.source.names
    wanted = {names[i] for i in spread(len(names), count or len(names))}
    evaluations, models, abouts = [], [], []
    for network in networks:
        model = load_model(network.file)
        restore(model, np.zeros((1, 1, 3), np.uint8), **options)  # refuses wrong options before the long work
        about = {
            "model": {
                "file": str(network.file),
                "sha256": sha256_of(network.file),
                "parameters": model.count_params(),
                "experiment": network.experiment,
            },
            "data": test_set.about,
            "restoration": dict(options),
        }
        evaluation = Evaluation(network.folder, network.label)
        evaluation.claim(about)
        evaluation.write_summary(about, test_set)
        # All are measured on what one of them was measured on already, so that the tables compare the same images.
        wanted.update(evaluation.read_rows())
        evaluations.append(evaluation)
        models.append(model)
        abouts.append(about)
    places = _places(pictures, [name for name in names if name in wanted])
    _check_corners(places, test_set)
    indices = [index for index, name in enumerate(names) if name in wanted or name in places]
    say(f"measuring {len(indices)} of {len(names)} images")
    if count and len(wanted) > count:
        say(
            f"  not {count} alone: what was measured before stays in the tables. For tables of {count} give another "
            "folder with --output."
        )

    seconds = 0.2 if sys.stderr.isatty() else 30  # into a file or a pipe, a line every 30 seconds is enough
    with tqdm(total=len(indices) * len(networks), unit="image", dynamic_ncols=True, mininterval=seconds) as bar:
        for model, evaluation, about in zip(models, evaluations, abouts):
            try:
                _measure_missing(model, evaluation, test_set, indices, places, options, bar)
            finally:
                evaluation.write_summary(about, test_set)
    results = [
        Result(evaluation.label, evaluation.read_summary(), _ordered(evaluation, names), evaluation.folder)
        for evaluation in evaluations
    ]
    for result in results:
        _write(result.folder, [result], evaluations, places, test_set)
    if len(results) > 1:
        _write(folder, results, evaluations, places, test_set)
    return results


def _measure_missing(model, evaluation, test_set, indices, places, options, bar) -> None:
    """Measures the images that have no row yet, and restores those once more that a picture lacks."""
    rows, failed = evaluation.read_rows(), {}
    bar.update(sum(test_set.source.names[index] in rows for index in indices))
    for index in indices:
        name = test_set.source.names[index]
        is_missing = name in places and not evaluation.restored(name).is_file()
        if name in rows and not is_missing:
            continue
        try:
            pair = test_set.source.read(index)
        except (ImageError, PairsError) as error:
            failed[name] = str(error)
            continue
        row, restored = measure(model, pair, **options)
        if is_missing:
            write_image(evaluation.restored(name), restored)
        if name not in rows:
            evaluation.add(name, row)
            rows[name] = row
            bar.update()
        mean = means(list(rows.values()))
        psnr, before = mean["restored"]["psnr"], mean["blurry"]["psnr"]
        bar.set_postfix_str(f"{evaluation.label}: {psnr:.2f} dB, blurry {before:.2f} dB")
    if failed:
        raise EvaluationError(
            f"{len(failed)} images cannot be read; the others are measured. Mend or remove:\n  "
            + "\n  ".join(failed.values())
        )


def _ordered(evaluation: Evaluation, names: Sequence[str]) -> dict[str, dict]:
    rows = evaluation.read_rows()
    return {name: rows[name] for name in names if name in rows}


def _places(pictures, measured: Sequence[str]) -> dict[str, Sequence[tuple[int, int]]]:
    if pictures:
        return dict(pictures)
    chosen = [name for name in REPORT_FRAMES if name in measured]
    others = [name for name in measured if name not in chosen]
    chosen += [others[i] for i in spread(len(others), 3 - len(chosen))] if others and len(chosen) < 3 else []
    return dict.fromkeys(chosen, ())


def _check_corners(places, test_set: TestSet) -> None:
    for name, corners in places.items():
        for left, top in corners:
            height, width, _ = test_set.source.read(test_set.source.names.index(name)).shape
            side = min(DETAIL_SIDE, height, width)
            if left > width - side or top > height - side:
                raise ValueError(
                    f"--pictures {name}@{left},{top}: the detail of {side} pixels lies outside the image of "
                    f"{width}x{height}; allowed are corners up to {width - side},{height - side}."
                )


def _write(folder: Path, results: Sequence[Result], evaluations: Sequence[Evaluation], places, test_set) -> None:
    """report.md and figures/ of one network or of several compared."""
    shown = {result.label for result in results}
    overviews, close_ups = [], []
    for name, chosen in places.items():
        blurry, sharp = np.split(test_set.source.read(test_set.source.names.index(name)), 2, axis=2)
        restored = {
            evaluation.label: read_rgb(evaluation.restored(name))
            for evaluation in evaluations
            if evaluation.label in shown
        }
        panels = [(f"blurry {results[0].rows[name]['blurry_psnr']:.2f} dB", blurry)]
        for result in results:
            title = result.label if len(results) > 1 else "restored"
            panels.append((f"{title} {result.rows[name]['psnr']:.2f} dB", restored[result.label]))
        panels.append(("sharp", sharp))
        overviews.append(overview([image for _, image in panels], [title for title, _ in panels], name))
        side = min(DETAIL_SIDE, *sharp.shape[:2])
        corners = list(chosen) or worst_details(list(restored.values()), sharp, side, DETAILS)
        close_ups.append(details(panels, corners, side, name))
    figures = {}

    def add(file: str, caption: str, write) -> None:
        write(folder / "figures" / file)
        figures[f"figures/{file}"] = caption

    def pixels(pictures):
        return lambda path: write_image(path, stacked(pictures))

    if overviews:
        add("overview.png", "blurry, restored, sharp, with the PSNR of the whole image", pixels(overviews))
        add("details.png", "details, where the error is largest unless chosen, in double size", pixels(close_ups))
    add("gain.png", "gain over the blurry image's PSNR, a point an image", lambda path: plot_gains(path, results))
    if len(scenes_of(results[0])) > 1:
        add("scenes.png", "mean gain by scene", lambda path: plot_scenes(path, results))
    frames = REPORT_FRAMES if is_gopro(results[0]) else ()
    write_report(folder / "report.md", results, list(dict.fromkeys([*frames, *places])), figures)
