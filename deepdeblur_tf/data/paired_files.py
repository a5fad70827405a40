"""Pairs of blurry and sharp images on disk, in one of `deepdeblur_tf.layouts`."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepdeblur_tf.config import Data, Experiment
from deepdeblur_tf.data.protocol import DataSet, PairsError, Source, TestSet, fingerprint, refuse_smaller
from deepdeblur_tf.data.sources import Files, InMemory, OnDisk, Pair, decoded_bytes, spread
from deepdeblur_tf.files import user_path, walk
from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.images.rgb import USUAL_SUFFIXES, image_size
from deepdeblur_tf.layouts import BLURRY_MARKS, LAYOUTS, SHARP_MARKS, Named, unmarked
from deepdeblur_tf.terminal import shown_name

# A split is looked for under these names, the first found wins. GOPRO calls its validation set "test".
SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "test"),
    "test": ("test", "val", "valid", "validation"),
}

# Pairs in each scene of GOPRO_Large (Nah et al., CVPR 2017): 2103 for training, 1111 for testing.
# fmt: off
GOPRO_LARGE = {
    "train": {
        "GOPR0372_07_00": 100, "GOPR0372_07_01": 75, "GOPR0374_11_00": 150, "GOPR0374_11_01": 80,
        "GOPR0374_11_02": 100, "GOPR0374_11_03": 48, "GOPR0378_13_00": 110, "GOPR0379_11_00": 100,
        "GOPR0380_11_00": 60, "GOPR0384_11_01": 100, "GOPR0384_11_02": 100, "GOPR0384_11_03": 100,
        "GOPR0384_11_04": 100, "GOPR0385_11_00": 100, "GOPR0386_11_00": 100, "GOPR0477_11_00": 80,
        "GOPR0857_11_00": 100, "GOPR0868_11_01": 100, "GOPR0868_11_02": 100, "GOPR0871_11_01": 100,
        "GOPR0881_11_00": 100, "GOPR0884_11_00": 100,
    },
    "test": {
        "GOPR0384_11_00": 100, "GOPR0384_11_05": 100, "GOPR0385_11_01": 100, "GOPR0396_11_00": 100,
        "GOPR0410_11_00": 134, "GOPR0854_11_00": 100, "GOPR0862_11_00": 77, "GOPR0868_11_00": 100,
        "GOPR0869_11_00": 100, "GOPR0871_11_00": 100, "GOPR0881_11_01": 100,
    },
}
# fmt: on


@dataclass(frozen=True)
class PairedSplit:
    """The pairs of one split of a data set.

    Attributes:
        root: The data set's folder.
        split: "train", "validation" or "test".
        layout: A name of `layouts.LAYOUTS`.
        blur: The kind of blur: "blur" or "blur_gamma" (GOPRO only).
        pairs: Sorted by name.
        unit: What is counted.
    """

    root: Path
    split: str
    layout: str
    blur: str
    pairs: tuple[Pair, ...]
    unit = "pairs"

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.pairs)

    def fingerprint(self) -> str:
        """A text that changes with the pairs; see `fingerprint`."""
        return fingerprint((pair.name, (pair.blurry, pair.sharp)) for pair in self.pairs)

    def describe(self) -> str:
        """What was found: layout, kind of blur, pairs a scene; for GOPRO_Large also what is missing."""
        counts = collections.Counter(pair.scene for pair in self.pairs)
        scenes = f"{len(counts)} scene{'s' * (len(counts) > 1)}"
        lines = [
            f"{self.split}: {len(self.pairs)} pairs in {scenes} ({self.layout} layout, {self.blur}) in {self.root}"
        ]
        if LAYOUTS[self.layout].has_names and self.pairs:
            blurry, sharp = (path.relative_to(self.root) for path in (self.pairs[0].blurry, self.pairs[0].sharp))
            lines.append(f"  such as {blurry} (blurry) and {sharp} (sharp)")
        known = GOPRO_LARGE["train" if self.split == "train" else "test"]
        whole = known if self.layout == "gopro" else {}
        if set(counts) & set(whole):
            total = sum(whole.values())
            missing = sum(max(0, count - counts[scene]) for scene, count in whole.items())
            lines.append(
                f"  GOPRO_Large, {f'{missing} of {total} pairs missing' if missing else f'complete: {total} pairs'}"
            )
            counts.update(dict.fromkeys(set(whole) - set(counts), 0))
        for scene, count in sorted(counts.items()):
            if scene:
                expected = whole.get(scene, count)
                lines.append(f"  {scene}: {count}" + (f" of {expected} pairs" if count != expected else ""))
        return "\n".join(map(shown_name, lines))


def find_pairs(
    root, split: str, layout: str = "auto", blur: str = "blur", blurry: str = "", sharp: str = ""
) -> PairedSplit:
    """Finds the pairs of one split of a data set.

    Args:
        root: The data set's folder.
        split: "train", "validation" or "test"; the last two differ in what they take where a data set has both.
        layout: "auto", or one of
            "gopro": {train,test}/<scene>/{blur,blur_gamma,sharp}/*;
            "reds": {train,val}/{train,val}_{blur,sharp}/<sequence>/*;
            "paired": [{train,val,test}/][<scene>/]{input,target}/**/*, or {blur,sharp} and others of
            `layouts.PAIRED_NAMES`;
            "marked": [{train,val,test}/]**/<name>_{blur,sharp}.*, or others of `layouts.BLURRY_MARKS`.
            In the last two, without a folder for the split the root itself is the training set, and there is no
            validation set.
        blur: "blur" or "blur_gamma"; the latter exists in the gopro layout only.
        blurry: What the folder of blurry images is called, or their files' names end with, in the last two layouts.
        sharp: The same of the sharp ones. Both or neither.

    Returns:
        The pairs; none where the data set has no such split.

    Raises:
        PairsError: a missing or empty folder (with what was looked for), a blurry image without a sharp partner or
            the reverse, a layout that is not there.
    """
    root = user_path(root)
    if not root.is_dir():
        raise PairsError(f"{root}: no such folder. Give the one that the data set was unpacked into.")
    folder = next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)
    named = Named(blur, blurry, sharp)
    tried = {name: way for name, way in LAYOUTS.items() if way.has_names or not blurry}
    if layout != "auto":
        if layout not in tried:
            raise PairsError(f"data.blurry and data.sharp are for the layouts {' and '.join(tried)}, not for {layout}.")
        tried = {layout: LAYOUTS[layout]}
    has_splits = any((root / name).is_dir() for names in SPLITS.values() for name in names)
    if folder is None and not has_splits and split == "train":
        folder = root
    if folder is None:
        if split == "train":
            raise PairsError(f"{root}: has no training set. Looked for the folder {' or '.join(SPLITS[split])}.")
        return PairedSplit(root, split, layout, blur, ())
    for name, way in tried.items():
        found = list(way.folders(folder, named))
        if found:
            if blur == "blur_gamma" and not way.has_gamma:
                raise PairsError(f"{root}: blur_gamma exists in the gopro layout only; this is the {name} layout.")
            pairs = [pair for scene_and_folders in found for pair in _match(*scene_and_folders, named)]
            if pairs:
                return PairedSplit(root, split, name, blur, tuple(sorted(pairs, key=lambda pair: pair.name)))
    raise PairsError(
        f"{folder}: no pairs found. Looked for {'; '.join(way.looked_for(folder, named) for way in tried.values())}; "
        f"with images ending in {', '.join(SUFFIXES)}. Other names are told with data.blurry and data.sharp."
    )


def check_sizes(pairs, smallest: int) -> None:
    """Checks the headers of all images, so that a bad file is named before the long work and not in epoch 300.

    Args:
        pairs: The `Pair`s.
        smallest: Height and width must be at least this many pixels.

    Raises:
        PairsError: two sizes in one pair, or an image below `smallest`.
        ImageError: a file that is no 8-bit image.
    """
    for pair in pairs:
        size, sharp_size = image_size(pair.blurry), image_size(pair.sharp)
        if size != sharp_size:
            raise PairsError(
                f"two sizes in one pair: {pair.blurry} is {size[1]}x{size[0]}, "
                f"{pair.sharp} is {sharp_size[1]}x{sharp_size[0]}."
            )
        refuse_smaller(pair.blurry, size, smallest, " Lower data.patch_size or take the pair out.")


def find(experiment: Experiment) -> DataSet:
    """As `protocol.Kind` has it."""
    data = experiment.data
    train, validation = (_find(data, split) for split in ("train", "validation"))
    if data.on_error == "stop":
        check_sizes(train.pairs, data.patch_size)
    check_sizes(validation.pairs, 1)

    def opened() -> tuple[Source, Source]:
        measured = spread(len(validation), experiment.validation.images)
        return _cached(Files(train.pairs), data), _cached(Files([validation.pairs[index] for index in measured]), data)

    return DataSet((train, validation), len(train), opened)


def _find(data: Data, split: str) -> PairedSplit:
    return find_pairs(data.root, split, data.layout, data.blur, data.blurry, data.sharp)


def _cached(source: Files, data: Data) -> Source:
    if data.cache == "memory":
        return InMemory(source, sum(map(decoded_bytes, source.pairs)))
    return OnDisk(source, data.cache_folder) if data.cache == "disk" else source


def find_test_set(data: Data, was_trained_on: bool = False) -> TestSet:
    """As `protocol.Kind` has it; `data.root` may also be one split of the data set, such as GOPRO_Large/test."""
    test = _find(data, "test")
    if not test.pairs:
        whole = _find(data, "train")
        if was_trained_on:
            raise PairsError(f"{data.root} was trained on and has no test set; name other data with --data.")
        if any((test.root / name).is_dir() for name in SPLITS["train"]):
            raise PairsError(
                f"{data.root}: has no test set. Looked for the folder {' or '.join(SPLITS['validation'])}. To measure "
                "the training set name its own folder."
            )
        test = dataclasses.replace(whole, split="test")
    check_sizes(test.pairs, 1)
    about = {
        "root": str(test.root.resolve()),
        "layout": test.layout,
        "blur": data.blur,
        "pairs": len(test),
        "fingerprint": test.fingerprint(),
    }
    return TestSet(Files(test.pairs), [pair.scene for pair in test.pairs], about, test.describe())


def in_words(data: Data) -> str:
    """As `protocol.Kind` has it."""
    return f"`{Path(data.root).name}` (layout {data.layout}, `{data.blur}`)"


def _is_usual(path: Path) -> bool:
    return path.suffix.lower() in USUAL_SUFFIXES


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder and its sub-folders, by their path without suffix.

    Where a TIFF or the like has the name of a PNG, JPEG or BMP, the latter counts.
    """
    found: dict[str, Path] = {}
    for path in sorted(file for _, files in walk(folder) for file in files):
        if path.suffix.lower() in SUFFIXES:
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key not in found or _is_usual(path) > _is_usual(found[key]):
                found[key] = path
            elif _is_usual(path) == _is_usual(found[key]):
                raise PairsError(f"{path}: has the same name as {found[key]}; which one is meant?")
    return found


