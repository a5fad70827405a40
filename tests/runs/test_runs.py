"""The run folder: whose it is, what it may be continued with, and how a finished run is trained further."""

import os
import shutil
import signal

import pytest

from deepdeblur_tf.config import load_experiment, to_yaml
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import UNFINISHED
from deepdeblur_tf.runs import provenance
from deepdeblur_tf.runs.folder import Run, RunError
from deepdeblur_tf.train import main
from deepdeblur_tf.training.stops import StopOnNonFiniteLoss
from tests.helpers import SMALL_FLAGS, assert_equal_runs


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


def claim(run, experiment, data=None, **options):
    with run.claimed(experiment, data or {}, **options):
        pass


def begin(run, experiment, data=None, epochs=0, finish=False):
    """What a training leaves that has got as far as a checkpoint."""
    claim(run, experiment, data)
    provenance.record(run.provenance, data or {}, 0, "CPU", "2")
    run.last_checkpoints.mkdir(parents=True)
    (run.last_checkpoints / "step-3.sha256").touch()
    if epochs:
        run.history.write_text("epoch,step\n" + "".join(f"{epoch},{10 * epoch}\n" for epoch in range(1, epochs + 1)))
    if finish:
        run.model.touch()


@pytest.mark.parametrize("content", [b"epoch;step\n1;3\n", "epoch,step\n1,3\n".encode("utf-16-le"), b"\xff\n\xff\n"])
def test_a_history_that_another_program_changed_is_named(run, content):
    run.folder.mkdir()
    run.history.write_bytes(content)
    with pytest.raises(RunError, match="history.csv: another program changed it"):
        run.read_history()


# Whose folder it is.


@pytest.mark.parametrize(
    "files",
    [
        {"config.yaml": "lr: 0.1\n"},
        {"config.yaml": "name: thesis\nseed: 3\n"},  # an experiment's file, but nothing of a run
        {"config.yaml": "lr: 0.1\n", "checkpoints/last/epoch-3.ckpt": ""},
        {"config.yaml": "lr: 0.1\n", "model.keras": ""},
        {"config.yaml": "lr: 0.1\n", ".lock": ""},
        {"config.yaml": "- a list\n", "provenance.json": "{}"},
        {"thesis.txt": "mine"},
    ],
)
def test_a_folder_of_others_is_left_as_it_is(run, small_experiment, files):
    for name, content in files.items():
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text(content)
    for force in (False, True):
        with pytest.raises(RunError, match=f"{run.folder} is no run folder.*\\s.*--output|no run folder and not empty"):
            claim(run, small_experiment(), force=force)
    found = {
        path.relative_to(run.folder).as_posix(): path.read_text() for path in run.folder.rglob("*.*") if path.is_file()
    }
    assert found == files


def test_a_file_is_no_folder(run, small_experiment):
    run.folder.write_text("mine")
    with pytest.raises(RunError, match="is no run folder and not empty"):
        claim(run, small_experiment())


@pytest.mark.parametrize("moment", ["claimed", "writing config.yaml"])
def test_a_run_that_was_killed_before_its_first_checkpoint_is_taken_over(run, small_experiment, moment):
    child = os.fork()
    if not child:
        if moment != "claimed":
            os.replace = lambda *_: os._exit(0)
        with run.claimed(small_experiment(), {}):
            os._exit(0)
    os.waitpid(child, 0)
    assert run.config.is_file() == (moment == "claimed") and run.lock.is_file()
    claim(run, small_experiment(**{"training.clip": 0.25}))
    assert load_experiment(run.config).training.clip == 0.25
    assert not list(run.folder.glob(UNFINISHED))


def test_what_a_killed_training_left_half_written_is_removed(run, small_experiment):
    begin(run, small_experiment())
    left_over = run.best.with_name(".deepdeblur_tf.0123.part.keras")
    left_over.touch()
    claim(run, small_experiment())
    assert not left_over.exists() and run.config.is_file()


# What it may be continued with.


def test_another_experiment_is_refused_and_named_unless_forced(run, small_experiment):
    begin(run, small_experiment())
    before = run.config.read_text()
    with pytest.raises(RunError, match=r"training.clip: 0.5 / 0.25\n.*--force"):
        claim(run, small_experiment(**{"training.clip": 0.25}))
    assert run.config.read_text() == before
    claim(run, small_experiment(**{"training.clip": 0.25}), force=True)
    assert load_experiment(run.config).training.clip == 0.25


def test_the_same_data_under_another_path_are_the_same_data(run, gopro, tmp_path, small_experiment):
    def described(root):
        experiment = small_experiment(**{"data.root": str(root)})
        return experiment, find_data(experiment).about()

    begin(run, *described(gopro))
    moved = tmp_path / "moved"
    gopro.rename(moved)
    claim(run, *described(moved))
    assert load_experiment(run.config).data.root == str(moved)
    # Other data under another path are other data.
    for kind in ("blur", "sharp"):
        (moved / "train/GOPR0374_11_03" / kind / "000002.png").unlink()
    other = tmp_path / "other"
    moved.rename(other)
    with pytest.raises(RunError, match=r"data.root: '.*moved' / '.*other'\n  train data: 4 pairs, \w+ / 3 pairs, \w+"):
        claim(run, *described(other))


@pytest.mark.parametrize("content", ['{"data"', "[]"])
def test_a_damaged_provenance_is_named(run, small_experiment, content):
    begin(run, small_experiment())
    run.provenance.write_text(content)
    with pytest.raises(UserError, match="provenance.json is"):
        claim(run, small_experiment())


