"""A folder of sharp photos, from which pairs are made while the training runs (`data.layout: photos`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from deepdeblur_tf.config import Data, Experiment
from deepdeblur_tf.data.protocol import DataSet, PairsError, Source, TestSet, fingerprint, refuse_smaller
from deepdeblur_tf.errors import need
from deepdeblur_tf.files import user_path, walk
from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.images.rgb import image_size
from deepdeblur_tf.terminal import shown_name

VALIDATION_SIDE = 256  # pixels
_VALIDATED_ONE_IN = 10  # one of so many photos is validated on


@dataclass(frozen=True)
class PhotoSplit:
    """The photos of one split.

    Attributes:
        root: The folder.
        split: "train" or "validation".
        files: Sorted.
        left_out: What is wrong with each photo that cannot be used.
        unit: What is counted.
    """

    root: Path
    split: str
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()
    unit = "photos"

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.files)

    def fingerprint(self) -> str:
        """A text that changes with the photos; see `protocol.fingerprint`."""
        return fingerprint((file.relative_to(self.root).as_posix(), [file]) for file in self.files)

    def describe(self) -> str:
        """What was found."""
        told = f"{self.split}: pairs made from {len(self)} photo{'s' * (len(self) > 1)} in {self.root}"
        return "\n  left out: ".join((shown_name(told), *self.left_out))


def find_sharp_photos(root, smallest: int, on_error: str = "stop") -> tuple[PhotoSplit, PhotoSplit]:
    """The photos to train on, and those to validate on: every tenth, in the order of their names; of one, none.

    Args:
        root: The folder; its sub-folders' photos count too.
        smallest: Height and width must be at least this many pixels.
        on_error: "skip" leaves out photos that cannot be used, in place of an error.

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
    """
    root = user_path(root)
    if not root.is_dir():
        raise PairsError(f"{root}: no such folder. Give a folder of photos.")
    files = sorted(file for _, files in walk(root) for file in files if file.suffix.lower() in SUFFIXES)
    if not files:
        raise PairsError(f"{root}: holds no photos. Looked for files ending in {', '.join(SUFFIXES)}.")
    left_out: dict[Path, str] = {}
    for file in files:
        try:
            refuse_smaller(file, image_size(file), smallest, " Lower data.patch_size or take the photo out.")
        except (PairsError, ImageError) as error:
            if on_error == "stop":
                raise
            left_out[file] = str(error)
    files = [file for file in files if file not in left_out]
    if not files:
        raise PairsError(f"{root}: not one of its {len(left_out)} photos can be used. {[*left_out.values()][-1]}")
    validation = files[::_VALIDATED_ONE_IN] if len(files) > 1 else []
    taken = [file for number, file in enumerate(files) if number % _VALIDATED_ONE_IN or not validation]
    train = PhotoSplit(root, "train", tuple(taken), tuple(left_out.values()))
    return train, PhotoSplit(root, "validation", tuple(validation))


def find(experiment: Experiment) -> DataSet:
    """As `protocol.Kind` has it.

    All validation pairs are blurred, whatever `synthesis.unblurred` says: a mean PSNR before the restoration would
    mostly tell how many were not.
    """
    need("cv2", "synthesis", "data.layout: photos")
    data, settings, seed = experiment.data, experiment.synthesis, experiment.seed
    train, validation = find_sharp_photos(data.root, data.patch_size, data.on_error)
    images = experiment.validation.images if validation else 0

    def opened() -> tuple[Source, Source]:
        from deepdeblur_tf.data.made_pairs import MadePairs, PhotoCache  # needs OpenCV

        cache = PhotoCache()
        return (
            MadePairs(train.files, cache, data.pairs, data.patch_size, settings, seed, "train"),
            MadePairs(
                validation.files,
                cache,
                images,
                VALIDATION_SIDE,
                replace(settings, unblurred=0, flat=0),
                seed,
                "validation",
            ),
        )

    return DataSet((train, validation), data.pairs, opened)


def find_test_set(data: Data, was_trained_on: bool) -> TestSet:
    """As `protocol.Kind` has it: there is none."""
    raise PairsError(f"{data.root} holds sharp photos, no test set; name what to measure on with --data.")


def in_words(data: Data) -> str:
    """As `protocol.Kind` has it."""
    return f"pairs made from the photos in `{Path(data.root).name}`"
