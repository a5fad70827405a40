"""Checkpoints on disk, and what they hold beside the weights."""

import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Training
from deepdeblur_tf.model import build_model
from deepdeblur_tf.runs.folder import Run, RunError
from deepdeblur_tf.training.checkpoints import CheckpointFiles, Checkpoints
from deepdeblur_tf.training.trainer import Trainer
from tests.helpers import flip_a_bit


class Saved:
    """A value, and checkpoints of it in which it is the step's number."""

    def __init__(self, folder, keep=3):
        self.value = tf.Variable(0.0)
        self.files = CheckpointFiles(tf.train.Checkpoint(value=self.value), folder, keep)

    def save(self, *steps):
        for step in steps:
            self.value.assign(step)
            self.files.save(step)

    def restore(self):
        step, damaged = self.files.restore()
        assert float(self.value) == step
        return step, damaged


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "last"


def file(folder, step, suffix):
    return folder / f"step-{step}.{suffix}"


DATA = "data-00000-of-00001"


def test_the_newest_are_kept_and_the_newest_is_restored(folder):
    assert Saved(folder).restore() == (0, [])
    Saved(folder).save(8, 9, 10, 11)
    assert {path.stem for path in folder.iterdir()} == {"step-9", "step-10", "step-11"}
    assert Saved(folder).restore() == (11, [])


@pytest.mark.parametrize(
    "damage, reason",
    [
        (lambda folder: flip_a_bit(file(folder, 3, DATA)), f"step-3.{DATA} is damaged"),
        (lambda folder: file(folder, 3, DATA).write_bytes(file(folder, 3, DATA).read_bytes()[:-1]), "is damaged"),
        (lambda folder: file(folder, 3, DATA).unlink(), "cannot be read"),
        (lambda folder: file(folder, 3, "sha256").unlink(), "was not finished, by a kill"),
        (lambda folder: file(folder, 3, "sha256").write_text(""), "its list of hashes is empty"),
    ],
    ids=["flipped bit", "truncated", "missing", "no hashes", "empty hashes"],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(folder, damage, reason):
    Saved(folder).save(1, 2, 3)
    damage(folder)
    step, (line,) = Saved(folder).restore()
    assert step == 2 and line.startswith(f"{folder / 'step-3'}: ") and reason in line


def test_a_damaged_checkpoint_takes_no_sound_ones_place(folder):
    Saved(folder).save(1, 2, 3)
    flip_a_bit(file(folder, 3, DATA))
    saved = Saved(folder, keep=1)
    assert saved.restore()[0] == 2
    saved.save(3)
    assert {path.stem for path in folder.iterdir()} == {"step-3"}
    # One that is further than the run after it fell back goes too.
    saved.save(6)
    flip_a_bit(file(folder, 6, DATA))
    saved.save(4)
    assert {path.stem for path in folder.iterdir()} == {"step-4"}
    assert Saved(folder).restore() == (4, [])


def test_where_all_checkpoints_are_damaged_nothing_is_restored(folder):
    Saved(folder).save(1, 2, 3)
    for step in (1, 2, 3):
        flip_a_bit(file(folder, step, "index"))
    with pytest.raises(RunError, match=rf"no checkpoint is sound:\n(.*damaged.*\n){{3}}Remove {folder} to begin anew"):
        Saved(folder).restore()


def test_a_checkpoint_of_something_else_is_refused(folder):
    Saved(folder).save(1)
    other = CheckpointFiles(tf.train.Checkpoint(other=tf.Variable(0.0)), folder, 3)
    with pytest.raises(RunError, match="step-1 does not fit TensorFlow .* continued on the stack that began it"):
        other.restore()


def test_a_folder_that_goes_while_it_is_written_is_named(folder, monkeypatch):
    saved = Saved(folder)
    checkpoint = saved.files.checkpoint
    write = checkpoint.write

    def written(path):
        folder.rmdir()
        folder.write_text("what another program puts there")
        write(path)

    monkeypatch.setattr(checkpoint, "write", written)
    with pytest.raises(RunError, match=f"{folder}: was removed while a checkpoint was written there"):
        saved.save(1)


def test_what_a_kill_left_is_removed(folder):
    Saved(folder).save(1)
    (folder / "step-2_temp").mkdir()
    (folder / "step-2_temp" / "part-00000-of-00001").write_bytes(b"half")
    Saved(folder, keep=1).save(3)
    assert {path.stem for path in folder.iterdir()} == {"step-3"}


def test_the_best_score_survives_a_restart(tmp_path):
    def restarted():
        trainer = Trainer(build_model(levels=1, blocks=1, filters=2, kernel_size=3))
        trainer.compile(tf.keras.optimizers.Adam())
        checkpoints = Checkpoints(Run(tmp_path), trainer, tf.Variable(0.0), Training(), 1, validated=[1, 2, 3])
        checkpoints.files.restore()
        return checkpoints

    best = tmp_path / "checkpoints" / "best.keras"
    restarted().on_epoch_end(0, {"val_psnr": 30.0})
    first = best.stat().st_mtime_ns
    restarted().on_epoch_end(1, {"val_psnr": 29.0})
    assert best.stat().st_mtime_ns == first
    restarted().on_epoch_end(2, {"val_psnr": 31.0})
    assert best.stat().st_mtime_ns > first
