"""Restores pictures and videos: python -m deepdeblur_tf.predict MODEL INPUT [INPUT ...] --output DIR
or, by the network that comes with the package and into the folder `restored`: deepdeblur restore INPUT [INPUT ...]

What is in the output folder already is skipped, so the same command goes on after an interruption. Results of another
network, with other options or of a file that has changed since are restored again, and whatever else lies there is left
alone: restored.jsonl in the output folder says what each result was made of.
"""

from __future__ import annotations

import argparse
import collections
import errno
import functools
import os
import sys
import traceback
from pathlib import Path

import numpy as np

from deepdeblur_tf.command_line import (
    MODEL,
    ProgressBar,
    add_restoration_arguments,
    answered,
    decisive,
    ending,
    folder_name,
    print_foreign,
    print_left_alone,
    print_remarks,
    restoration_options,
)
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import sha256_of
from deepdeblur_tf.images.formats import TITLES
from deepdeblur_tf.images.videos import middle_frames
from deepdeblur_tf.networks.location import model_file
from deepdeblur_tf.restoration.inputs import PredictionError
from deepdeblur_tf.restoration.jobs import Job, Plan, find_jobs, is_restored, plan_of, run_job
from deepdeblur_tf.restoration.results import RECORD, Results
from deepdeblur_tf.restoration.scale import HARDLY_CHANGED, LEAST_CHANGE
from deepdeblur_tf.terminal import shown_name

_DESCRIPTION = (
    f"Restores blurry pictures ({TITLES}) and videos of any size. Names, sub-folders, formats, EXIF data, "
    "colour profiles, transparency and videos' sounds are kept; a second picture within a photo's file is not. Results "
    "in the output folder of the same files by the same network and options are skipped."
)


def main(arguments=None, prog="python -m deepdeblur_tf.predict") -> int:
    """The command; returns the exit status: 0, 1 when files failed or are in the way, 2 for wrong inputs, 130."""
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION)
    parser.add_argument("model", **MODEL)
    return _run(parser, arguments, required=True, help="The folder for the results.")


def restore(arguments=None, prog="deepdeblur restore") -> int:
    """The same command with a network and an output folder unless others are given."""
    parser = argparse.ArgumentParser(prog=prog, description=_DESCRIPTION)
    unless = "Defaults to %(default)s."
    parser.add_argument("--model", metavar="MODEL", default="photographs", help=f"{MODEL['help']} {unless}")
    return _run(parser, arguments, default="restored", help=f"The folder for the results. {unless}")


def _run(parser: argparse.ArgumentParser, arguments, **output) -> int:
    """Adds the flags that both have, with `output` for --output, and does the work."""
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help='Files, folders, patterns such as "photos/**/*.jpg", or text files that name a file in each line (.txt).',
    )
    parser.add_argument("--output", type=folder_name, metavar="DIR", **output)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Restore again what is in the output folder already, also over files that this command did not write.",
    )
    parser.add_argument(
        "--comparison",
        action="store_true",
        help="Also write a picture of both side by side, such as photo.jpg.comparison.png.",
    )
    add_restoration_arguments(parser)
    flags = parser.parse_args(arguments)
    stopped = f"stopped. The same command goes on; what is done is in {shown_name(flags.output)}."
    return answered(lambda: _predict(flags), stopped)


def _predict(flags) -> int:
    file, output = model_file(flags.model), Path(flags.output)
    jobs, others = find_jobs(flags.inputs, output, flags.comparison)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictionError(f"--output {output}: cannot be a folder ({error.strerror}).") from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise PredictionError(f"--output {output}: cannot be written to ({os.strerror(errno.EACCES)}).")
    print_left_alone(collections.Counter(map(ending, others)), "picture or video")

    options = restoration_options(flags)
    results = Results(output, {"network": sha256_of(file), "options": decisive(options)})
    results.read()
    plans, failed = {}, {}
    for job in jobs:
        try:
            plans[job] = plan_of(job, results, flags.comparison, flags.overwrite)
        except OSError as error:
            failed[job] = shown_name(f"{job.source}: {error.strerror}")
    foreign = _say_what_is_there(flags, plans, results)
    pixels = {}
    for job in (job for job, plan in plans.items() if plan.todo):
        try:
            pixels[job] = job.pixels()
        except UserError as error:
            failed[job] = shown_name(error)
    if pixels:
        failed.update(_restore_all(flags, file, results, options, pixels))
    results.read()
    there = {job for job in jobs if is_restored(job, results)}
    print(f"restored: {len(there)} of {len(jobs)} files are in {shown_name(output)}")
    for job in jobs:
        known = job in failed or job.target in foreign
        if not known and (job not in there or plan_of(job, results, flags.comparison).todo):
            changed = "was changed meanwhile, or what was made of it; the same command goes on"
            failed[job] = f"{shown_name(job.source)}: {changed}"
    if failed:
        print(f"failed: {len(failed)}", *failed.values(), sep="\n  ", file=sys.stderr)
    return 1 if failed or foreign else 0


