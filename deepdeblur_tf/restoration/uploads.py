"""A picture that a visitor of the page uploads: checked, restored, written, and how long that takes."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.deep import to_8_bits
from deepdeblur_tf.images.jpeg import MOST_SCANS, has_too_many_scans
from deepdeblur_tf.images.picture_files import photo_size, read_photo, write_photo
from deepdeblur_tf.images.videos import SUFFIXES as VIDEO_SUFFIXES
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.restoration.scale import HARDLY_CHANGED, LEAST_CHANGE
from deepdeblur_tf.restoration.tiling import MAX_SIDE, is_within
from deepdeblur_tf.terminal import shown_name

_SHOWN = 2000  # pixels of a preview's longer side: browsers are not sent 100 megapixels
_PROBE = 256  # pixels of the side of a square whose restoration is timed, or a seventh of the picture's side
_VIEWED = 10  # pictures that can be looked at pixel by pixel: they lie on the disk uncompressed
_VIEW = "view.npy"  # where both are, beside the restored picture
_CELL = 16  # pixels of a preview to one of the map of what changed


class Stopped(Exception):
    """The visitor stopped it, or left."""


@dataclass(frozen=True)
class RestoredUpload:
    """A restored upload.

    Attributes:
        asked: The upload's file, and the scale that was asked for.
        name: The upload's.
        file: The restored picture, in a folder of its own.
        previews: The blurry and the restored one, of a screen's size.
        place: (across, down), 0 to 1, where most was changed.
        profile: Its ICC profile, with which its colours are shown.
        words: What was done.
    """

    asked: tuple[str, float | str]
    name: str
    file: Path
    previews: tuple[Path, Path]
    place: tuple[float, float]
    profile: bytes
    words: str

    def keep(self) -> None:
        """Makes it count as new, for what is old is removed."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self.file.parent)

    def detail(self, across: float, down: float, width: int, height: int) -> tuple[Image.Image, ...] | None:
        """Both pictures, pixel by pixel.

        Args:
            across, down: Where, 0 to 1.
            width, height: Pixels of it that are wanted; at most those of the picture are given.

        Returns:
            (blurry, restored); None where they have been removed meanwhile.
        """
        try:
            both = np.load(self.file.with_name(_VIEW), mmap_mode="r")
        except FileNotFoundError:
            return None
        top, left = (
            round(max(0, side - wanted) * min(1, max(0, at)))
            for side, wanted, at in zip(both.shape[1:3], (height, width), (down, across))
        )
        return tuple(_image(np.array(pixels[top : top + height, left : left + width]), self.profile) for pixels in both)


