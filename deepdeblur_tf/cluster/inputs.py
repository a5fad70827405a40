"""The photos that a call names, one after another, so that a million of them need no memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from deepdeblur_tf.cluster import storage
from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.restoration.inputs import PredictionError, expanded, without_results


class PhotoFile(NamedTuple):
    """One photo to restore.

    Attributes:
        source: Its place.
        target: The place of its restored form.
        size: In bytes; -1 for one that is not there.
        mtime_ns: When the file was changed, in nanoseconds since 1970.
    """

    source: str
    target: str
    size: int
    mtime_ns: int


def find_photos(
    inputs: Sequence[str], output: str, left_alone: Callable[[str], object] = lambda place: None
) -> Iterator[PhotoFile]:
    """Finds the photos to restore.

    Args:
        inputs: Places, as `restoration.inputs.expanded` has them.
        output: The place of the results' folder.
        left_alone: As `restoration.inputs.expanded` has it.

    Raises:
        PredictionError: an input that is not there or holds no photo, two photos for one result, a result that would
            replace a photo.
    """
    identity = storage.Identity()
    seen: dict[int, int] = {}  # by hashes, for the names of a million take a gigabyte
    links: set[int] = set()  # what lies behind photos that are links
    for where in without_results(storage, list(inputs), output):
        for file, below in expanded(storage, where, output, SUFFIXES, "photo", left_alone):
            photo = PhotoFile(file.place, f"{output}/{below}", file.size, file.mtime_ns)
            target, source = hash(identity(photo.target)), hash(identity(photo.source))
            if target in seen and seen[target] == source:
                continue  # named twice
            if target in seen:
                raise PredictionError(
                    f"{photo.source} and another photo would both become {photo.target}. Restore them into two folders."
                )
            seen[target] = source
            if os.path.islink(photo.source):
                links.add(hash(identity(os.path.realpath(photo.source))))
            yield photo
    if not seen.keys().isdisjoint({*seen.values(), *links}):
        raise PredictionError(f"{output}: a result would replace one of the photos. Give another folder with --output.")
