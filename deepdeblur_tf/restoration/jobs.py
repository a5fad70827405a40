"""Pictures and videos without a sharp partner, restored into a folder (report, section 5)."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images import photos, videos
from deepdeblur_tf.images.panels import comparison
from deepdeblur_tf.images.rgb import ImageError, write_image

SUFFIXES = (*photos.SUFFIXES, *videos.SUFFIXES)


class PredictionError(UserError):
    """Inputs or an output folder that cannot be used; the message says why and what to do."""


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

    def is_restored(self, overwrite: bool = False) -> bool:
        """Whether the result is there, and no older than its source."""
        if overwrite or not self.target.is_file():
            return False
        return not self.source.exists() or self.target.stat().st_mtime >= self.source.stat().st_mtime

    @property
    def comparison(self) -> Path:
        """The picture of both side by side."""
        return self.target.with_name(f"{self.target.name}.comparison.png")

    def pixels(self) -> int:
        """What there is to restore, all frames together. Raises ImageError for a file that cannot be read."""
        if self.source.suffix.lower() not in SUFFIXES:
            raise ImageError(f"{self.source}: no picture or video by its name; allowed: {', '.join(SUFFIXES)}.")
        return videos.video_pixels(self.source) if self.is_video else photos.photo_pixels(self.source)


def find_jobs(inputs: Sequence[str], output, with_comparison: bool = False) -> tuple[list[Job], list[Path]]:
    """Finds the files to restore.

    Args:
        inputs: Files, folders (with their sub-folders) and patterns such as "photos/**/*.jpg".
        output: The folder for the results. Files below a folder, or below the part of a pattern that is no pattern,
            keep their sub-folders in it.
        with_comparison: Whether pictures of both side by side are made, too.

    Returns:
        (the jobs, in the order of the inputs, files that cannot be read among them,
         the files of folders and patterns that are left alone, being no picture or video by their names).

    Raises:
        PredictionError: an input that is not there, two files for one result, a result in its input's place.
    """
    output = Path(output)
    jobs: dict[Path, Job] = {}
    others: list[Path] = []
    for text in inputs:
        for source, below in _expanded(text, output, others):
            job = Job(source, output / below)
            known = jobs.setdefault(job.target, job)
            if known.source.resolve() != source.resolve():
                raise PredictionError(
                    f"{known.source} and {source} would both become {job.target}. Restore them into two folders."
                )
    sources = {job.source.resolve(): job.source for job in jobs.values()}
    for job in jobs.values():
        results = [job.target, job.comparison] if with_comparison else [job.target]
        for result in results:
            if result.resolve() in sources or (result is not job.target and result in jobs):
                raise PredictionError(
                    f"{result} is an input or another result and would be overwritten. Give another folder with "
                    "--output."
                )
    return list(jobs.values()), others


def _expanded(text: str, output: Path, others: list[Path]):
    """(file, its place below the output folder) for one input; what is left alone is added to `others`."""
    path = Path(text).expanduser()
    if path.is_file():
        yield path, Path(path.name)
    elif path.is_dir():
        yield from ((file, file.relative_to(path)) for file in _files_below(path, output, others))
    elif glob.has_magic(text):
        found = sorted(glob.glob(str(path), recursive=True))
        parts = Path(path).parts
        root = Path(*parts[: next(i for i, part in enumerate(parts) if glob.has_magic(part))])
        files = [Path(name) for name in found if Path(name).is_file()]
        if output.resolve() != root.resolve():  # results of an earlier call are no inputs
            files = [file for file in files if output.resolve() not in file.resolve().parents]
        files = _pictures_and_videos(files, others)
        if not files:
            raise PredictionError(
                f"{text}: is no file or folder, and as a pattern of *, ? and [ ] matches no picture or video "
                f"({', '.join(SUFFIXES)})."
            )
        yield from ((file, file.relative_to(root)) for file in files)
    else:
        raise PredictionError(f"{text}: no such file or folder.")


def _pictures_and_videos(files: Sequence[Path], others: list[Path]) -> list[Path]:
    others += [file for file in files if file.suffix.lower() not in SUFFIXES]
    return [file for file in files if file.suffix.lower() in SUFFIXES]


def _files_below(folder: Path, output: Path, others: list[Path]) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise PredictionError(f"{error.filename}: cannot be read ({error.strerror}).") from error

    found, visited = [], {folder.resolve(), output.resolve()}  # results of an earlier call are no inputs
    for place, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [name for name in folders if name[0] != "." and Path(place, name).resolve() not in visited]
        visited.update(Path(place, name).resolve() for name in folders)  # links may lead round in circles
        found += [Path(place, name) for name in names if name[0] != "."]
    found = _pictures_and_videos(found, others)
    if not found:
        raise PredictionError(f"{folder}: holds no picture or video ({', '.join(SUFFIXES)}).")
    return sorted(found)


def run_job(
    job: Job, restore: Callable[[np.ndarray], np.ndarray], with_comparison: bool = False, overwrite: bool = False
) -> None:
    """Restores one file; one that is restored already only gets its comparison.

    Args:
        job: The file.
        restore: From uint8 [H, W, 3] to its restored form.
        with_comparison: Whether both are shown side by side in a picture, too.
        overwrite: Whether to restore again what is restored already.

    Raises:
        ImageError: the file cannot be read.
        OSError: the result cannot be written.
    """
    is_restored = job.is_restored(overwrite)
    if job.is_video:
        if not is_restored:
            videos.restore_video(job.source, job.target, restore)
        if with_comparison:
            _compare(job, videos.middle_frame(job.source), videos.middle_frame(job.target))
        return
    photo = photos.read_photo(job.source)
    restored = photos.read_photo(job.target).rgb if is_restored else restore(photo.rgb)
    if not is_restored:
        photos.write_photo(job.target, photo, restored)
    if with_comparison:
        _compare(job, photo.rgb, restored)


def _compare(job: Job, blurry: np.ndarray, restored: np.ndarray) -> None:
    picture = comparison([blurry, restored], [f"blurry: {job.source.name}", "restored"])
    write_image(job.comparison, picture)