class Upload:
    """An upload on its way.

    Args:
        path: Its file.
        scale: At which it is restored: 1, 0.5, 0.25, 0.125 or "auto".

    Attributes:
        name: Its file's.
        asked: Its file and scale.
        stage: What is being done, in words.
    """

    def __init__(self, path: str, scale: float | str):
        self.name = Path(path).name
        self.asked = self._path, self._scale = path, scale
        self.stage, self._since, self._seconds, self._is_stopped = "waiting for the one before it", 0.0, 0.0, False

    def keep(self) -> None:
        """Makes its file count as new, while it waits, for what is old is removed."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._path)

    def stop(self) -> None:
        """Ends its restoration, after the tile that is at work."""
        self._is_stopped = True

    @property
    def times(self) -> tuple[float, float] | None:
        """(seconds since the restoration began, seconds that it takes), if it is under way and takes some."""
        return (time.perf_counter() - self._since, self._seconds) if self._seconds else None

    def restored(self, restorer: Restorer, max_pixels: int, command: str, results: Path) -> RestoredUpload | None:
        """Reads, restores and writes it.

        Args:
            restorer: What restores it, by default at the scale that it finds.
            max_pixels: Pixels that it may have.
            command: The one that restores others.
            results: A folder of results.

        Returns:
            The result; None if it was stopped.

        Raises:
            UserError, MemoryError: that it cannot be, in words that name it without the server's folders.
        """
        try:
            return self._restored(restorer, max_pixels, command, results)
        except Stopped:
            return None
        except UserError as error:  # the uploaded file lies in a folder that means nothing to the reader
            raise UserError(str(error).replace(shown_name(self._path), self.name)) from error
        finally:
            self._seconds = 0.0

    def _restored(self, restorer: Restorer, max_pixels: int, command: str, results: Path) -> RestoredUpload:
        self._begin("reading")
        self._check(max_pixels, command)
        photo = read_photo(self._path)
        begin = time.perf_counter()
        self._begin("looking")
        scale = restorer.scale_of(photo.visible) if self._scale == "auto" else float(self._scale)
        seconds = _seconds(restorer, photo.visible, scale)
        self._begin("restoring")
        self._seconds = seconds
        restored = restorer(photo.visible, progress=self._progress, scale=scale)
        self._begin("writing")
        taken = time.perf_counter() - begin
        results.mkdir(parents=True, exist_ok=True)  # a page may be open longer than a system keeps temporary files
        folder = Path(tempfile.mkdtemp(dir=results))
        path = Path(self.name)
        file = folder / f"{path.stem}_restored{path.suffix}"
        write_photo(file, photo, restored)
        both = to_8_bits(photo.visible), to_8_bits(restored)
        previews, place = _write_previews(folder, both, photo.metadata.icc)
        _write_view(folder, both)
        height, width = restored.shape[:2]
        words = f"{width}x{height} pixels, restored at scale {scale:g} in {taken:.1f} s"
        if restorer.change < LEAST_CHANGE:
            words += f"; {HARDLY_CHANGED}"
        if photo.left_out:
            words += f"; left out: {'; '.join(photo.left_out)}"
        return RestoredUpload(self.asked, self.name, file, previews, place, photo.metadata.icc, words)

    def _check(self, max_pixels: int, command: str) -> None:
        """Refuses what would keep the page busy, by its name and header."""
        if Path(self.name).suffix.lower() in VIDEO_SUFFIXES:
            raise UserError(
                f"{self.name}: is a video, which would hold the page for minutes. Restore it in a terminal: "
                f"{command} {shlex.quote(self.name)}"
            )
        height, width = photo_size(self._path)
        if not is_within(height, width, max_pixels):
            raise UserError(
                f"{self.name}: has {width}x{height} pixels, {height * width / 1e6:.1f} megapixels; this page takes "
                f"{max_pixels / 1e6:.1f}, and sides of {MAX_SIDE} pixels. Make it smaller, restore it in a terminal "
                f"({command} {shlex.quote(self.name)}), or begin the page with a larger --max_pixels."
            )
        if has_too_many_scans(Path(self._path).read_bytes()):
            raise UserError(
                f"{self.name}: is a JPEG of more than {MOST_SCANS} scans, which takes too long to decode. Save it anew."
            )

    def _begin(self, stage: str) -> None:
        if self._is_stopped:
            raise Stopped
        self.stage, self._since, self._seconds = stage, time.perf_counter(), 0.0

    def _progress(self, fraction: float) -> None:
        if self._is_stopped:
            raise Stopped
        self._seconds = (time.perf_counter() - self._since) / fraction


def _seconds(restorer: Restorer, rgb: np.ndarray, scale: float) -> float:
    """How long the restoration of a picture will take, by that of a square in its middle; 0 for a small one."""
    height, width = rgb.shape[:2]
    pixels = height * width * scale**2
    if pixels < 4 * _PROBE**2:
        return 0.0
    side = max(_PROBE, round(pixels**0.5 / 7))
    top, left = (max(0, length - side) // 2 for length in (height, width))
    square = rgb[top : top + side, left : left + side]
    restorer(square[:64, :64], scale=1)  # the first one waits for the graph
    begin = time.perf_counter()
    restorer(square, scale=1)
    return (time.perf_counter() - begin) * pixels / (square.shape[0] * square.shape[1])


def _image(pixels: np.ndarray, profile: bytes) -> Image.Image:
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = profile or None
    return image


def _write_view(folder: Path, both: tuple[np.ndarray, np.ndarray]) -> None:
    np.save(folder / _VIEW, both)
    views = sorted(folder.parent.glob(f"*/{_VIEW}"), key=lambda path: path.stat().st_mtime)
    for old in views[:-_VIEWED]:
        old.unlink(missing_ok=True)


def _write_previews(folder: Path, both: tuple[np.ndarray, np.ndarray], profile: bytes):
    """Writes both pictures at a screen's size; returns their files, and where they differ most."""
    images = []
    for name, pixels in zip(("blurry", "restored"), both):
        image = _image(pixels, profile)
        image.thumbnail((_SHOWN, _SHOWN))
        image.save(folder / f"{name}.jpg", quality=95, subsampling=0, icc_profile=profile or None)
        images.append(image)
    blurry, restored = (np.asarray(image.convert("L"), np.float32) for image in images)
    change = Image.fromarray((restored - blurry) ** 2).reduce(_CELL)
    row, column = np.unravel_index(np.argmax(change), (change.height, change.width))
    place = float(column / max(1, change.width - 1)), float(row / max(1, change.height - 1))
    return (folder / "blurry.jpg", folder / "restored.jpg"), place
