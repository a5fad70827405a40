"""The run folder: what a training leaves behind, and who may write into it. Loads no TensorFlow."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deepdeblur_tf.config import Experiment, differences, load_experiment, to_yaml
from deepdeblur_tf.files import write_whole


class Network(NamedTuple):
    """A trained network to be measured.

    Attributes:
        label: What it is called in tables and pictures.
        file: Its `.keras` file.
        experiment: The name of the experiment that trained it; None where that is not known.
        folder: Where its figures go.
    """

    label: str
    file: Path
    experiment: str | None
    folder: Path


class RunError(ValueError):
    """A run folder that cannot be used for this training; the message says why and what to do."""


def model_file(run_folder_or_keras_file) -> Path:
    """The `.keras` file of a finished run, or the file itself.

    Raises:
        FileNotFoundError: names what is missing, and for an unfinished run what there is instead.
    """
    path = Path(run_folder_or_keras_file).expanduser()
    file = Run(path).model if path.is_dir() else path
    if not file.is_file():
        best = Run(path).best
        hint = f" The run is not finished; its best network so far is {best}." if best.is_file() else ""
        raise FileNotFoundError(f"{file}: no such file. Give a run's folder or a .keras file.{hint}")
    return file


@dataclass(frozen=True)
class Run:
    """A run folder.

        config.yaml     the experiment, every setting resolved
        checkpoints/    last/ to continue from, best.keras by validation PSNR
        logs/           TensorBoard
        history.csv     a row an epoch
        samples/        validation images, blurry, restored and sharp
        model.keras     the trained network, when the run is finished

    Args:
        folder: Its path.
    """

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def last_checkpoints(self) -> Path:
        return self.folder / "checkpoints" / "last"

    @property
    def best(self) -> Path:
        return self.folder / "checkpoints" / "best.keras"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def history(self) -> Path:
        return self.folder / "history.csv"

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def model(self) -> Path:
        return self.folder / "model.keras"

    @property
    def is_finished(self) -> bool:
        return self.model.is_file()

    def claim(self, experiment: Experiment) -> None:
        """Makes the folder for an experiment, or checks that it holds this very one.

        A folder in which no training has got as far as a checkpoint is taken over.

        Raises:
            RunError: the folder holds another experiment (with the settings that differ) or other files, or cannot
                be written.
        """
        if self.config.is_file() and (self.is_finished or (self.last_checkpoints / "checkpoint").is_file()):
            differing = differences(load_experiment(self.config), experiment)
            if differing:
                raise RunError(
                    f"{self.folder} holds another experiment. Settings that differ (there / here):\n  "
                    + "\n  ".join(differing)
                    + "\nGive another folder with --output, or the settings of that run to continue it."
                )
            if self.is_finished:
                return
        elif self.folder.exists() and not self.config.is_file():
            if not self.folder.is_dir() or any(self.folder.iterdir()):
                raise RunError(f"{self.folder} is no run folder and not empty. Give another folder with --output.")
        try:
            write_whole(self.config, lambda path: path.write_text(to_yaml(experiment), encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written ({error.strerror}).") from error

    def read_history(self) -> list[dict[str, str]]:
        """The rows of history.csv, oldest first; none before the first epoch's end."""
        if not self.history.is_file():
            return []
        with open(self.history, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
