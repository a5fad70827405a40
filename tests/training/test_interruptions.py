"""Every way of stopping a training: the same command continues it, and it ends like one that was never stopped.

3 epochs of 10 steps, with a checkpoint after every step. `test_train` stops and continues a shorter run.
"""

import shutil
import signal

import pytest

from deepdeblur_tf.train import main
from deepdeblur_tf.training.checkpoints import Checkpoints
from experiments.benchmarks.kills import FLAGS, kill_again_and_again
from tests.helpers import assert_equal_runs, flip_a_bit, load_events, read_csv, send_signal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert main(["--output", str(run), *FLAGS]) == 0
    return run


@pytest.mark.parametrize(
    "number, step",
    [
        (signal.SIGINT, 9),
        (signal.SIGTERM, 10),  # the epoch's last
        (signal.SIGINT, 11),
        (signal.SIGTERM, None),  # in the validation
    ],
)
def test_a_signal_at_any_moment_loses_no_step_and_no_row(run, uninterrupted, monkeypatch, capfd, number, step):
    with send_signal(monkeypatch, step, number):
        assert main(["--output", str(run), *FLAGS]) == 130
    error = capfd.readouterr().err
    assert "The same command continues the run" in error and "Traceback" not in error
    assert not (run / "model.keras").exists()
    assert main(["--output", str(run), *FLAGS]) == 0
    assert "continuing after step" in capfd.readouterr().out
    assert_equal_runs(run, uninterrupted)


def test_a_signal_at_the_last_step_of_an_epoch_without_a_validation_loses_no_step(run, monkeypatch, capfd):
    flags = [*FLAGS, "--training.checkpoint_minutes=10", "--validation.every=3"]
    with send_signal(monkeypatch, 10, signal.SIGINT):
        assert main(["--output", str(run), *flags]) == 130
    assert "stopped after step 10. The same command continues" in capfd.readouterr().err
    assert main(["--output", str(run), *flags]) == 0
    assert "continuing after step 10 of 30" in capfd.readouterr().out
    assert len(read_csv(run / "history.csv")) == 3


def test_a_run_that_is_removed_while_it_trains_is_a_run_in_the_end(run, monkeypatch, capfd):
    on_epoch_end = Checkpoints.on_epoch_end

    def removed(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 0:
            shutil.rmtree(run)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_epoch_end", removed)
        assert main(["--output", str(run), *FLAGS]) == 0
    capfd.readouterr()
    assert main(["--output", str(run), *FLAGS]) == 0
    assert "is finished; nothing to do" in capfd.readouterr().out


@pytest.mark.parametrize("aim", [None, "checkpoint"])
def test_kills_at_random_moments_change_nothing(run, uninterrupted, aim):
    # The short form of `python -m experiments.benchmarks.kills`.
    for _ in range(3):  # on a machine that is busy, a run may be over before the second kill, and is begun anew
        shutil.rmtree(run, ignore_errors=True)
        if (struck := kill_again_and_again(run, kills=2, seed=1, aim=aim)) == 2:
            break
    assert struck == 2
    assert_equal_runs(run, uninterrupted)


def test_after_a_fall_back_to_an_older_checkpoint_every_step_is_there_once(run, uninterrupted, monkeypatch, capfd):
    for step in (13, 14):  # two processes, so that step 13 lies in another event file than the newest
        with send_signal(monkeypatch, step):
            assert main(["--output", str(run), *FLAGS]) == 130
    for step in (13, 14):
        flip_a_bit(run / "checkpoints" / "last" / f"step-{step}.data-00000-of-00001")
    capfd.readouterr()
    assert main(["--output", str(run), *FLAGS]) == 0
    output = capfd.readouterr().out
    assert output.count("left out a checkpoint: ") == 2 and "continuing after step 12 of 30" in output
    assert_equal_runs(run, uninterrupted)
    for purge in (False, True):
        events = load_events(run, purge)
        for tag in events.Tags()["tensors"]:
            steps = list(range(1, 31)) if tag.startswith("train/") else [10, 20, 30]
            assert [event.step for event in events.Tensors(tag)] == steps, tag
