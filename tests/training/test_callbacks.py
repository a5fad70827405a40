"""TensorBoard's files and the progress of a training."""

import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepdeblur_tf.compat import progress_bar, tf
from deepdeblur_tf.training.tensorboard import cut_events_after
from tests.helpers import terminal


def write_events(folder, steps):
    """An event file, as a process leaves it that trained these steps; none is of the same second as one before."""
    # By their names they are read in the order of their seconds, and within one by a number as text: 10 before 9.
    seconds = [int(path.name.split(".")[3]) for path in folder.iterdir()]
    while int(time.time()) in seconds:
        time.sleep(0.05)
    with tf.summary.create_file_writer(str(folder)).as_default():
        for step in steps:
            tf.summary.scalar("loss", 1 / step, step=step)
            tf.summary.scalar("psnr", step, step=step)


def read_steps(folder, purge):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}, purge_orphaned_data=purge)
    events.Reload()
    loss, psnr = ([event.step for event in events.Tensors(tag)] for tag in ("loss", "psnr"))
    assert loss == psnr
    return loss


@pytest.mark.slow
def test_steps_that_are_trained_again_are_cut_off_every_event_file(tmp_path):
    write_events(tmp_path, range(1, 8))
    write_events(tmp_path, range(8, 12))
    (newest,) = set(tmp_path.iterdir()) - {min(tmp_path.iterdir())}
    newest.write_bytes(newest.read_bytes()[:-3])  # as a kill may leave it
    cut_events_after(5, tmp_path)
    assert read_steps(tmp_path, purge=False) == [1, 2, 3, 4, 5]
    write_events(tmp_path, range(6, 10))
    for purge in (False, True):
        assert read_steps(tmp_path, purge) == list(range(1, 10))


@pytest.mark.parametrize("lost", [1, 20])  # in the last event's data; and in its length
def test_an_event_that_a_kill_cut_off_ends_its_file_and_hides_no_later_one(tmp_path, lost):
    write_events(tmp_path, [1, 2, 3])
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    cut_events_after(3, tmp_path)
    assert len(path.read_bytes()) < len(whole) - lost
    write_events(tmp_path, [4])
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert [event.step for event in events.Tensors("loss")] == [1, 2, 3, 4]


def test_nothing_is_cut_off_where_nothing_is_trained_again(tmp_path):
    write_events(tmp_path, [1, 2, 3])
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    cut_events_after(3, tmp_path)
    assert path.read_bytes() == before


def test_the_bars_of_a_continued_training_count_all_its_epochs(monkeypatch):
    network = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)])
    network.compile(loss="mse")
    data = tf.data.Dataset.from_tensors((np.zeros((1, 1)), np.zeros((1, 1)))).repeat()
    with terminal() as (writer, shown), open(writer, "w", closefd=False) as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress_bar(1, 4) as bar:  # the second epoch of four, which was interrupted
            network.fit(data, initial_epoch=1, epochs=2, steps_per_epoch=3, verbose=0, shuffle=False, callbacks=[bar])
    bars = b"".join(shown).decode()
    assert "2/4" in bars and "2/2" not in bars and "loss" in bars
