"""Networks and finished pictures measured on the same pairs, into tables and pictures.

An interrupted evaluation goes on where it stopped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepdeblur_tf.command_line import ProgressBar
from deepdeblur_tf.config import recorded_experiment
from deepdeblur_tf.data.protocol import PairsError, TestSet
from deepdeblur_tf.data.sources import spread
from deepdeblur_tf.evaluation.finished import FinishedPictures
from deepdeblur_tf.evaluation.folder import Evaluation, EvaluationError, Result
from deepdeblur_tf.evaluation.measurement import means, measure, measure_finished
from deepdeblur_tf.evaluation.plots import plot_gains, plot_scenes
from deepdeblur_tf.evaluation.published import REPORT_FRAMES
from deepdeblur_tf.evaluation.tables import is_gopro, write_markdown
from deepdeblur_tf.files import sha256_of
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.panels import details, overview, stacked, worst_details
from deepdeblur_tf.images.rgb import read_rgb, write_image
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.networks.location import run_of
from deepdeblur_tf.restoration.restorer import NonFiniteOutput, Restorer
from deepdeblur_tf.terminal import shown_name

DETAIL_SIDE = 128  # pixels
DETAILS = 2  # an image


class Candidate(NamedTuple):
    """What is to be measured.

    Attributes:
        label: What it is called in tables and pictures.
        subject: A trained network's `.keras` file, or pictures of any program.
        folder: Where its figures go.
    """

    label: str
    subject: Path | FinishedPictures
    folder: Path


# From an image's number to the columns of metrics.csv and the restored image, uint8 [H, W, 3].
Measured = Callable[[int], "tuple[dict, np.ndarray]"]


def evaluate_all(
    candidates: Sequence[Candidate],
    test_set: TestSet,
    count: int | None,
    shown: Mapping[str, Sequence[tuple[int, int]]],
    options: Mapping,
    folder: Path,
) -> list[Result]:
    """Measures networks and finished pictures on the same images.

    Writes the tables and pictures of each, and those of all compared.

    Args:
        candidates: What to measure.
        test_set: On what.
        count: How many of its images, evenly spread; None for all. What is measured already stays in the tables.
        shown: Names of the images to show, with (left, top) of the details to enlarge; none for those where the
            error is largest. Empty for three images, those that the report names where they are there.
        options: The options of `Restorer`.
        folder: Where the comparison of all goes; what concerns a single candidate goes into its own folder.

    Returns:
        The figures of each candidate.

    Raises:
        EvaluationError: a folder holds another evaluation or is in use, images that cannot be read, wrong corners.
        EvaluationLost: what was measured was removed meanwhile.
        UserError: options that are not allowed, a file that is no network, or, before anything is measured, finished
            pictures that are missing or of another size.
    """
    names = test_set.source.names
    wanted = {names[i] for i in spread(len(names), count or len(names))}
    with contextlib.ExitStack() as claims:
        evaluations, of_images = [], []
        finished = [candidate.subject for candidate in candidates if isinstance(candidate.subject, FinishedPictures)]
        for each in finished:
            each.check([index for index, name in enumerate(names) if name in wanted or name in shown])
        for candidate in candidates:
            if isinstance(candidate.subject, FinishedPictures):
                about, of_image = _finished(candidate.subject, test_set)
            else:
                about, of_image = _network(candidate.subject, test_set, options)
            evaluation = Evaluation(candidate.folder, candidate.label, about, test_set)
            claims.enter_context(evaluation.claimed())
            # All are measured on what one of them was measured on already, so that the tables compare the same images.
            wanted.update(evaluation.read_rows())
            evaluations.append(evaluation)
            of_images.append(of_image)
        shown = dict(shown) or _default_shown([name for name in names if name in wanted])
        _check_corners(shown, test_set)
        indices = [index for index, name in enumerate(names) if name in wanted or name in shown]
        for each in finished:
            each.check(indices)  # also what was measured before, of another candidate
        print(f"measuring {len(indices)} of {len(names)} images")
        if count and len(wanted) > count:
            print(
                f"  not {count} alone: what was measured before stays in the tables. For tables of {count} give "
                "another folder with --output."
            )
        results = []
        with ProgressBar(total=len(indices) * len(candidates), unit="image") as bar:
            for evaluation, of_image in zip(evaluations, of_images):
                try:
                    _measure_missing(evaluation, of_image, indices, shown, bar)
                finally:
                    results.append(evaluation.summarise())
        _refuse_lost(evaluations, indices, shown)
        for evaluation, result in zip(evaluations, results):
            _write(result.folder, [evaluation], [result], shown)
        if len(results) > 1:
            _write(folder, evaluations, results, shown)
        _refuse_lost(evaluations, indices, shown)
        return results


def _refuse_lost(evaluations: Sequence[Evaluation], indices: Iterable[int], shown: Iterable[str]) -> None:
    """Raises EvaluationLost where a folder was emptied or removed meanwhile."""
    for evaluation in evaluations:
        evaluation.refuse_lost([evaluation.test_set.source.names[index] for index in indices], shown)


def _network(file: Path, test_set: TestSet, options: Mapping) -> tuple[dict, Measured]:
    """What determines a network's figures, and how they are measured."""
    sha256 = sha256_of(file)
    run, restorer = run_of(file), Restorer(load_model(file), **options)
    if sha256_of(file) != sha256:
        raise EvaluationError(f"{file}: was replaced while it was read, as by a training. Try again.")
    restorer(np.zeros((64, 64, 3), np.uint8), scale=1)  # or the first image's seconds would be mostly its set-up
    about = {
        "model": {
            "file": str(file),
            "sha256": sha256,
            "parameters": restorer.model.count_params(),
            "experiment": recorded_experiment(run.config).name if run else None,
        },
        "data": test_set.about,
        "restoration": dict(options),
    }
    return about, lambda index: measure(restorer, test_set.source.read(index))