def _say_what_is_there(flags, plans: dict[Job, Plan], results: Results) -> list[Path]:
    """Says what the output folder holds already; returns the files in it that are left alone."""
    foreign = [path for plan in plans.values() for path in plan.foreign]
    done = sum(not plan.todo and not plan.foreign for plan in plans.values())
    output = shown_name(flags.output)
    if done:
        print(f"{done} of {len(plans)} files are in {output} already; --overwrite restores them again.")
    outdated = [job for job, plan in plans.items() if job.target in plan.todo and results.made_of(job.target)]
    if outdated and not flags.overwrite:
        print(
            f"{len(outdated)} files in {output} are by another network, with other options, or of a source that "
            "has changed since, and are restored again."
        )
    print_foreign(list(map(shown_name, foreign)), flags.output, RECORD)
    return foreign


def _restore_all(flags, file: Path, results: Results, options: dict, pixels: dict[Job, int]) -> dict[Job, str]:
    """Restores the files; returns the messages of those that failed."""
    from deepdeblur_tf.networks.archive import load_model
    from deepdeblur_tf.restoration.restorer import Restorer

    restorer = Restorer(load_model(file), **options)
    if sha256_of(file) != results.method["network"]:
        raise PredictionError(f"{file}: was replaced while it was read, as by a training. Try again.")
    failed: dict[Job, str] = {}
    remarks: dict[str, list[str]] = {}  # names of files, by what is not as it was
    changes: list[float] = []  # of a file's frames
    with ProgressBar(total=sum(pixels.values()), unit=" pixels", unit_scale=True) as bar:

        def restored(frame: np.ndarray, scale: float | None = None) -> np.ndarray:
            start, size = bar.n, frame.shape[0] * frame.shape[1]
            result = restorer(frame, lambda fraction: bar.update(start + round(fraction * size) - bar.n), scale)
            changes.append(restorer.change)
            return result

        for number, job in enumerate(pixels, 1):
            bar.set_postfix_str(
                f"file {number} of {len(pixels)}: {shown_name(job.source.name)}", refresh=sys.stderr.isatty()
            )
            begin, name = bar.n, shown_name(job.source)
            changes.clear()
            try:
                results.read()  # another process may have written it meanwhile
                todo = plan_of(job, results, flags.comparison, flags.overwrite).todo
                if todo:
                    restore = restored
                    if job.is_video and job.target in todo and options["scale"] == "auto":
                        (middle,) = middle_frames(job.source)  # one scale for all frames, or they would flicker
                        restore = functools.partial(restored, scale=restorer.scale_of(middle))
                    said = run_job(job, todo, results, restore, lambda: {"scale": restorer.scale})
                    if job.target in todo:
                        said += [f"restored at scale {restorer.scale:g}"] if restorer.scale < 1 else []
                        said += [HARDLY_CHANGED] if max(changes) < LEAST_CHANGE else []
                    for remark in said:
                        remarks.setdefault(remark, []).append(job.source.name)
            except (UserError, MemoryError) as error:
                failed[job] = shown_name(error if name in str(error) else f"{name}: {error}")
            except OSError as error:
                place = job.target if job.source.exists() else job.source
                failed[job] = shown_name(f"{place}: {error.strerror or error}")
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    failed[job] += ". Nothing more can be written; the same command goes on with the rest."
                    failed.update({left: shown_name(f"{left.source}: not begun") for left in list(pixels)[number:]})
                    break
            except Exception:  # a defect of ours, which keeps no other file from being restored
                failed[job] = f"{shown_name(job.source)}: {traceback.format_exc()}"
            bar.update(begin + pixels[job] - bar.n)
    print_remarks(remarks)
    return failed


if __name__ == "__main__":
    sys.exit(main())
