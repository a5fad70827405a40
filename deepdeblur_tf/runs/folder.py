"""The run folder: what a training leaves behind, and who may write into it. Loads no TensorFlow."""

from __future__ import annotations

import contextlib
import csv
from dataclasses import replace
from pathlib import Path

from deepdeblur_tf.claims import claimed, differing, refuse_other
from deepdeblur_tf.config import ConfigError, Experiment, effective_settings, recorded_experiment, to_yaml
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import UNFINISHED, write_whole
from deepdeblur_tf.runs.provenance import changes, read


class RunError(UserError):
    """A run folder that cannot be used for this training; the message says why and what to do."""


# What a checkpoint holds or lacks, by a run's `training` section, and whether one that holds it does without.
_IN_CHECKPOINTS = {
    "a discriminator": (lambda its: bool(its.adversarial), False),
    "Muon": (lambda its: its.optimizer == "muon", False),
    "float16": (lambda its: its.precision == "float16", False),
    "training.ema or a lower training.precision": (lambda its: bool(its.ema) or its.precision != "float32", True),
}


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
        .extending      there while a finished run is trained further: model.keras is still the earlier one
        .lock           held by the training that writes here

    Args:
        folder: Its path.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.config, self.provenance = folder / "config.yaml", folder / "provenance.json"
        self.last_checkpoints, self.best = folder / "checkpoints" / "last", folder / "checkpoints" / "best.keras"
        self.logs, self.samples = folder / "logs", folder / "samples"
        self.history, self.unreadable = folder / "history.csv", folder / "unreadable.txt"
        self.model, self.extending, self.lock = folder / "model.keras", folder / ".extending", folder / ".lock"
        self._settings = ""  # what config.yaml is to hold, once it is claimed

    @property
    def has_checkpoint(self) -> bool:
        return any(self.last_checkpoints.glob("*.sha256"))

    @property
    def is_finished(self) -> bool:
        return self.model.is_file() and not self.extending.is_file()

    @contextlib.contextmanager
    def claimed(self, experiment: Experiment, data: dict, force: bool = False, steps: int = 0):
        """Makes the folder for an experiment, or checks that it holds this very one, and keeps other trainings out.

        A folder in which no training has got as far as a checkpoint is taken over. While the context lasts no other
        process can claim the folder; a process that is killed lets go of it.

        Args:
            experiment: The experiment.
            data: Its data, as `DataSet.about` gives it.
            force: Whether to continue a run, a finished one too, in spite of other settings or data.
            steps: Of an epoch, which none can change; 0 where they are not known.

        Raises:
            RunError: the folder holds another experiment, one of other data (with what differs) or other files, is in
                use by another training, or cannot be written.
        """
        self._check(experiment, data, force, steps)
        with claimed(self.folder, "training", RunError):
            self._check(experiment, data, force, steps)  # what another training has begun in the meantime
            self._begin(experiment)
            yield

    def _begin(self, experiment: Experiment) -> None:
        try:
            for left_over in self.folder.rglob(UNFINISHED):  # of a training that was killed
                left_over.unlink()
            if self.model.is_file():
                self.extending.touch()
            self._settings = to_yaml(experiment)
            self._write_config()
        except OSError as error:
            raise RunError(f"{self.folder}: cannot be written ({error.strerror}).") from error

    def _write_config(self) -> None:
        write_whole(self.config, lambda path: path.write_text(self._settings, encoding="utf-8"))

    def keep_config(self) -> None:
        """Writes config.yaml again where it was removed since: without it no command continues the run."""
        if self._settings and not self.config.is_file():
            self._write_config()

    def differing(self, experiment: Experiment, data: dict | None = None) -> list[str]:
        """What differs between the training that the folder holds and this one, a line each; none in a new folder.

        Args:
            experiment: The experiment.
            data: As `claimed` has it; None leaves the data out. The same pairs under another path are no difference.

        Raises:
            RunError: the folder is no run's and not empty.
        """
        held = self._held()
        if held is None:
            return []
        held_data = read(self.provenance).get("data")
        if data and data == held_data:
            held = replace(held, data=replace(held.data, root=experiment.data.root))
        lines = differing(effective_settings(held), effective_settings(experiment))
        if data and held_data:  # empty for embedded scenes, and for photos as of runs by earlier versions
            lines += changes(held_data, data)
        return lines

    def _held(self) -> Experiment | None:
        """The experiment of the training that the folder holds; None where none has got as far as a checkpoint.

        Raises:
            RunError: the folder is no run's and not empty. Other programs have a config.yaml too.
        """
        traces = (self.lock, self.provenance, self.last_checkpoints, self.model)
        if self.config.is_file() and any(path.exists() for path in traces):
            try:
                held = recorded_experiment(self.config)
            except ConfigError as error:
                what, *more = error.args
                lines = f"{self.folder} is no run folder: {what}", *more, "Give another one with --output."
                raise RunError(*lines) from error
            return held if self.model.is_file() or self.has_checkpoint else None
        if self.folder.exists():
            if not self.folder.is_dir() or any(
                path != self.lock and not path.match(UNFINISHED) for path in self.folder.iterdir()
            ):
                raise RunError(f"{self.folder} is no run folder and not empty. Give another one with --output.")
        return None

    def _check(self, experiment: Experiment, data: dict, force: bool, steps: int) -> None:
        """Raises RunError where the folder cannot be this experiment's; the arguments are those of `claimed`."""
        lines = self.differing(experiment, data)
        anew = "For a new run give another --name or --output."
        if lines and not force:
            advice = f"{anew} To continue that one give its own settings, or --force, which goes on with these."
            refuse_other(f"{self.folder} holds another experiment", lines, advice, RunError)
        self._check_made()
        if not lines:
            return
        held = self._held()
        if held is not None:
            self._check_checkpoints(held, experiment, anew)
        if steps:
            self._check_epochs(steps)
        trained = max((int(row["epoch"]) for row in self.read_history()), default=0)
        least = trained + 1 if self.is_finished else trained
        if experiment.training.epochs < least:
            raise RunError(
                f"training.epochs: received {experiment.training.epochs}; allowed: at least {least}, for {self.folder} "
                f"has trained {trained}."
            )

    def _check_made(self) -> None:
        """Raises RunError where a training's checkpoints were removed: it would begin anew, over what it made."""
        networks = [path for path in (self.model, self.best) if path.is_file()]
        # The first epoch's row and network may be there before its checkpoint.
        if (self.model in networks or len(self.read_history()) > 1) and not self.has_checkpoint:
            learned = [f" --training.pretrained {path} begins with what it learned." for path in networks[:1]]
            raise RunError(
                f"{self.folder} holds what was trained, and no checkpoint to continue from. Give another --name or "
                f"--output.{''.join(learned)}"
            )

    def _check_checkpoints(self, held: Experiment, experiment: Experiment, anew: str) -> None:
        """Raises RunError where the checkpoints of one experiment cannot be another's, which is told `anew`."""
        if held.model != experiment.model:
            raise RunError(f"{self.folder} holds another network, which --force cannot change. {anew}")
        for what, (has, does_without) in _IN_CHECKPOINTS.items():
            before, now = has(held.training), has(experiment.training)
            if before != now and not (before and does_without):
                word = "with" if before else "without"
                raise RunError(f"{self.folder} was trained {word} {what}, which --force cannot change. {anew}")

    def _check_epochs(self, steps: int) -> None:
        """Raises RunError where the run's epochs had another number of steps: its rows would be of neither."""
        for row in self.read_history()[-1:]:
            step, epoch = int(row.get("step") or 0), int(row["epoch"])
            if epoch and step and step != steps * epoch:
                raise RunError(
                    f"{self.folder} has trained epochs of {step // epoch} steps, and these are of {steps}. Give its "
                    "own pairs, training.batch_size and training.steps, or begin a new run with "
                    f"--training.pretrained {self.folder if self.is_finished else self.best}."
                )

    def read_history(self) -> list[dict[str, str]]:
        """The rows of history.csv, oldest first; none before the first epoch's end.

        Raises:
            RunError: another program changed it.
        """
        if not self.history.is_file():
            return []
        try:
            with open(self.history, newline="", encoding="utf-8", errors="replace") as file:
                rows = list(csv.DictReader(file))
            for row in rows:
                int(row["epoch"]), float(row.get("val_psnr") or 0)
                int(row.get("step") or 0), int(row.get("skipped") or 0)
        except (csv.Error, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"{self.history}: another program changed it. Put it back as it was, or remove it."
            ) from error
        return rows