def _without_marks(images: dict[str, Path], marks: tuple[str, ...], has_others: bool) -> dict[str, Path]:
    """Images by their names without their mark; those that have none too, where there may be such."""
    found: dict[str, Path] = {}
    for key, path in images.items():
        subfolder, slash, stem = key.rpartition("/")
        name = unmarked(stem, marks)
        if name is not None or has_others:
            name = f"{subfolder}{slash}{name or stem}"
            if name in found:
                raise PairsError(f"{path}: is for the same pair as {found[name]}; which one is meant?")
            found[name] = path
    return found


def _without_strays(blurry: dict[str, Path], sharp: dict[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Leaves out TIFFs and the like that no pair is made of, where the pairs are PNGs, JPEGs or BMPs."""
    common = blurry.keys() & sharp.keys()
    if not common or any(not _is_usual(images[key]) for images in (blurry, sharp) for key in common):
        return blurry, sharp
    blurry, sharp = ({key: path for key, path in images.items() if _is_usual(path)} for images in (blurry, sharp))
    return blurry, sharp


def _in_one_folder(folder: Path, named: Named) -> tuple[dict[str, Path], dict[str, Path]]:
    """The blurry and the sharp images of a folder in which their names tell them apart."""
    images = _images(folder)
    blurry, sharp = (_without_marks(images, marks, has_others=False) for marks in named.marks)
    others = sorted(set(images.values()) - {*blurry.values(), *sharp.values()})
    if others:
        marks = (" or ".join(f"_{mark}" for mark in marks) for marks in named.marks)
        raise PairsError(f"{others[0]}: is it blurry or sharp? Its name should end in {', or in '.join(marks)}.")
    return blurry, sharp


def _in_two_folders(blurry_folder: Path, sharp_folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """The images of both folders by the names that pair most of them: their own, or those without marks."""
    blurry, sharp = _without_strays(_images(blurry_folder), _images(sharp_folder))
    if blurry.keys() != sharp.keys():
        bare_blurry = _without_marks(blurry, (*BLURRY_MARKS, blurry_folder.name), has_others=True)
        bare_sharp = _without_marks(sharp, (*SHARP_MARKS, sharp_folder.name), has_others=True)
        if len(bare_blurry.keys() & bare_sharp.keys()) > len(blurry.keys() & sharp.keys()):
            return bare_blurry, bare_sharp
    return blurry, sharp


def _match(scene: str, blurry_folder: Path, sharp_folder: Path, named: Named) -> Iterator[Pair]:
    for folder, partner in ((blurry_folder, sharp_folder), (sharp_folder, blurry_folder)):
        if not folder.is_dir():
            raise PairsError(f"{folder}: no such folder, but {partner} is there.")
    is_one = blurry_folder == sharp_folder
    blurry, sharp = _in_one_folder(blurry_folder, named) if is_one else _in_two_folders(blurry_folder, sharp_folder)
    if not blurry and not sharp:
        raise PairsError(f"{blurry_folder}: no images found. Looked for files ending in {', '.join(SUFFIXES)}.")
    for images, others, partner in ((blurry, sharp, sharp_folder), (sharp, blurry, blurry_folder)):
        alone = sorted(set(images) - set(others))
        if alone:
            more = f" So have {len(alone) - 1} other images of this folder." if len(alone) > 1 else ""
            raise PairsError(f"{images[alone[0]]}: has no partner in {partner}.{more}")
    for key, path in blurry.items():
        subfolder, _, _ = key.rpartition("/")
        yield Pair(scene or subfolder, f"{scene}/{key}" if scene else key, path, sharp[key])
