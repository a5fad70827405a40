"""How data sets of pairs lie on disk: GOPRO_Large's way, REDS's, and paired folders or names. Loads no TensorFlow.

Another layout is a function here and its line in `LAYOUTS`: the setting, its flag and the messages follow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from deepdeblur_tf.files import walk

# Paired folders: (blurry, sharp). Of several the first one counts.
PAIRED_NAMES = (
    ("input", "target"),
    ("blur", "sharp"),
    ("blurry", "sharp"),
    ("blurred", "sharp"),
    ("blur", "gt"),
    ("blurry", "gt"),
    ("blurred", "gt"),
    ("input", "gt"),
    ("lq", "gt"),
    ("lq", "hq"),
    ("A", "B"),
)
# What files' names end or begin with.
BLURRY_MARKS = ("blur", "blurry", "blurred", "input", "lq")
SHARP_MARKS = ("sharp", "target", "gt", "hq")

Folders = Iterator[tuple[str, Path, Path]]


class Named(NamedTuple):
    """What is called how in a split.

    Attributes:
        blur: GOPRO's kind of blur.
        blurry: The folder of blurry images in the paired layout, or the mark of their files; "" for the known ones.
        sharp: The same of the sharp ones.
    """

    blur: str = "blur"
    blurry: str = ""
    sharp: str = ""

    @property
    def folders(self) -> tuple[tuple[str, str], ...]:
        """Names of paired folders: (blurry, sharp)."""
        return ((self.blurry, self.sharp),) if self.blurry else PAIRED_NAMES

    @property
    def marks(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Marks of files: (of blurry ones, of sharp ones)."""
        if self.blurry:
            return (self.blurry.strip("._-"),), (self.sharp.strip("._-"),)
        return BLURRY_MARKS, SHARP_MARKS


class Layout(NamedTuple):
    """A way in which pairs lie on disk.

    Attributes:
        folders: From a split's folder and names to (scene, folder of blurry images, folder of sharp ones) of each
            scene, "" for images without scenes; twice the same folder where the files' names tell them apart; none
            where the split does not lie so.
        looked_for: What that looks for, in words.
        has_gamma: Whether there is a `blur_gamma` beside `blur`.
        has_names: Whether folders or files may have names of the user's.
    """

    folders: Callable[[Path, Named], Folders]
    looked_for: Callable[[Path, Named], str]
    has_gamma: bool = False
    has_names: bool = False


def unmarked(stem: str, marks: tuple[str, ...]) -> str | None:
    """A name without its mark: 0001 of 0001_blur, 0001-blur, 0001.blur and blur_0001. None where it has none."""
    words = "|".join(map(re.escape, marks))
    found = re.fullmatch(rf"(.+)[._-](?:{words})|(?:{words})[._-](.+)", stem, re.IGNORECASE)
    return (found[1] or found[2]) if found else None


def _gopro(split: Path, named: Named) -> Folders:
    scenes = [
        (scene, {kind for kind in ("blur", "blur_gamma", "sharp") if (scene / kind).is_dir()})
        for scene in sorted(split.iterdir())
    ]
    # One whole scene makes it GOPRO's layout; then a scene that lacks a folder is an error, not another layout.
    if any("sharp" in kinds and len(kinds) > 1 for _, kinds in scenes):
        for scene, kinds in scenes:
            if kinds:
                yield scene.name, scene / named.blur, scene / "sharp"


def _reds_names(split: Path) -> list[str]:
    """What a split's folder is called: as it was given, and where that is a link, as its target is."""
    return list(dict.fromkeys((Path(os.path.abspath(split)).name, split.resolve().name)))


def _reds(split: Path, named: Named) -> Folders:
    for name in _reds_names(split):
        blurry, sharp = (split / f"{name}_{kind}" for kind in ("blur", "sharp"))
        sides = [side for side in (blurry, sharp) if side.is_dir()]
        for scene in sorted({folder.name for side in sides for folder in side.iterdir() if folder.is_dir()}):
            yield scene, blurry / scene, sharp / scene
        if sides:
            return


def _reds_looked_for(split: Path, named: Named) -> str:
    return " or ".join(f"{name}_blur beside {name}_sharp" for name in _reds_names(split))


def _by_name(folder: Path) -> dict[str, Path]:
    """The folders in a folder by their names in small letters; of two that differ in these alone, the small one."""
    return {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir()}


def _whole(named: Named, inside: dict[str, Path]) -> tuple[str, str] | None:
    """The first names of paired folders that are both there."""
    return next((names for names in named.folders if all(name.lower() in inside for name in names)), None)


def _paired(split: Path, named: Named) -> Folders:
    inside = _by_name(split)
    names = _whole(named, inside)
    if names:
        yield "", inside[names[0].lower()], inside[names[1].lower()]
        return
    # In each scene, as RealBlur has them; then one that lacks a folder is an error.
    scenes = [(scene, _by_name(scene)) for scene in sorted(split.iterdir()) if scene.is_dir()]
    whole = [_whole(named, inside) for _, inside in scenes]
    usual = next(filter(None, whole), None)
    for (scene, inside), names in zip(scenes, whole):
        names = names or usual
        if names and any(name.lower() in inside for name in names):
            blurry, sharp = (inside.get(name.lower(), scene / name) for name in names)
            yield scene.name, blurry, sharp


def _paired_looked_for(split: Path, named: Named) -> str:
    return " or ".join(f"{blurry} beside {sharp}" for blurry, sharp in named.folders)


def _marked(split: Path, named: Named) -> Folders:
    for _, files in walk(split):
        blurry, sharp = ({unmarked(file.stem, marks) for file in files} - {None} for marks in named.marks)
        if blurry & sharp:
            yield "", split, split
            return


def _marked_looked_for(split: Path, named: Named) -> str:
    blurry, sharp = (" or ".join(f"NAME_{mark}" for mark in marks) for marks in named.marks)
    return f"files {blurry} beside {sharp}"


LAYOUTS = {
    "gopro": Layout(_gopro, lambda split, named: f"<scene>/{named.blur} beside <scene>/sharp", has_gamma=True),
    "reds": Layout(_reds, _reds_looked_for),
    "paired": Layout(_paired, _paired_looked_for, has_names=True),
    "marked": Layout(_marked, _marked_looked_for, has_names=True),
}
