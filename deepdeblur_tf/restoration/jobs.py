"""Pictures and videos without a sharp partner, restored into a folder (report, section 5)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deepdeblur_tf.files import Identity
from deepdeblur_tf.images import formats, videos
from deepdeblur_tf.images.deep import to_8_bits
from deepdeblur_tf.images.encoders import written_suffix
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.panels import side_by_side
from deepdeblur_tf.images.picture_files import photo_pixels, read_photo, write_photo
from deepdeblur_tf.restoration.frames import restore_video
from deepdeblur_tf.restoration.inputs import PredictionError, ThisMachine, expanded, without_results
from deepdeblur_tf.restoration.results import Results

SUFFIXES = (*formats.SUFFIXES, *videos.SUFFIXES)


@dataclass(frozen=True)
class Job:
    """One file to restore.

    Attributes:
        source: The blurry file.
        target: Where its restored form goes.
    """

    source: Path
    target: Path

    @property
    def is_video(self) -> bool:
        return self.source.suffix.lower() in videos.SUFFIXES

    @property
    def comparison(self) -> Path:
        """The picture of both side by side."""
        return self.target.with_name(f"{self.target.name}.comparison.png")

    def pixels(self) -> int:
        """What there is to restore, all frames together. Raises ImageError for a file that cannot be read."""
        if self.source.suffix.lower() not in SUFFIXES:
            raise ImageError(f"{self.source}: no picture or video by its name; allowed: {', '.join(SUFFIXES)}.")
        if not self.is_video:
            return photo_pixels(self.source)
        frames, _, (height, width) = videos.footage(self.source)
        return height * width * frames


def find_jobs(inputs: Sequence[str], output, with_comparison: bool = False) -> tuple[list[Job], list[str]]:
    """Finds the files to restore.

    Args:
        inputs: Paths, as `inputs.expanded` has them.
        output: The folder for the results.
        with_comparison: Whether pictures of both side by side are made, too.

    Returns:
        (the jobs, in the order of the inputs, files that cannot be read among them,
         what is left alone in folders and for patterns, as `inputs.expanded` has it).

    Raises:
        PredictionError: an input that is not there, two files for one result, a result that would replace an input.
    """
    output = Path(output)
    jobs: dict[Path, Job] = {}
    others: list[str] = []
    store = ThisMachine()
    for place in without_results(store, list(map(store.place, inputs)), str(output)):
        found = expanded(store, place, str(output), SUFFIXES, "picture or video", others.append)
        for source, below in ((Path(file.place), below) for file, below in found):
            target = output / below
            if target.suffix.lower() in videos.SUFFIXES:
                target = target.with_suffix(written_suffix(target.suffix))
            job = Job(source, target)
            known = jobs.setdefault(job.target, job)
            if known is not job and known.source.resolve() != source.resolve():
                raise PredictionError(
                    f"{known.source} and {source} would both become {job.target}. Restore them into two folders."
                )
    identity = Identity()
    sources = [path for job in jobs.values() for path in (os.path.abspath(job.source), os.path.realpath(job.source))]
    taken = set(map(identity, sources))
    for job in jobs.values():
        results = [job.target, job.comparison] if with_comparison else [job.target]
        for result in results:
            places = os.path.abspath(result), os.path.realpath(result)
            if not taken.isdisjoint(map(identity, places)) or (result is not job.target and result in jobs):
                raise PredictionError(
                    f"{result} is an input or another result and would be overwritten. Give another folder with "
                    "--output."
                )
    return list(jobs.values()), others


@dataclass(frozen=True)
class Plan:
    """What is to be done about a job.

    Attributes:
        todo: Its results that are to be written: its target, its comparison, both or none.
        foreign: Files under its results' names that this command did not write as they are; they are left alone.
    """

    todo: tuple[Path, ...]
    foreign: tuple[Path, ...]


def plan_of(job: Job, results: Results, with_comparison: bool = False, overwrite: bool = False) -> Plan:
    """Finds out what is to be done about a job.

    Args:
        job: The file.
        results: The output folder's.
        with_comparison: Whether both are to be shown side by side in a picture, too. One from an earlier call is
            renewed in any case, or it would show an old result.
        overwrite: Whether to restore again what is restored already, and to replace what is foreign.

    Raises:
        OSError: the source is gone.
    """
    states = {job.target: results.state(job.target, results.recipe(job.source, "restored"))}
    if with_comparison or (results.made_of(job.comparison) or {}).get("kind") == "comparison":
        states[job.comparison] = results.state(job.comparison, results.recipe(job.source, "comparison"))
    if overwrite:
        return Plan(tuple(states), ())
    foreign = tuple(path for path, state in states.items() if state == "foreign")
    if job.target in foreign:  # there is nothing of ours to compare
        return Plan((), foreign)
    return Plan(tuple(path for path, state in states.items() if state in ("missing", "outdated")), foreign)


def is_restored(job: Job, results: Results) -> bool:
    """Whether a file's result is there, as `results` are to be made."""
    return job.source.exists() and results.state(job.target, results.recipe(job.source, "restored")) == "done"


def run_job(
    job: Job,
    todo: Sequence[Path],
    results: Results,
    restore: Callable[[np.ndarray], np.ndarray],
    about: Callable[[], dict] = dict,
) -> list[str]:
    """Writes a file's results.

    Args:
        job: The file.
        todo: Which of its results, as `plan_of` has them.
        results: The output folder's.
        restore: From uint8 or uint16 [H, W, 3] to its restored form.
        about: Called when the file is restored, for what the record is to tell of it; see `Results.write`.

    Returns:
        In what the result is not as the file was, in a few words each, as "left out: chapters".

    Raises:
        ImageError: the file cannot be read.
        OSError: a result cannot be written.
    """
    # Before the source is read, so that one that is replaced meanwhile leaves an outdated result.
    recipe, comparison_recipe = (results.recipe(job.source, kind) for kind in ("restored", "comparison"))
    remarks: list[str] = []
    profile = b""
    if job.is_video:
        if job.target in todo:
            write = lambda beside: remarks.extend(restore_video(job.source, beside, restore))  # noqa: E731
            results.write(job.target, recipe, write, about)
        if job.comparison in todo:
            blurry, restored = videos.middle_frames(job.source, job.target)
    else:
        photo = read_photo(job.source)
        remarks = [f"left out: {what}" for what in photo.left_out]
        blurry = photo.visible
        restored = restore(blurry) if job.target in todo else read_photo(job.target).visible
        if photo.has_colours:  # so that the comparison shows them as the photo does; one of greys does not fit
            profile = photo.metadata.icc
        if job.target in todo:
            results.write(job.target, recipe, lambda beside: write_photo(beside, photo, restored), about)
    if job.comparison in todo:
        picture = side_by_side([to_8_bits(blurry), to_8_bits(restored)], [f"blurry: {job.source.name}", "restored"])
        save = functools.partial(Image.fromarray(picture).save, icc_profile=profile or None)
        results.write(job.comparison, comparison_recipe, save)
    return remarks
