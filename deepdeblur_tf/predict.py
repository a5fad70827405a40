"""Restores pictures and videos: python -m deepdeblur_tf.predict MODEL INPUT [INPUT ...] --output DIR

What is in the output folder already is skipped, so the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import errno
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from deepdeblur_tf.command_line import add_restoration_arguments, answered, restoration_options
from deepdeblur_tf.images.rgb import ImageError
from deepdeblur_tf.restoration.jobs import Job, PredictionError, find_jobs, run_job
from deepdeblur_tf.runs.networks import model_file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deepdeblur_tf.predict",
        description="Restores blurry pictures (PNG, JPEG, BMP, TIFF) and videos of any size. Names, sub-folders, "
        "formats, EXIF data, colour profiles and transparency are kept; a second picture within a file and a video's "
        "titles are not. What is in the output folder already is skipped.",
    )
    parser.add_argument("model", metavar="MODEL", help="A finished run's folder, or a .keras file.")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help='Files, folders, or patterns such as "photos/**/*.jpg".'
    )
    parser.add_argument("--output", metavar="DIR", required=True, help="The folder for the results.")
    parser.add_argument("--overwrite", action="store_true", help="Restore again what is in the output folder already.")
    parser.add_argument(
        "--comparison",
        action="store_true",
        help="Also write a picture of both side by side, such as photo.jpg.comparison.png.",
    )
    add_restoration_arguments(parser)
    return parser


def main(arguments=None) -> int:
    """The command; returns the exit status: 0, 1 when files failed, 2 for wrong inputs or model, 130 when stopped."""
    flags = _parser().parse_args(arguments)
    return answered(lambda: _begin(flags), f"stopped. The same command goes on; what is done is in {flags.output}.")


def _begin(flags) -> int:
    model_file(flags.model)
    jobs, others = find_jobs(flags.inputs, flags.output, flags.comparison)
    try:
        Path(flags.output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictionError(f"--output {flags.output}: cannot be a folder ({error.strerror}).") from error
    if others:
        endings = sorted({file.suffix.lower() or file.name for file in others})
        shown = ", ".join(endings[:8]) + ", ..." * (len(endings) > 8)
        print(f"left alone, no picture or video by their names: {len(others)} files ({shown})")
    return _predict(flags, jobs)


def _is_done(job: Job, flags) -> bool:
    return job.is_restored(flags.overwrite) and (job.comparison.is_file() or not flags.comparison)


def _predict(flags, jobs: list[Job]) -> int:
    todo = [job for job in jobs if not _is_done(job, flags)]
    skipped = len(jobs) - len(todo)
    if skipped:
        print(f"{skipped} of {len(jobs)} files are in {flags.output} already; --overwrite restores them again.")
    failed, pixels = {}, {}
    for job in todo:
        try:
            pixels[job] = job.pixels()
        except ImageError as error:
            failed[job] = str(error)
    if pixels:
        failed.update(_restore_all(flags, pixels))
    there = sum(job.is_restored() for job in jobs)
    print(f"restored: {there} of {len(jobs)} files are in {flags.output}")
    if failed:
        print(f"failed: {len(failed)}", *failed.values(), sep="\n  ", file=sys.stderr)
    return 1 if failed else 0


def _restore_all(flags, pixels: dict[Job, int]) -> dict[Job, str]:
    """Restores the files; returns the messages of those that failed."""
    from deepdeblur_tf.restoration.restorer import Restorer
    from deepdeblur_tf.runs.networks import load_model

    restorer = Restorer(load_model(flags.model), **restoration_options(flags))
    failed = {}
    with tqdm(
        total=sum(pixels.values()),
        unit_scale=True,
        bar_format="{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} pixels [{elapsed}<{remaining}{postfix}]",
        mininterval=0.2 if sys.stderr.isatty() else 30,
        dynamic_ncols=True,
    ) as bar:
        for number, job in enumerate(pixels, 1):
            bar.set_postfix_str(f"file {number} of {len(pixels)}: {job.source.name}")
            begin = bar.n

            def restored(frame: np.ndarray) -> np.ndarray:
                start, size = bar.n, frame.shape[0] * frame.shape[1]

                def show(part: float) -> None:
                    bar.update(start + round(part * size) - bar.n)

                return restorer(frame, show)

            try:
                run_job(job, restored, flags.comparison, flags.overwrite)
            except ImageError as error:
                failed[job] = str(error)
            except Exception as error:  # whatever it is, the other files are restored
                failed[job] = f"{job.source}: {str(error) or type(error).__name__}".splitlines()[0]
                if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    failed[job] += ". Nothing more can be written; the same command goes on with the rest."
                    break
            bar.update(begin + pixels[job] - bar.n)
    return failed


if __name__ == "__main__":
    sys.exit(main())
