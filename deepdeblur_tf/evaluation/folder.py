"""An evaluation's folder: what it holds, who may write into it, and its tables read back."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deepdeblur_tf.claims import claimed, differing, refuse_other
from deepdeblur_tf.compat import device_name, tf
from deepdeblur_tf.data.protocol import TestSet
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.evaluation.measurement import CONVENTION, means
from deepdeblur_tf.files import write_json, write_whole
from deepdeblur_tf.metrics import METRICS
from deepdeblur_tf.runs.provenance import versions
from deepdeblur_tf.terminal import shown_name

_FIGURES = (*METRICS, "seconds", "tiles", *(f"blurry_{name}" for name in METRICS))
# The last one tells a row that another program changed, or that was measured of something else.
COLUMNS = ("image", *_FIGURES, "check")

# What must be equal for figures to stand in one table.
_IDENTITY = (
    ("model", "sha256"),
    ("pictures", "fingerprint"),  # in place of a model and its restoration
    ("data", "blur"),
    ("data", "fingerprint"),
    ("restoration", "tile"),
    ("restoration", "self_ensemble"),
    ("restoration", "runtime"),
    ("restoration", "scale"),
)
_BEFORE = {"scale": 1.0}  # what was done before there was such an option


class EvaluationError(UserError):
    """An evaluation that cannot be made or continued; the message says why and what to do."""


class EvaluationLost(EvaluationError):
    """What was measured is not there any more, or a part of it."""


@dataclass(frozen=True)
class Result:
    """The figures of one network.

    Attributes:
        label: What the network is called in tables and pictures.
        folder: The folder that holds them.
        summary: The content of summary.json, before NaN and infinity become null and text.
        rows: The columns of metrics.csv by image, in the data set's order.
        scenes: The scene of each image; "" for none.
        independent: Whether no two images are of one scene.
    """

    label: str
    folder: Path
    summary: dict
    rows: dict[str, dict]
    scenes: dict[str, str]
    independent: bool

    def gains(self) -> dict[str, float]:
        """What each image gained in PSNR, in dB, but those that equal their sharp partner already: nothing to gain."""
        rows = ((name, row) for name, row in self.rows.items() if math.isfinite(row["blurry_psnr"]))
        return {name: row["psnr"] - row["blurry_psnr"] for name, row in rows}

    def scene_gains(self) -> dict[str, float]:
        """The mean of `gains` over each scene; NaN where there was nothing to gain."""
        gains = self.gains()
        by_scene = {
            scene: [gain for name, gain in gains.items() if self.scenes[name] == scene]
            for scene in self.summary["scenes"]
        }
        return {scene: float(np.mean(values)) if values else math.nan for scene, values in by_scene.items()}


@dataclass(frozen=True)
class Evaluation:
    """One network, or finished pictures, measured on one set of images, and its folder.

        metrics.csv     a row an image, in the order of measuring
        summary.json    what was measured, and the means, overall and per scene
        restored/       the restored images that the pictures show

    Args:
        folder: Its path.
        label: What the network is called in tables and pictures.
        about: What determines the figures: the sections model, data and restoration of the summary, or of finished
            pictures pictures and data.
        test_set: The images.
        changed: The images whose rows in metrics.csv were changed, as `read_rows` found them.
    """

    folder: Path
    label: str
    about: dict
    test_set: TestSet
    changed: list[str] = field(default_factory=list)

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    def restored(self, name: str) -> Path:
        return self.folder / "restored" / f"{name}.png"

    @contextlib.contextmanager
    def claimed(self):
        """Makes the folder, or checks that it holds this very evaluation, and keeps other processes out of it.

        A process that is killed lets go of the folder.

        Raises:
            EvaluationError: it holds another evaluation, with what differs, or other files, is in use, or cannot be
                written.
        """
        self._check()
        with claimed(self.folder, "evaluation", EvaluationError):
            self._check()  # what another process has begun in the meantime
            # Also drops a torn last line, which an added row would otherwise run into.
            rows = self.read_rows()
            if self.changed:
                changed = shown_name(", ".join(self.changed))
                print(f"measured again, for {shown_name(self.metrics)} was changed there: {changed}")
            write_whole(self.metrics, lambda path: self._append(path, rows))
            self.summarise()
            yield

    def _check(self) -> None:
        if (self.folder / "summary.json").is_file():
            lines = differing(_identity(read_summary(self.folder)), _identity(self.about))
            advice = "Give another folder with --output, or remove that one."
            refuse_other(f"{self.folder} holds another evaluation", lines, advice, EvaluationError)
        elif self.folder.is_file():
            raise EvaluationError(f"{self.folder} is a file. Give another folder with --output.")
        else:
            heading = f"{','.join(COLUMNS)}\n".encode()  # a full disk or a kill may leave that alone
            is_begun = self.metrics.is_file() and self.metrics.read_bytes() == heading
            for name in (*(() if is_begun else (self.metrics.name,)), "restored", "report.md", "figures"):
                if (self.folder / name).exists():
                    told = f"{self.folder} holds {name}, which is of no evaluation."
                    raise EvaluationError(f"{told} Give another folder with --output.")

    def read_rows(self) -> dict[str, dict]:
        """The measured images by name.

        Left out, to be measured again, are a last line that was cut off by a kill, rows without one of the metrics, as
        earlier versions wrote them, and rows that were changed; the last are named in `changed`.

        Raises:
            EvaluationError: it is no table of images.
        """
        if not self.metrics.is_file():
            return {}
        with open(self.metrics, newline="", encoding="utf-8", errors="replace") as file:
            lines = [line.replace("\0", "") for line in file if line.endswith("\n")]
        table = csv.DictReader(lines)
        try:
            known, columns = list(table), table.fieldnames or ()
        except csv.Error:
            known, columns = [], ()
        if lines and "image" not in columns:
            raise EvaluationError(
                f"{self.metrics}: is not from an evaluation, or another program changed it. Its first line should be "
                f"{','.join(COLUMNS)}. Give another folder with --output."
            )
        rows: dict[str, dict] = {}
        self.changed.clear()
        for texts in known:
            if not set(_FIGURES) <= texts.keys():
                continue  # by a version with fewer metrics
            name, check = texts["image"], texts.get("check")
            try:
                row = {key: float(texts[key] or "nan") for key in _FIGURES}
                # Earlier versions wrote no check.
                if "check" in columns and check != self._check_of(name, row):
                    raise ValueError
                rows[name] = row
            except (TypeError, ValueError):
                self.changed.append(name)
        return rows

    def _check_of(self, name: str, row: dict) -> str:
        content = json.dumps([_identity(self.about), name, [row[key] for key in _FIGURES]])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def refuse_lost(self, names: Sequence[str] = (), shown: Iterable[str] = ()) -> None:
        """Raises EvaluationLost where another program removed metrics.csv, rows of it, or restored images.

        Args:
            names: The images that have been measured.
            shown: Those whose restored form has been written.
        """
        lost = None if self.metrics.is_file() else self.metrics.name
        if not lost:
            rows = self.read_rows() if names else {}
            gone = [name for name in names if name not in rows]
            gone += [name for name in shown if not self.restored(name).is_file()]
            lost = f"what was measured of {gone[0]}" if gone else None
        if lost:
            raise EvaluationLost(
                f"{self.folder}: {lost} was removed while the evaluation went on. The same command measures it again."
            )

    def add(self, name: str, row: dict) -> None:
        """Adds an image's row to metrics.csv. Raises EvaluationLost where that was removed."""
        self.refuse_lost()
        self._append(self.metrics, {name: row})

    def _append(self, path: Path, rows: dict[str, dict]) -> None:
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not file.tell():  # a new one
                writer.writerow(COLUMNS)
            for name, row in rows.items():
                row = {key: float(row[key]) for key in _FIGURES}
                values = ("" if math.isnan(value) else repr(value) for value in row.values())
                writer.writerow([name, *values, self._check_of(name, row)])

    def summarise(self) -> Result:
        """Writes summary.json from the images that are measured so far, and returns their figures.

        Raises:
            EvaluationLost: metrics.csv was removed.
        """
        self.refuse_lost()
        found, names = self.read_rows(), self.test_set.source.names
        rows = {name: found[name] for name in names if name in found}
        scenes = {name: scene for name, scene in zip(names, self.test_set.scenes) if name in rows}
        summary = {
            **self.about,
            "convention": CONVENTION,
            "versions": versions(tf.__version__),
            "device": device_name(),
            "label": self.label,
            "measured": len(rows),
            "finished": len(rows) == len(names),
            "overall": means(list(rows.values())),
            "scenes": {
                scene: means([rows[name] for name in rows if scenes[name] == scene])
                for scene in sorted(set(scenes.values()) - {""})
            },
        }
        write_json(self.folder / "summary.json", _plain(summary))
        return Result(self.label, self.folder, summary, rows, scenes, self.test_set.independent)


def _identity(about: dict) -> dict:
    return {
        f"{section}.{key}": about[section].get(key, _BEFORE.get(key)) for section, key in _IDENTITY if section in about
    }


def read_summary(folder: Path) -> dict:
    """The content of an evaluation's summary.json.

    Raises:
        EvaluationError: there is none, or it is not from an evaluation.
    """
    path = folder / "summary.json"
    if not path.is_file():
        raise EvaluationError(f"{folder}: holds no summary.json. Give a folder that `evaluate` wrote.")
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        sections = ("pictures", "data") if "pictures" in summary else ("model", "data", "restoration")
        needed = [(section, key) for section, key in _IDENTITY if section in sections and key not in _BEFORE]
        complete = all(key in summary[section] for section, key in (*needed, ("data", "root")))
        if complete and all("psnr" in summary["overall"][side] for side in ("restored", "blurry")):
            return summary
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise EvaluationError(
        f"{path}: is not from an evaluation, or from one of another version. Give another folder with --output."
    )


def _plain(value):
    """Numbers that JSON has no word for as text or null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
