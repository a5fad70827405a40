"""Checkpoints on disk: each with the hashes of its files, the newest sound one found again, the oldest removed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from deepdeblur_tf.compat import tf
from deepdeblur_tf.files import sha256_of, write_whole
from deepdeblur_tf.runs.folder import RunError


class CheckpointFiles:
    """The checkpoints step-<number>.{index,data-*} of a folder, each with a step-<number>.sha256.

    The hashes are written last, so that a checkpoint without them is one that a kill cut off.

    Args:
        checkpoint: What is saved and restored.
        folder: Where.
        keep: int. How many are kept, the newest.
    """

    def __init__(self, checkpoint: tf.train.Checkpoint, folder: Path, keep: int):
        self.checkpoint, self.folder, self.keep = checkpoint, folder, keep

    def save(self, step: int) -> None:
        """Writes a checkpoint of this moment and removes what is too old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left_over in self.folder.glob("step-*_temp"):  # TensorFlow's, from a kill while it wrote
            shutil.rmtree(left_over)
        self._hashes(step).unlink(missing_ok=True)
        self.checkpoint.write(str(self.folder / f"step-{step}"))
        lines = "".join(f"{sha256_of(path)}  {path.name}\n" for path in self._files(step))
        write_whole(self._hashes(step), lambda path: path.write_text(lines, encoding="utf-8"))
        later = [other for other in self.steps() if other > step]  # damaged ones, from before the run fell back
        for old in later + [other for other in self.steps() if other <= step][self.keep :]:
            # The hashes first: what is left of a checkpoint that is half removed is not taken for a whole one.
            for path in (self._hashes(old), *self._files(old)):
                path.unlink(missing_ok=True)

    def restore(self) -> tuple[int, list[str]]:
        """Reads the newest sound checkpoint.

        Returns:
            (its step, 0 where there is no checkpoint at all; a line on each newer one that is damaged).

        Raises:
            RunError: all are damaged, or they are another Keras's.
        """
        damaged = []
        for step in self.steps():
            reason = self._damage(step)
            if reason is None:
                self._read(step)
                return step, damaged
            damaged.append(f"{self.folder / f'step-{step}'}: {reason}")
        if any(self._hashes(step).is_file() for step in self.steps()):
            raise RunError(
                "no checkpoint is sound:\n  " + "\n  ".join(damaged) + f"\nRemove {self.folder} to begin anew."
            )
        return 0, damaged

    def steps(self) -> list[int]:
        """The steps of which there is at least a part, the newest first."""
        found = (re.match(r"step-(\d+)\.", path.name) for path in self.folder.glob("step-*.*"))
        return sorted({int(match[1]) for match in found if match}, reverse=True)

    def _hashes(self, step: int) -> Path:
        return self.folder / f"step-{step}.sha256"

    def _files(self, step: int) -> list[Path]:
        return sorted(path for path in self.folder.glob(f"step-{step}.*") if path.suffix != ".sha256")

    def _damage(self, step: int) -> str | None:
        """What is wrong with a checkpoint; None for a sound one."""
        if not self._hashes(step).is_file():
            return "was not finished, by a kill"
        try:
            lines = self._hashes(step).read_text(encoding="utf-8").splitlines()
            for digest, name in (line.split("  ", 1) for line in lines):
                if sha256_of(self.folder / name) != digest:
                    return f"{name} is damaged, its content does not match its SHA-256"
        except (OSError, ValueError) as error:
            return f"cannot be read ({error})"
        return None if lines else "its list of hashes is empty"

    def _read(self, step: int) -> None:
        path = str(self.folder / f"step-{step}")
        try:
            self.checkpoint.read(path).assert_existing_objects_matched()
        except AssertionError as error:
            raise RunError(
                f"{path} does not fit TensorFlow {tf.__version__}. A run is continued on the stack that began it: "
                "Python 3.9 to 3.11 or Python 3.12 and 3.13."
            ) from error
