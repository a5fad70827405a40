"""Finished pictures of any program, beside the pairs of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from deepdeblur_tf.command_line import shortened
from deepdeblur_tf.data.protocol import TestSet, fingerprint
from deepdeblur_tf.data.sources import Files
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import walk
from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.rgb import image_size, read_rgb

_LEVELS = 3  # folders above those of the images, as in GOPRO_Large/test/<scene>/blur


class FinishedPictures:
    """The pictures that a program made of a data set's blurry images.

    They have the names of the pairs or the paths of the blurry images, from any of the data set's folders on, and any
    suffix that is read: of GOPRO GOPR0384_11_00/000001.png or test/GOPR0384_11_00/blur/000001.jpg.

    Args:
        folder: Where they are.
        test_set: The pairs.

    Raises:
        UserError: there is no such folder, no picture of such a name, or two of one name.
    """

    def __init__(self, folder: Path, test_set: TestSet):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder. Give the one that holds the finished pictures.")
        self.folder, self._source = folder, test_set.source
        there: dict[str, list[Path]] = {}
        for path in sorted(file for _, files in walk(folder) for file in files):
            if path.suffix.lower() in SUFFIXES:
                there.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
        ways = list(_ways(test_set))
        self._expected = max(ways, key=lambda names: len(there.keys() & set(names)))
        self._files = [there.get(name, []) for name in self._expected]
        if not any(self._files):
            looked_for = [names[0] for names in ways]
            raise UserError(
                f"{folder}: holds no picture of the data set. Looked for {' or '.join(dict.fromkeys(looked_for))} and "
                f"so on, ending in {', '.join(SUFFIXES)}."
            )
        for files in self._files:
            if len(files) > 1:
                raise UserError(f"{files[1]}: has the same name as {files[0]}; which one is meant?")

    def check(self, indices: Iterable[int]) -> None:
        """Checks by their headers that pictures are there, and as large as the sharp ones, before the long work.

        Args:
            indices: Of the pairs.

        Raises:
            UserError: names all that are not.
        """
        faults = []
        for index in indices:
            if not self._files[index]:
                faults.append(f"{self.folder / self._expected[index]}.*: no such picture")
                continue
            (file,) = self._files[index]
            try:
                (height, width), (sharp_height, sharp_width) = image_size(file), self._sharp_size(index)
            except ImageError as error:
                faults.append(str(error))
                continue
            if (height, width) != (sharp_height, sharp_width):
                faults.append(f"{file}: is {width}x{height}, the sharp picture {sharp_width}x{sharp_height}")
        if faults:
            told = f"{len(faults)} pictures of {self.folder} cannot be measured; nothing was. Add or mend them:"
            raise UserError(told, *(f"  {line}" for line in shortened(faults)))

    def _sharp_size(self, index: int) -> tuple[int, int]:
        if isinstance(self._source, Files):
            return image_size(self._source.pairs[index].sharp)
        height, width, _ = self._source.read(index).shape
        return height, width

    def about(self) -> dict:
        """What determines their figures, for the summary."""
        named = [(name, files) for name, files in zip(self._source.names, self._files) if files]
        return {"pictures": {"folder": str(self.folder), "fingerprint": fingerprint(named), "found": len(named)}}

    def read(self, index: int) -> np.ndarray:
        """One picture: uint8 [H, W, 3]. Raises ImageError."""
        return read_rgb(self._files[index][0])


def _ways(test_set: TestSet) -> Iterator[list[str]]:
    """How the finished pictures of the pairs may be named: each name without its suffix."""
    yield list(test_set.source.names)
    if isinstance(test_set.source, Files):
        files = [pair.blurry for pair in test_set.source.pairs]
        base = Path(os.path.commonpath([file.parent for file in files]))
        for folder in (base, *list(base.parents)[:_LEVELS]):
            yield [file.relative_to(folder).with_suffix("").as_posix() for file in files]
