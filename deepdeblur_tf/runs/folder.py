"""The run folder: what a training leaves behind, and who may write into it. Loads no TensorFlow."""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass
from pathlib import Path

import filelock

from deepdeblur_tf.config import Experiment, differences, load_experiment, to_yaml
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_whole
from deepdeblur_tf.runs.provenance import changes, read


class RunError(UserError):
    """A run folder that cannot be used for this training; the message says why and what to do."""


@dataclass(frozen=True)
class Run:
    """A run folder.

        config.yaml     the experiment, every setting resolved
        checkpoints/    last/ to continue from, best.keras by validation PSNR
        logs/           TensorBoard
        history.csv     a row an epoch
        provenance.json its data, and every process that worked on it
        unreadable.txt  training images that were skipped, with `data.on_error: skip`
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
    def unreadable(self) -> Path:
        return self.folder / "unreadable.txt"

    @property
    def provenance(self) -> Path:
        return self.folder / "provenance.json"

    @property
    def is_finished(self) -> bool:
        return self.model.is_file()

    @contextlib.contextmanager
    def claimed(self, experiment: Experiment, data: dict, force: bool = False):
        """Makes the folder for an experiment, or checks that it holds this very one, and keeps other trainings out.

        A folder in which no training has got as far as a checkpoint is taken over. While the context lasts no other
        process can claim the folder; a process that is killed lets go of it.

        Args:
            experiment: The experiment.
            data: Its data, as `provenance.describe_data` gives it.
            force: Whether to continue a run in spite of other settings or data.

        Raises:
            RunError: the folder holds another experiment, one of other data (with what differs) or other files, is in
                use by another training, or cannot be written.
        """
        self.check(experiment, data, force)
        lock = filelock.FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout as error:
            raise RunError(
                f"another training is writing to {self.folder}. Wait for its end, stop it, or give another folder with "
                "--output."
            ) from error
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written ({error.strerror}).") from error
        try:
            self.check(experiment, data, force)  # what another training has begun in the meantime
            self._write_config(experiment)
            yield
        finally:
            lock.release()

    def _write_config(self, experiment: Experiment) -> None:
        try:
            write_whole(self.config, lambda path: path.write_text(to_yaml(experiment), encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written ({error.strerror}).") from error

    def check(self, experiment: Experiment, data: dict | None = None, force: bool = False) -> None:
        """Raises RunError where the folder cannot be an experiment's: it holds another one, or other files.

        Args:
            experiment: The experiment.
            data: As `claimed` has it; None leaves the data unchecked.
            force: As `claimed` has it.
        """
        if self.config.is_file() and (self.is_finished or any(self.last_checkpoints.glob("*.sha256"))):
            differing = differences(load_experiment(self.config), experiment)
            held = read(self.provenance).get("data")
            if data is not None and held is not None:
                differing += changes(held, data)
            if differing and not force:
                raise RunError(
                    f"{self.folder} holds another experiment. What differs (there / here):\n  "
                    + "\n  ".join(differing)
                    + "\nFor a new run give another --name or --output. To continue that one give its own settings, or "
                    "--force, which goes on with these."
                )
        elif self.folder.exists() and not self.config.is_file():
            if not self.folder.is_dir() or any(path.name != ".lock" for path in self.folder.iterdir()):
                raise RunError(f"{self.folder} is no run folder and not empty. Give another folder with --output.")

    def read_history(self) -> list[dict[str, str]]:
        """The rows of history.csv, oldest first; none before the first epoch's end."""
        if not self.history.is_file():
            return []
        with open(self.history, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