def _finished(pictures: FinishedPictures, test_set: TestSet) -> tuple[dict, Measured]:
    """What determines the figures of finished pictures, and how they are measured."""

    def of_image(index: int) -> tuple[dict, np.ndarray]:
        restored = pictures.read(index)
        return measure_finished(restored, test_set.source.read(index)), restored

    return {**pictures.about(), "data": test_set.about}, of_image


def _measure_missing(evaluation: Evaluation, of_image: Measured, indices, shown, bar) -> None:
    """Measures the images that have no row yet, and restores those once more that a picture lacks."""
    source = evaluation.test_set.source
    rows, failed = evaluation.read_rows(), []
    bar.update(sum(source.names[index] in rows for index in indices))
    for index in indices:
        name = source.names[index]
        is_missing = name in shown and not evaluation.restored(name).is_file()
        if name in rows and not is_missing:
            continue
        try:
            row, restored = of_image(index)
        except (ImageError, PairsError) as error:
            failed.append(str(error))
            continue
        except NonFiniteOutput as error:
            failed.append(f"{name}: {error}")
            continue
        if name not in rows:
            evaluation.add(name, row)
            rows[name] = row
            mean = means(list(rows.values()))
            psnr, before = mean["restored"]["psnr"], mean["blurry"]["psnr"]
            bar.set_postfix_str(f"{shown_name(evaluation.label)}: {psnr:.2f} dB, blurry {before:.2f} dB", refresh=False)
            bar.update()
        if is_missing:
            write_image(evaluation.restored(name), restored)
    if failed:
        raise EvaluationError(
            f"{len(failed)} images cannot be measured; the others are. Mend or remove:",
            *(f"  {line}" for line in failed),
        )


def _default_shown(measured: Sequence[str]) -> dict[str, Sequence[tuple[int, int]]]:
    """Three of the measured images: those that the report names, and others evenly spread."""
    chosen = [name for name in REPORT_FRAMES if name in measured]
    others = [name for name in measured if name not in chosen]
    chosen += [others[i] for i in spread(len(others), 3 - len(chosen))]
    return dict.fromkeys(chosen, ())


def _read(test_set: TestSet, name: str) -> np.ndarray:
    return test_set.source.read(test_set.source.names.index(name))


def _check_corners(shown, test_set: TestSet) -> None:
    for name, corners in shown.items():
        for left, top in corners:
            height, width, _ = _read(test_set, name).shape
            side = min(DETAIL_SIDE, height, width)
            if left > width - side or top > height - side:
                raise EvaluationError(
                    f"--pictures {name}@{left},{top}: the detail of {side} pixels lies outside the image of "
                    f"{width}x{height}; allowed are corners up to {width - side},{height - side}."
                )


def _write(folder: Path, evaluations: Sequence[Evaluation], results: Sequence[Result], shown) -> None:
    """report.md and figures/ of one network or of several compared."""
    overviews, close_ups = [], []
    for name, corners in shown.items():
        blurry, sharp = np.split(_read(evaluations[0].test_set, name), 2, axis=2)
        restored = [read_rgb(evaluation.restored(name)) for evaluation in evaluations]
        panels = [(f"blurry {results[0].rows[name]['blurry_psnr']:.2f} dB", blurry)]
        for result, image in zip(results, restored):
            title = result.label if len(results) > 1 else "restored"
            panels.append((f"{title} {result.rows[name]['psnr']:.2f} dB", image))
        panels.append(("sharp", sharp))
        overviews.append(overview([image for _, image in panels], [title for title, _ in panels], name))
        side = min(DETAIL_SIDE, *sharp.shape[:2])
        corners = list(corners) or worst_details(restored, sharp, side, DETAILS)
        close_ups.append(details(panels, corners, side, name))
    captions = {
        "figures/overview.png": "blurry, restored, sharp, with the PSNR of the whole image",
        "figures/details.png": "details, where the error is largest unless chosen, in double size",
        "figures/gain.png": "gain over the blurry image's PSNR, a point an image",
    }
    write_image(folder / "figures" / "overview.png", stacked(overviews))
    write_image(folder / "figures" / "details.png", stacked(close_ups))
    plot_gains(folder / "figures" / "gain.png", results)
    if len(results[0].summary["scenes"]) > 1:
        captions["figures/scenes.png"] = "mean gain by scene"
        plot_scenes(folder / "figures" / "scenes.png", results)
    frames = REPORT_FRAMES if is_gopro(results[0]) else ()
    write_markdown(folder / "report.md", results, list(dict.fromkeys([*frames, *shown])), captions)
