"""Restores any number of photos: python -m deepdeblur_tf.predict_many MODEL INPUT [INPUT ...] --output DIR

With Ray, on this machine or on the machines of a cluster. manifest.parquet in the output folder has a row for each
photo. What it says is done is skipped, so the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deepdeblur_tf.claims import claimed
from deepdeblur_tf.command_line import (
    MODEL,
    SHOWN,
    ProgressBar,
    add_restoration_arguments,
    answered,
    decisive,
    ending,
    folder_name,
    number,
    print_foreign,
    print_left_alone,
    print_remarks,
    restoration_options,
    shortened,
)
from deepdeblur_tf.errors import need
from deepdeblur_tf.files import disk_fault
from deepdeblur_tf.images.formats import TITLES
from deepdeblur_tf.networks.location import model_file
from deepdeblur_tf.restoration.inputs import PredictionError
from deepdeblur_tf.restoration.scale import LEAST_CHANGE
from deepdeblur_tf.terminal import shown_name

if TYPE_CHECKING:
    from deepdeblur_tf.cluster.manifest import Manifest


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description=f"Restores any number of photos ({TITLES}) as predict does, by processes on this "
        "machine or on many, from and into folders or object stores (s3://, gs://). manifest.parquet in the output "
        "folder has a row for each photo, the bad ones too; what it says is done is skipped.",
    )
    parser.add_argument("model", **MODEL)
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help='Files, folders, patterns such as "photos/**/*.jpg", or text files that name a photo in each line (.txt); '
        "paths or addresses such as s3://bucket/photos.",
    )
    parser.add_argument(
        "--output", type=folder_name, metavar="DIR", required=True, help="The folder for the results, or its address."
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Restore again what is in the output folder already, also into a folder with other files.",
    )
    group = parser.add_argument_group("processes")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="HOST:PORT of a Ray cluster's head, or auto for the cluster that this machine belongs to. Defaults to "
        "this machine alone.",
    )
    group.add_argument(
        "--cpus",
        type=number(int, lambda value: value >= 1, "a whole number above 0"),
        default=1,
        metavar="CORES",
        help="The cores of each process. Defaults to 1.",
    )
    group.add_argument(
        "--gpus",
        type=number(
            float, lambda value: 0 <= value <= 1 or value.is_integer() and value > 1, "0 to 1, or a whole number"
        ),
        default=0.0,
        metavar="GPUS",
        help="The GPUs of each process; 0.25 lets four share one. Defaults to 0.",
    )
    add_restoration_arguments(parser)
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.predict_many") -> int:
    """The command; returns the exit status: 0, 1 when photos failed, 2 for wrong inputs, 130."""
    flags = _parser(prog).parse_args(arguments)
    stopped = f"stopped. The same command goes on; what is done is in {shown_name(flags.output)}."
    return answered(lambda: _predict_many(flags), stopped)


def _predict_many(flags) -> int:
    try:
        return _restore(flags)
    except OSError as error:
        if error.filename or disk_fault(error):
            raise
        raise PredictionError(str(error)) from error  # of an object store, as pyarrow tells it


def _restore(flags) -> int:
    file = model_file(flags.model)
    for package in ("ray", "pyarrow"):
        need(package, "cluster", "predict_many")
    from deepdeblur_tf.cluster import pool, storage
    from deepdeblur_tf.cluster.manifest import FOLDER

    inputs, output = [storage.place(text) for text in flags.inputs], storage.place(flags.output)
    try:
        output.encode()
    except UnicodeEncodeError as error:
        raise PredictionError(f"--output {flags.output}: its name is no UTF-8, as Parquet needs it.") from error
    pool.refuse_unreachable(flags.ray)
    try:
        there = storage.names(output)
        if there and FOLDER not in there and not flags.overwrite:
            raise PredictionError(
                f"--output {flags.output}: holds files that this command did not write, such as {there[0]}. Give "
                "another folder, or --overwrite."
            )
        if storage.is_local(output):
            Path(output, FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictionError(f"--output {flags.output}: cannot be written ({error}).") from error
    # Two would read one list of what is to be done. Object stores have no locks.
    folder = Path(output, FOLDER)
    own = claimed(folder, "predict_many", PredictionError) if storage.is_local(output) else contextlib.nullcontext()
    with own:
        return _restore_into(output, inputs, file, flags)


def _restore_into(output: str, inputs: list[str], file: Path, flags) -> int:
    from deepdeblur_tf.cluster import pool, storage, worklist
    from deepdeblur_tf.cluster.inputs import PhotoFile, find_photos
    from deepdeblur_tf.cluster.manifest import FOLDER, Manifest

    begun, left = worklist.left(output)
    try:
        worklist.write(output, left, begun)  # as it was: to learn whether that is possible
    except OSError as error:
        raise PredictionError(f"--output {flags.output}: cannot be written ({error}).") from error
    network, options = file.read_bytes(), restoration_options(flags)
    manifest = Manifest(output, hashlib.sha256(network).hexdigest(), decisive(options))
    known = manifest.known()
    if manifest.adopt(worklist.left(output)[1], begun, known):
        known = manifest.known()
    if manifest.damaged:
        damaged = map(shown_name, manifest.damaged)
        print("set aside, for it cannot be read; results that it alone told of are left alone:", *damaged, sep="\n  ")
    found, foreign, others = 0, list[str](), collections.Counter[str]()
    is_new = not set(storage.names(output)) - {FOLDER}

    def to_do() -> Iterator[PhotoFile]:
        nonlocal found
        photos = find_photos(inputs, output, lambda place: others.update([ending(place)]))
        while batch := list(itertools.islice(photos, 1000)):  # object stores answer many at a time
            found += len(batch)
            todo = [photo for photo in batch if flags.overwrite or not known.is_done(photo)]
            if flags.overwrite or is_new:
                yield from todo
                continue
            for photo, result in zip(todo, storage.described([photo.target for photo in todo])):
                if known.is_foreign(photo, result):
                    foreign.append(shown_name(photo.target))
                else:
                    yield photo

    count = worklist.write(output, to_do(), time.time_ns())
    print_left_alone(others, "photo")
    done = found - count - len(foreign)
    if done:
        there = shown_name(flags.output)
        print(f"{done} of {found} photos are in {there} already; --overwrite restores them again.")
    failed: list[str] = []
    if count:
        with pool.connected(flags.ray):
            pool.refuse_too_large(flags.cpus, flags.gpus)
            # Closed before Ray is: a stop would leave it to threads that still ask Ray for results, and die of that.
            with contextlib.closing(pool.restored(output, network, options, flags.cpus, flags.gpus)) as groups:
                failed = _watch(groups, count, manifest)
    failed += manifest.fail_gone()
    manifest.merge()
    with contextlib.suppress(FileNotFoundError):  # the folder may have been removed meanwhile
        storage.remove(worklist.place(output))
    there = f"{found - len(failed) - len(foreign)} of {found} photos are in {shown_name(flags.output)}"
    print(f"restored: {there}; {FOLDER} there tells of each")
    print_foreign(foreign, flags.output, FOLDER)
    if failed:
        print(f"failed: {len(failed)}", *shortened(failed, f"more, in {FOLDER}"), sep="\n  ", file=sys.stderr)
    return 1 if failed or foreign else 0


def _watch(groups: Iterable[list[dict]], count: int, manifest: Manifest) -> list[str]:
    """Writes rows into the manifest as they come, and shows the progress; returns the messages of those that failed."""
    pixels = 0
    failed: list[str] = []
    left_out: dict[str, list[str]] = {}  # names of photos, by what they lack in their restored form
    unchanged = 0
    with ProgressBar(total=count, unit="photo") as bar:
        try:
            for rows in groups:
                manifest.add(rows)
                failed += [row["error"] if len(failed) < SHOWN else "" for row in rows if row["status"] == "failed"]
                for row in rows:
                    for what in row.get("left_out", ()):
                        left_out.setdefault(f"left out: {what}", []).append(row["input"].rsplit("/", 1)[-1])
                unchanged += sum(row["change"] < LEAST_CHANGE for row in rows if row["status"] == "done")
                pixels += sum(row["width"] * row["height"] for row in rows if row["status"] == "done")
                bar.set_postfix_str(f"{pixels / 1e6 / bar.format_dict['elapsed']:.3g} megapixels/s", refresh=False)
                bar.update(len(rows))
        finally:
            manifest.write()
    print_remarks(left_out)
    if unchanged:
        print(f"hardly changed: {unchanged} photos, sharp already or blurred beyond the network's reach")
    return failed


if __name__ == "__main__":
    sys.exit(main())
