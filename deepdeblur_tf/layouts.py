"""How data sets of pairs lie on disk: GOPRO_Large's way, REDS's, and plain paired folders. Loads no TensorFlow.

Another layout is a function here and its line in `LAYOUTS`: the setting, its flag and the messages follow.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

# Plain paired folders: (blurry, sharp).
PAIRED_NAMES = (("input", "target"), ("blur", "sharp"))

Folders = Iterator[tuple[str, Path, Path]]


class Layout(NamedTuple):
    """A way in which pairs lie on disk.

    Attributes:
        folders: From a split's folder and the kind of blur to (scene, folder of blurry images, folder of sharp ones)
            of each scene, "" for images without scenes; none where the split does not lie so.
        looked_for: What that looks for, in words.
        has_gamma: Whether there is a `blur_gamma` beside `blur`.
    """

    folders: Callable[[Path, str], Folders]
    looked_for: Callable[[Path, str], str]
    has_gamma: bool = False


def _gopro(split: Path, blur: str) -> Folders:
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


def _reds(split: Path, blur: str) -> Folders:
    for name in _reds_names(split):
        blurry, sharp = (split / f"{name}_{kind}" for kind in ("blur", "sharp"))
        sides = [side for side in (blurry, sharp) if side.is_dir()]
        for scene in sorted({folder.name for side in sides for folder in side.iterdir() if folder.is_dir()}):
            yield scene, blurry / scene, sharp / scene
        if sides:
            return


def _paired(split: Path, blur: str) -> Folders:
    for blurry, sharp in PAIRED_NAMES:
        if (split / blurry).is_dir() and (split / sharp).is_dir():
            yield "", split / blurry, split / sharp
            return


LAYOUTS = {
    "gopro": Layout(_gopro, lambda split, blur: f"<scene>/{blur} beside <scene>/sharp", has_gamma=True),
    "reds": Layout(
        _reds, lambda split, blur: " or ".join(f"{name}_blur beside {name}_sharp" for name in _reds_names(split))
    ),
    "paired": Layout(_paired, lambda split, blur: " or ".join(f"{b} beside {s}" for b, s in PAIRED_NAMES)),
}