def test_force_does_not_change_the_network(run, small_experiment):
    begin(run, small_experiment(), finish=True)
    before = run.config.read_text()
    with pytest.raises(RunError, match="holds another network, which --force cannot change"):
        claim(run, small_experiment(**{"model.filters": 8}), force=True)
    assert run.config.read_text() == before and run.is_finished


@pytest.mark.parametrize("finish, force", [(False, False), (False, True), (True, True)])
def test_what_was_trained_is_not_written_over_where_its_checkpoints_were_removed(run, small_experiment, finish, force):
    begin(run, small_experiment(**{"training.epochs": 3}), epochs=3, finish=finish)
    shutil.rmtree(run.last_checkpoints)
    with pytest.raises(RunError, match="holds what was trained, and no checkpoint to continue from") as refused:
        claim(run, small_experiment(**{"training.epochs": 5}), force=force)
    assert (f"--training.pretrained {run.model}" in str(refused.value)) == finish


@pytest.mark.parametrize(
    "settings, what",
    [
        ({"training.ema": 0.99}, "without training.ema or a lower training.precision"),
        ({"training.precision": "float16"}, "without float16"),
        ({"training.optimizer": "muon"}, "without Muon"),
    ],
)
def test_force_does_not_change_what_checkpoints_hold(run, small_experiment, settings, what):
    begin(run, small_experiment(), finish=True)
    before = run.config.read_text()
    with pytest.raises(RunError, match=f"was trained {what}, which --force cannot change"):
        claim(run, small_experiment(**settings), force=True)
    assert run.config.read_text() == before and run.is_finished


def test_force_changes_what_checkpoints_hold_either_way(run, small_experiment):
    begin(run, small_experiment(**{"training.ema": 0.999}))
    for settings in ({"training.ema": 0.99}, {"training.precision": "bfloat16"}, {}):
        claim(run, small_experiment(**settings), force=True)


def test_epochs_of_another_length_are_refused(run, small_experiment):
    begin(run, small_experiment(**{"training.epochs": 3}), epochs=3, finish=True)
    longer = small_experiment(**{"training.epochs": 5})
    with pytest.raises(RunError, match="has trained epochs of 10 steps, and these are of 15") as refused:
        claim(run, longer, force=True, steps=15)
    assert f"--training.pretrained {run.folder}." in str(refused.value)
    claim(run, longer, force=True, steps=10)


@pytest.mark.parametrize("finish, epochs, allowed", [(False, 2, 3), (True, 2, 4), (True, 3, 4)])
def test_fewer_epochs_than_are_trained_are_refused(run, small_experiment, finish, epochs, allowed):
    begin(run, small_experiment(**{"training.epochs": 3}), epochs=3, finish=finish)
    changed = small_experiment(**{"training.epochs": epochs, "training.clip": 0.25})
    with pytest.raises(RunError, match=f"received {epochs}; allowed: at least {allowed}, for .* has trained 3"):
        claim(run, changed, force=True)
    claim(run, small_experiment(**{"training.epochs": 4}), force=True)


def test_a_finished_run_that_is_extended_is_unfinished_until_its_end(run, small_experiment):
    begin(run, small_experiment(), epochs=2, finish=True)
    longer = small_experiment(**{"training.epochs": 4})
    assert run.is_finished and run.differing(longer) == ["training.epochs: 2 / 4"]
    claim(run, longer, force=True)
    assert run.model.is_file() and not run.is_finished and not run.differing(longer)
    assert run.config.read_text() == to_yaml(longer)


def stop_after(step, monkeypatch):
    def send(callback, *_, **__):
        if int(callback.model.optimizer.iterations) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(StopOnNonFiniteLoss, "on_train_batch_end", send)


@pytest.mark.slow
def test_a_finished_run_is_extended_and_ends_like_a_longer_one(tmp_path, monkeypatch, capfd):
    run, whole = Run(tmp_path / "run"), Run(tmp_path / "whole")
    small = [*SMALL_FLAGS, "--model.levels=1", "--validation.samples=0"]
    longer = [*small, "--training.epochs=4"]
    assert main(["--output", str(run.folder), *small]) == 0
    assert main(["--output", str(whole.folder), *longer]) == 0
    finished = run.model.read_bytes()
    capfd.readouterr()
    assert main(["--output", str(run.folder), *longer]) == 2
    assert "training.epochs: 2 / 4" in capfd.readouterr().err
    # Stopped on the way: the finished network is still there, and the run is not taken for finished.
    with monkeypatch.context() as patch:
        stop_after(8, patch)
        assert main(["--output", str(run.folder), *longer, "--force"]) == 130
    assert run.model.read_bytes() == finished
    capfd.readouterr()
    assert main(["--output", str(run.folder), *longer]) == 0
    assert "continuing after step 8 of 12" in capfd.readouterr().out
    assert_equal_runs(run.folder, whole.folder)
    assert not run.extending.exists()
    for force in ([], ["--force"]):
        assert main(["--output", str(run.folder), *longer, *force]) == 0
        assert "is finished; nothing to do" in capfd.readouterr().out


@pytest.mark.slow
def test_a_finished_run_of_data_that_were_moved_is_finished(tmp_path, run, gopro, capfd):
    flags = ["--output", str(run.folder), *SMALL_FLAGS, "--training.epochs=1"]
    assert main([*flags, "--data.root", str(gopro)]) == 0
    shutil.move(gopro, tmp_path / "moved")
    before = run.config.read_text()
    assert main([*flags, "--data.root", str(tmp_path / "moved")]) == 0
    assert "is finished; nothing to do" in capfd.readouterr().out and run.config.read_text() == before
