"""A data set's folder, in GOPRO's layout: who may write into it, what it holds, and how it is continued.

train/<scene>/{blur,blur_gamma,sharp}/000001.png    and test/...
manifest.jsonl      a line a pair, with everything that it was made of
synthesis.json      the settings, and the scenes
contact_sheet.png   some of the pairs
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from deepdeblur_tf.claims import claimed, differing, refuse_other
from deepdeblur_tf.creation.inputs import Scene
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import UNFINISHED, write_json, write_whole
from deepdeblur_tf.images.panels import overview, tiled
from deepdeblur_tf.images.rgb import read_rgb

_SHOWN = 12  # pairs on the contact sheet, in two columns
_WIDTH, _HEIGHT = 400, 300  # of each image on it, at most, in pixels
# 40 ms for 1280x720 where Pillow's default takes 220 ms, and the file is 6 % larger.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


class Made(NamedTuple):
    """A pair that was made.

    Attributes:
        number: Within its scene, from 1.
        entry: What it was made of, as JSON has it.
        images: The PNG files' content by their folders, such as "blur" and "sharp"; none for a pair that is left out.
    """

    number: int
    entry: dict
    images: dict[str, bytes]


def encoded(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3] RGB as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _PNG)[1].tobytes()


class DataSetFolder:
    """A data set on disk. Its methods may be called by several threads.

    A pair's files are written whole, then its line, so that a line stands for files that are there. While it is being
    made, the manifest's lines are in the order of making; at the end, in the order of their names.

    Args:
        folder: Its path.
        folders: A scene's, one for each image of a pair, which "blur" and "sharp" are among.
        settings: What the pairs depend on, as JSON has it: settings by their flags' names without the dashes.
        scenes: What they are made from.
    """

    def __init__(self, folder: Path, folders: Sequence[str], settings: dict, scenes: Iterable[Scene]):
        self.folder, self.folders, self.settings = folder, folders, settings
        self.scenes = {scene.key: {"source": scene.source.name, "bytes": scene.bytes()} for scene in scenes}
        self.manifest, self.contact_sheet = folder / "manifest.jsonl", folder / "contact_sheet.png"
        self._about = folder / "synthesis.json"
        self.damaged = 0  # lines of the manifest that cannot be read
        self._entries: dict[str, dict[int, dict]] = {}
        self._adding = threading.Lock()

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Makes the folder, or checks that it holds this very data set, and keeps other processes out of it.

        A process that is killed lets go of the folder.

        Raises:
            UserError: it holds another data set, with what differs, or other files, is in use, or cannot be
                written.
        """
        with claimed(self.folder, "process", UserError):
            self._read()
            for path in self.folder.rglob(UNFINISHED):  # a killed process's; nobody else writes here
                path.unlink()
            # First, for it says whose folder it is.
            write_json(self._about, {"settings": self.settings, "scenes": self.scenes})
            self._write_manifest()  # without a torn line, which an added one would run into
            yield

    def _read(self) -> None:
        """Reads what is done already."""
        if not self._about.is_file():
            if any(path.name != ".lock" and not path.match(UNFINISHED) for path in self.folder.iterdir()):
                raise UserError(f"{self.folder} holds other files. Give another folder with --output.")
            return
        try:
            about = json.loads(self._about.read_text(encoding="utf-8"))
            settings, scenes = dict(about["settings"]), dict(about["scenes"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"{self._about}: is not from this command, or another program changed it. Give another folder with "
                "--output."
            ) from error
        lines = self.manifest.read_bytes().splitlines(keepends=True) if self.manifest.is_file() else []
        for line in lines:
            if line.endswith(b"\n"):  # else it was torn
                self._read_line(line)
        self._compare(settings, scenes)

    def _read_line(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
            key, _, number = entry["pair"].rpartition("/")
            _caption(entry)
            if "frames" in entry:
                float(entry["sharpness"]), entry["frame_rate"], entry["source"]
            if self._is_there(key, int(number), entry):
                self._entries.setdefault(key, {})[int(number)] = entry
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # its pair is made again
            self.damaged += 1

    def _compare(self, settings: dict, scenes: dict) -> None:
        """Raises UserError where a folder holds another data set."""
        lines = differing(settings, self.settings)
        # A file that nothing was made of yet may have been mended.
        lines += [
            f"{key}: {_told(scenes.get(key))} / {_told(self.scenes.get(key))}"
            for key in dict.fromkeys((*scenes, *self.scenes))
            if scenes.get(key) != self.scenes.get(key)
            and (key in self._entries or (key in scenes) != (key in self.scenes))
        ]
        advice = "Give another folder with --output, or remove that one."
        refuse_other(f"{self.folder} holds another data set", lines, advice, UserError)

    def _is_there(self, scene: str, number: int, entry: dict) -> bool:
        return entry.get("left_out") or all(self._path(scene, number, name).is_file() for name in self.folders)

    def forget_gone(self) -> list[str]:
        """The pairs that were removed since they were made or found; from now on they are not made."""
        gone = []
        for scene, entries in self._entries.items():
            for number in [number for number, entry in entries.items() if not self._is_there(scene, number, entry)]:
                gone.append(entries.pop(number)["pair"])
        return gone

    def _path(self, scene: str, number: int, name: str) -> Path:
        return self.folder / scene / name / f"{number:06d}.png"

    def done(self, scene: str) -> dict[int, dict]:
        """The entries of a scene's pairs that are made or left out, by number, in order."""
        return dict(sorted(self._entries.get(scene, {}).items()))

    def add(self, scene: str, made: Made) -> None:
        """Writes a pair and its line."""
        for name, content in made.images.items():
            write_whole(self._path(scene, made.number, name), lambda path, data=content: path.write_bytes(data))
        entry = {"pair": f"{scene}/{made.number:06d}", **made.entry}
        with self._adding:
            self._entries.setdefault(scene, {})[made.number] = entry
            with open(self.manifest, "ab") as file:
                file.write(_line(entry))

    def finish(self) -> None:
        """Puts the manifest's lines in order, and draws the contact sheet."""
        self._write_manifest()
        pairs = [entry["pair"] for entry in self.entries() if not entry.get("left_out")]
        if pairs:
            shown = pairs[:: -(-len(pairs) // _SHOWN)]
            rows = [self._row(*name.rpartition("/")[::2]) for name in shown]
            write_whole(self.contact_sheet, Image.fromarray(tiled(rows, 2)).save)

    def entries(self) -> list[dict]:
        """All entries, in the order of the pairs' names."""
        return [entry for scene in sorted(self._entries) for entry in self.done(scene).values()]

    def _write_manifest(self) -> None:
        lines = b"".join(map(_line, self.entries()))
        write_whole(self.manifest, lambda path: path.write_bytes(lines))

    def _row(self, scene: str, number: str) -> np.ndarray:
        images = [read_rgb(self._path(scene, int(number), folder)) for folder in self.folders]
        height, width = images[0].shape[:2]
        name = f"{scene}/{number}: {_caption(self._entries[scene][int(number)])}"
        return overview(images, self.folders, name, min(_WIDTH, round(_HEIGHT * width / height)))


def _caption(entry: dict) -> str:
    """What a pair is, in a few words."""
    if "frames" in entry:
        return f"{entry['frames']} frames, {entry['displacement_pixels']:.1f} pixels from one to the next"
    words = [f"path of {entry['path_pixels']:.1f} pixels" if entry["path_pixels"] else "not blurred"]
    if entry["objects"]:
        words.append(f"{entry['objects']} object{'s' * (entry['objects'] > 1)}")
    if entry.get("defocus_radius"):  # which earlier versions' manifests do not have
        words.append(f"out of focus by {entry['defocus_radius']:.1f} pixels")
    if entry["exposure"] != 1:
        words.append(f"exposure {entry['exposure']:.2f}")
    if entry["noise_strength"]:
        words.append(f"noise {entry['noise_strength']:.2f}")
    if entry["jpeg_quality"]:
        words.append(f"JPEG {entry['jpeg_quality']}")
    return ", ".join(words)


def _line(entry: dict) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"  # as `write_json`


def _told(scene: dict | None) -> str:
    return f"{scene['source']} of {scene['bytes']} bytes" if scene else "none"
