"""What a data set is made of: videos and folders of frames, or photos, each a scene; which ones it is tested on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import user_path, walk
from deepdeblur_tf.images import formats, rgb, videos

SMALLEST = 256  # pixels: what comes from smaller pictures, trainings with the default patch would refuse


@dataclass(frozen=True)
class Scene:
    """A video, a folder of frames or a photo.

    Attributes:
        source: The file or folder.
        below: Its path below the input, without suffix: what a mask of the same name is found by.
        frames: Of a folder of frames, the files, in the order of their names; numbers by their value.
        number: Its place among the scenes, sorted by name; with the seed it fixes what is drawn for the scene.
        split: "train" or "test".
    """

    source: Path
    below: Path
    frames: tuple[Path, ...] = ()
    number: int = 0
    split: str = "train"

    @property
    def name(self) -> str:
        """Its folder in the data set, such as 2024_IMG_0012 for the photo 2024/IMG_0012.jpg."""
        return "_".join(self.below.parts)

    @property
    def key(self) -> str:
        """Split and folder, such as train/2024_IMG_0012: what the names of its pairs begin with."""
        return f"{self.split}/{self.name}"

    def bytes(self) -> int:
        """The size of the file, or of all frames."""
        return sum(path.stat().st_size for path in self.frames or (self.source,))


def find_scenes(inputs: Sequence[str], kind: str | None, left_out: Sequence[Path]) -> tuple[str, list[Scene]]:
    """Finds the scenes.

    Args:
        inputs: Videos, photos, and folders with their sub-folders.
        kind: "frames": every video, and every folder that holds pictures, is a scene. "photos": every picture is one.
            None: files are what their names say; a folder that holds pictures may be either, and is refused.
        left_out: Folders in which no scene is looked for: the data set's, and that of masks.

    Returns:
        ("frames" or "photos", the scenes, sorted by name).

    Raises:
        UserError: an input that is not there or of the other kind, folders without anything, two scenes of a name.
    """
    found: list[tuple[str, Scene]] = []
    for text in inputs:
        path = user_path(text)
        if path.is_file():
            found.append(_of_file(path, kind))
        elif path.is_dir():
            found += _of_folder(path, kind, left_out)
        else:
            raise UserError(f"{text}: no such file or folder.")
    kinds = {found_kind: scene.source for found_kind, scene in reversed(found)}
    if len(kinds) > 1:
        raise UserError(
            f"a data set is made of frames or of photos; received both: {kinds['frames']} and {kinds['photos']}. Make "
            "two, in two folders."
        )
    scenes: dict[str, Scene] = {}
    for _, scene in found:
        known = scenes.setdefault(scene.name, scene)
        if known.source.resolve() != scene.source.resolve():
            raise UserError(
                f"{known.source} and {scene.source} would both become the scene {scene.name}. Rename one of them."
            )
    return next(iter(kinds)), [scenes[name] for name in sorted(scenes)]


def _of_file(path: Path, kind: str | None) -> tuple[str, Scene]:
    suffix = path.suffix.lower()
    if suffix not in (*videos.SUFFIXES, *formats.SUFFIXES):
        raise UserError(
            f"{path}: no video or photo by its name; allowed: {', '.join((*videos.SUFFIXES, *formats.SUFFIXES))}."
        )
    own = "frames" if suffix in videos.SUFFIXES else "photos"
    if kind == "photos" and own == "frames":
        raise UserError(f"{path}: is a video, and --from photos takes photos. Leave --from out.")
    if kind == "frames" and own == "photos":
        raise UserError(f"{path}: is one picture; with --from frames give the folder that holds all frames.")
    return own, Scene(path, Path(path.stem))


def _of_folder(root: Path, kind: str | None, left_out: Sequence[Path]) -> list[tuple[str, Scene]]:
    found: list[tuple[str, Scene]] = []
    for folder, files in walk(root, left_out):
        below = folder.relative_to(root)
        pictures = [file for file in files if file.suffix.lower() in formats.SUFFIXES]
        if pictures and kind is None:
            raise UserError(
                f"{folder}: is a folder of pictures. Say what they are: with --from frames the frames of one scene, in "
                "the order of their names; with --from photos sharp photos."
            )
        if kind == "photos":
            found += [("photos", Scene(file, below / file.stem)) for file in pictures]
            continue
        if pictures:
            name = below if below.parts else Path(folder.resolve().name)
            found.append(("frames", Scene(folder, name, tuple(sorted(pictures, key=_by_number)))))
        clips = [file for file in files if file.suffix.lower() in videos.SUFFIXES]
        found += [("frames", Scene(file, below / file.stem)) for file in clips]
    if not found:
        wanted = formats.SUFFIXES if kind == "photos" else (*videos.SUFFIXES, *formats.SUFFIXES)
        raise UserError(f"{root}: holds nothing to begin with. Looked for files ending in {', '.join(wanted)}.")
    return found


def _by_number(path: Path) -> list:
    """A key by which frame_9.png comes before frame_10.png."""
    return [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", path.name)]


def split_scenes(scenes: Sequence[Scene], share: float, seed: int) -> list[Scene]:
    """Numbers the scenes, and draws those that the data set is tested on.

    Args:
        scenes: Sorted by name.
        share: The fraction of scenes to test on; above 0 at least one scene is, unless it is the only one.
        seed: Fixes the draw.
    """
    count = min(max(1, round(share * len(scenes))), len(scenes) - 1) if share else 0
    tested = set(np.random.default_rng(seed).permutation(len(scenes))[:count].tolist())
    return [
        Scene(scene.source, scene.below, scene.frames, number, "test" if number in tested else "train")
        for number, scene in enumerate(scenes)
    ]


def check_size(path: Path, size: tuple[int, int]) -> None:
    """Raises UserError for (height, width) below what a training takes."""
    if min(size) < SMALLEST:
        raise UserError(
            f"{path}: is {size[1]}x{size[0]}, smaller than the {SMALLEST}x{SMALLEST} patch of a training "
            "(data.patch_size)."
        )


def find_masks(folder, scenes: Sequence[Scene]) -> tuple[dict[str, Path], list[str]]:
    """Finds the masks of photos: pictures of the same names in another folder.

    Args:
        folder: The masks' folder; below it as the photos below theirs.
        scenes: The photos.

    Returns:
        (the masks by their photos' keys, what is wrong with the others: of another size than the photo, unreadable,
        black, without a photo).

    Raises:
        UserError: the folder is not there, or holds no mask of any photo.
    """
    root = user_path(folder)
    if not root.is_dir():
        raise UserError(f"--masks {folder}: no such folder.")
    by_name = {scene.below.as_posix(): scene for scene in scenes}
    masks, wrong = {}, []
    for parent, files in walk(root):
        for file in files:
            scene = by_name.get((parent.relative_to(root) / file.stem).as_posix())
            if file.suffix.lower() not in formats.SUFFIXES or scene and scene.source.resolve() == file.resolve():
                continue
            try:
                if scene is None:
                    raise UserError(f"{file}: there is no photo of this name.")
                size, own = rgb.image_size(scene.source), rgb.image_size(file)
                if own != size:
                    raise UserError(
                        f"{file}: is {own[1]}x{own[0]}, its photo {size[1]}x{size[0]}. A mask has its photo's size."
                    )
                if not rgb.read_rgb(file)[..., 0].any():
                    raise UserError(f"{file}: is black; what is to be cut out of its photo would be white.")
                masks[scene.key] = file
            except UserError as error:
                wrong.append(str(error))
    if not masks:
        told = f"--masks {folder}: holds no mask of a photo; it would have the photo's name and size."
        raise UserError(told, *(f"  {line}" for line in wrong))
    return masks, wrong
