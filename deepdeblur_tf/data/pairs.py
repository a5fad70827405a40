"""Pairs of blurry and sharp images on disk: GOPRO_Large, REDS and plain paired folders."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepdeblur_tf.config import SCENES, Experiment
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import walk
from deepdeblur_tf.images.rgb import SUFFIXES, image_size

if TYPE_CHECKING:
    from deepdeblur_tf.data.photos import PhotoFolder

# A split is looked for under these names, the first found wins. GOPRO calls its validation set "test".
SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "test"),
    "test": ("test", "val", "valid", "validation"),
}

# Plain paired folders: (blurry, sharp).
PAIRED_NAMES = (("input", "target"), ("blur", "sharp"))

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


class PairsError(UserError):
    """A folder whose images do not make pairs; the message names the folder or file and what was looked for."""


@dataclass(frozen=True)
class Pair:
    """A blurry image file and its sharp partner.

    Attributes:
        scene: The scene's folder, such as GOPR0384_11_00; "" in a folder without scenes.
        name: Scene and file without its suffix, such as GOPR0384_11_00/000001.
        blurry: The blurry image's file.
        sharp: The sharp image's file.
    """

    scene: str
    name: str
    blurry: Path
    sharp: Path


@dataclass(frozen=True)
class PairedFolder:
    """The pairs of one split of a data set.

    Attributes:
        root: The data set's folder.
        split: "train", "validation" or "test".
        layout: "gopro", "reds" or "paired".
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
        layout: "auto" or one of
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
    layouts = {"gopro": _gopro_folders, "reds": _reds_folders, "paired": _paired_folders}
    tried = layouts if layout == "auto" else {layout: layouts[layout]}
    has_splits = any((root / name).is_dir() for names in SPLITS.values() for name in names)
    if folder is None and not has_splits and split == "train":
        folder = root
    if folder is None:
        if split == "train":
            raise PairsError(f"{root}: has no training set. Looked for the folder {' or '.join(SPLITS[split])}.")
        return PairedFolder(root, split, layout, blur, ())
    for name, folders in tried.items():
        found = list(folders(folder, blur))
        if found:
            if blur == "blur_gamma" and name != "gopro":
                raise PairsError(f"{root}: blur_gamma exists in the gopro layout only; this is the {name} layout.")
            pairs = [pair for scene, blurry, sharp in found for pair in _match(scene, blurry, sharp)]
            if pairs:
                return PairedFolder(root, split, name, blur, tuple(sorted(pairs, key=lambda pair: pair.name)))
    looked_for = {
        "gopro": f"<scene>/{blur} beside <scene>/sharp",
        "reds": " or ".join(f"{name}_blur beside {name}_sharp" for name in _reds_names(folder)),
        "paired": " or ".join(f"{b} beside {s}" for b, s in PAIRED_NAMES),
    }
    raise PairsError(
        f"{folder}: no pairs found. Looked for {'; '.join(looked_for[name] for name in tried)}; "
        f"with images ending in {', '.join(SUFFIXES)}."
    )


def find_test_pairs(root, layout: str = "auto", blur: str = "blur") -> PairedFolder:
    """Finds the pairs to measure a network on: the data set's test or validation set.

    Args:
        root: The data set's folder, or one split of it, such as GOPRO_Large/test.
        layout: As `find_pairs` has it.
        blur: As `find_pairs` has it.

    Raises:
        PairsError: as `find_pairs`, and for a data set that has a training set only.
    """
    folder = find_pairs(root, "test", layout, blur)
    if folder.pairs:
        return folder
    whole = find_pairs(root, "train", layout, blur)
    if any((folder.root / name).is_dir() for name in SPLITS["train"]):
        raise PairsError(
            f"{root}: has no test set. Looked for the folder {' or '.join(SPLITS['validation'])}. To measure the "
            "training set name its own folder."
        )
    return dataclasses.replace(whole, split="test")


def fingerprint(images: Iterable[tuple[str, Sequence[Path]]]) -> str:
    """A short text that changes when images come, go, or change their names, sizes in bytes or last few kilobytes.

    In a compressed file other pixels show there as well; to read GOPRO_Large whole takes minutes.

    Args:
        images: Names, each with its files.
    """
    stamp = hashlib.sha256()
    for name, paths in images:
        stamp.update(f"{name}\n".encode())
        for path in paths:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 4096))
                stamp.update(f"{size}\n".encode() + file.read())
    return stamp.hexdigest()[:16]


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


def find_folders(
    experiment: Experiment,
) -> tuple[PairedFolder, PairedFolder] | tuple[PhotoFolder, PhotoFolder] | None:
    """The training and validation pairs of an experiment's data set, or the photos that they are made from, found and
    checked; None for embedded scenes.

    Raises:
        PairsError, ImageError: what is wrong with the folder, by the file's name.
    """
    data = experiment.data
    if data.root == SCENES:
        return None
    if data.layout == "photos":
        if importlib.util.find_spec("cv2") is None:
            raise PairsError("data.layout: photos needs OpenCV. Install it: pip install -e '.[synthesis]'")
        from deepdeblur_tf.data.photos import find_photos

        return find_photos(data.root, data.patch_size)
    train, validation = (find_pairs(data.root, split, data.layout, data.blur) for split in ("train", "validation"))
    check_sizes(train.pairs, data.patch_size)
    check_sizes(validation.pairs, 1)
    return train, validation


def _gopro_folders(split: Path, blur: str) -> Iterator[tuple[str, Path, Path]]:
    scenes = [
        (scene, {kind for kind in ("blur", "blur_gamma", "sharp") if (scene / kind).is_dir()})
        for scene in sorted(split.iterdir())
    ]
    # One whole scene makes it GOPRO's layout; then a scene that lacks a folder is an error, not another layout.
    if any("sharp" in kinds and len(kinds) > 1 for _, kinds in scenes):
        for scene, kinds in scenes:
            if kinds:
                yield scene.name, scene / blur, scene / "sharp"


def _reds_names(split: Path) -> list[str]:
    """What a split's folder is called: as it was given, and where that is a link, as its target is."""
    return list(dict.fromkeys((Path(os.path.abspath(split)).name, split.resolve().name)))


def _reds_folders(split: Path, blur: str) -> Iterator[tuple[str, Path, Path]]:
    for name in _reds_names(split):
        blurry, sharp = (split / f"{name}_{kind}" for kind in ("blur", "sharp"))
        sides = [side for side in (blurry, sharp) if side.is_dir()]
        for scene in sorted({folder.name for side in sides for folder in side.iterdir() if folder.is_dir()}):
            yield scene, blurry / scene, sharp / scene
        if sides:
            return


def _paired_folders(split: Path, blur: str) -> Iterator[tuple[str, Path, Path]]:
    for blurry, sharp in PAIRED_NAMES:
        if (split / blurry).is_dir() and (split / sharp).is_dir():
            yield "", split / blurry, split / sharp
            return


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
