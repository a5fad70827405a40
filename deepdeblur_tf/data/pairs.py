"""Pairs of blurry and sharp images on disk, in one of `deepdeblur_tf.layouts`."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deepdeblur_tf.config import Data, Experiment
from deepdeblur_tf.data.protocol import DataSet, PairsError, Source, TestSet, fingerprint
from deepdeblur_tf.data.sources import Files, InMemory, OnDisk, Pair, spread
from deepdeblur_tf.files import walk
from deepdeblur_tf.images.rgb import SUFFIXES, image_size
from deepdeblur_tf.layouts import LAYOUTS

# A split is looked for under these names, the first found wins. GOPRO calls its validation set "test".
SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "test"),
    "test": ("test", "val", "valid", "validation"),
}

# Pairs in each scene of GOPRO_Large (Nah et al., CVPR 2017): 2103 for training, 1111 for testing.
GOPRO_LARGE = {
    "train": {
        "GOPR0372_07_00": 100,
        "GOPR0372_07_01": 75,
        "GOPR0374_11_00": 150,
        "GOPR0374_11_01": 80,
        "GOPR0374_11_02": 100,
        "GOPR0374_11_03": 48,
        "GOPR0378_13_00": 110,
        "GOPR0379_11_00": 100,
        "GOPR0380_11_00": 60,
        "GOPR0384_11_01": 100,
        "GOPR0384_11_02": 100,
        "GOPR0384_11_03": 100,
        "GOPR0384_11_04": 100,
        "GOPR0385_11_00": 100,
        "GOPR0386_11_00": 100,
        "GOPR0477_11_00": 80,
        "GOPR0857_11_00": 100,
        "GOPR0868_11_01": 100,
        "GOPR0868_11_02": 100,
        "GOPR0871_11_01": 100,
        "GOPR0881_11_00": 100,
        "GOPR0884_11_00": 100,
    },
    "validation": {
        "GOPR0384_11_00": 100,
        "GOPR0384_11_05": 100,
        "GOPR0385_11_01": 100,
        "GOPR0396_11_00": 100,
        "GOPR0410_11_00": 134,
        "GOPR0854_11_00": 100,
        "GOPR0862_11_00": 77,
        "GOPR0868_11_00": 100,
        "GOPR0869_11_00": 100,
        "GOPR0871_11_00": 100,
        "GOPR0881_11_01": 100,
    },
}


@dataclass(frozen=True)
class PairedFolder:
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
        known = GOPRO_LARGE["train" if self.split == "train" else "validation"]
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
        return "\n".join(lines)


def find_pairs(root, split: str, layout: str = "auto", blur: str = "blur") -> PairedFolder:
    """Finds the pairs of one split of a data set.

    Args:
        root: The data set's folder.
        split: "train", "validation" or "test"; the last two differ in what they take where a data set has both.
        layout: "auto", or one of
            "gopro": {train,test}/<scene>/{blur,blur_gamma,sharp}/*;
            "reds": {train,val}/{train,val}_{blur,sharp}/<sequence>/*;
            "paired": [{train,val,test}/]{input,target}/**/* or [{train,val,test}/]{blur,sharp}/**/*. Without a
            folder for the split the root itself is the training set, and there is no validation set.
        blur: "blur" or "blur_gamma"; the latter exists in the gopro layout only.

    Returns:
        The pairs; none where the data set has no such split.

    Raises:
        PairsError: a missing or empty folder (with what was looked for), a blurry image without a sharp partner or
            the reverse, a layout that is not there.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise PairsError(f"{root}: no such folder. Give the one that the data set was unpacked into.")
    folder = next((root / name for name in SPLITS[split] if (root / name).is_dir()), None)
    tried = LAYOUTS if layout == "auto" else {layout: LAYOUTS[layout]}
    has_splits = any((root / name).is_dir() for names in SPLITS.values() for name in names)
    if folder is None and not has_splits and split == "train":
        folder = root
    if folder is None:
        if split == "train":
            raise PairsError(f"{root}: has no training set. Looked for the folder {' or '.join(SPLITS[split])}.")
        return PairedFolder(root, split, layout, blur, ())
    for name, way in tried.items():
        found = list(way.folders(folder, blur))
        if found:
            if blur == "blur_gamma" and not way.has_gamma:
                raise PairsError(f"{root}: blur_gamma exists in the gopro layout only; this is the {name} layout.")
            pairs = [pair for scene, blurry, sharp in found for pair in _match(scene, blurry, sharp)]
            if pairs:
                return PairedFolder(root, split, name, blur, tuple(sorted(pairs, key=lambda pair: pair.name)))
    raise PairsError(
        f"{folder}: no pairs found. Looked for {'; '.join(way.looked_for(folder, blur) for way in tried.values())}; "
        f"with images ending in {', '.join(SUFFIXES)}."
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
        if min(size) < smallest:
            raise PairsError(
                f"{pair.blurry}: is {size[1]}x{size[0]}, smaller than the {smallest}x{smallest} patch. "
                "Lower data.patch_size or take the pair out."
            )


def find(experiment: Experiment) -> DataSet:
    """As `protocol.Kind` has it."""
    data = experiment.data
    train, validation = (find_pairs(data.root, split, data.layout, data.blur) for split in ("train", "validation"))
    if data.on_error == "stop":
        check_sizes(train.pairs, data.patch_size)
    check_sizes(validation.pairs, 1)

    def opened() -> tuple[Source, Source]:
        measured = spread(len(validation), experiment.validation.images)
        return _kept(Files(train.pairs), data), _kept(Files([validation.pairs[index] for index in measured]), data)

    return DataSet((train, validation), len(train), opened)


def _kept(source: Files, data: Data) -> Source:
    if data.cache == "memory":
        return InMemory(source)
    return OnDisk(source, data.cache_folder) if data.cache == "disk" else source


def find_test_set(data: Data, was_trained_on: bool = False) -> TestSet:
    """As `protocol.Kind` has it; `data.root` may also be one split of the data set, such as GOPRO_Large/test."""
    folder = find_pairs(data.root, "test", data.layout, data.blur)
    if not folder.pairs:
        whole = find_pairs(data.root, "train", data.layout, data.blur)
        if was_trained_on:
            raise PairsError(f"{data.root} was trained on and has no test set; name what to measure on with --data.")
        if any((folder.root / name).is_dir() for name in SPLITS["train"]):
            raise PairsError(
                f"{data.root}: has no test set. Looked for the folder {' or '.join(SPLITS['validation'])}. To measure "
                "the training set name its own folder."
            )
        folder = dataclasses.replace(whole, split="test")
    check_sizes(folder.pairs, 1)
    about = {
        "root": str(folder.root.resolve()),
        "layout": folder.layout,
        "blur": data.blur,
        "pairs": len(folder),
        "fingerprint": folder.fingerprint(),
    }
    return TestSet(Files(folder.pairs), [pair.scene for pair in folder.pairs], about, folder.describe())


def in_words(data: Data) -> str:
    """As `protocol.Kind` has it."""
    return f"`{Path(data.root).name}` (layout {data.layout}, `{data.blur}`)"


def _images(folder: Path) -> dict[str, Path]:
    """The images of a folder and its sub-folders, by their path without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(file for _, files in walk(folder) for file in files):
        if path.suffix.lower() in SUFFIXES:
            key = path.relative_to(folder).with_suffix("").as_posix()
            if key in found:
                raise PairsError(f"{path}: has the same name as {found[key]}; which one is meant?")
            found[key] = path
    return found


def _match(scene: str, blurry_folder: Path, sharp_folder: Path) -> Iterator[Pair]:
    for folder, partner in ((blurry_folder, sharp_folder), (sharp_folder, blurry_folder)):
        if not folder.is_dir():
            raise PairsError(f"{folder}: no such folder, but {partner} is there.")
    blurry, sharp = _images(blurry_folder), _images(sharp_folder)
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
