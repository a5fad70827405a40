"""Kills a training again and again, and compares what it ends with to an uninterrupted run, bit for bit.

    python -m tests.faults --kills 30 --seed 0 [--aim checkpoint] [--folder DIR]

`--aim checkpoint` kills only while a checkpoint is being written; otherwise the moments are random. It prints each
kill with the steps that were on disk, and exits with 1 where the two runs differ.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepdeblur_tf.compat import tf
from deepdeblur_tf.runs.networks import load_model
from deepdeblur_tf.training.callbacks import StopOnNonFiniteLoss

from .conftest import ROOT, SMALL_FLAGS, read_csv

FLAGS = [
    *SMALL_FLAGS,
    "--model.levels=1",
    *("--data.scenes=20", "--training.epochs=3", "--data.cache=memory", "--validation.images=4"),
    # A checkpoint at every step, so that there are moments to aim at.
    "--training.checkpoint_minutes=1e-9",
]


def command(run, flags=()):
    return [sys.executable, "-m", "deepdeblur_tf.train", "--output", str(run), *FLAGS, *flags]


def start(run, flags=()):
    return subprocess.Popen(
        command(run, flags), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@contextlib.contextmanager
def send_signal(monkeypatch, after_step=None, number=signal.SIGTERM):
    """Within it, trainings in this process get a signal after a step, or in the first validation without one."""

    def send(callback, *_, **__):
        if after_step in (None, callback.model.steps_done):
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(StopOnNonFiniteLoss, "on_train_batch_end" if after_step else "on_test_begin", send)
        yield


def last_step(run):
    """The step of the newest checkpoint that is whole."""
    hashes = (Path(run) / "checkpoints" / "last").glob("step-*.sha256")
    return max((int(path.stem.split("-")[1]) for path in hashes), default=0)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def load_events(run, purge=False):
    events = EventAccumulator(str(run / "logs"), size_guidance={"tensors": 0}, purge_orphaned_data=purge)
    events.Reload()
    return events


def curve(run, name):
    return [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in load_events(run).Tensors(name)]


def assert_equal_runs(one, other):
    """Compares final and best weights, history.csv but its seconds, and TensorBoard's curves."""
    for name in ("model.keras", "checkpoints/best.keras"):
        for weight, other_weight in zip(load_model(one / name).get_weights(), load_model(other / name).get_weights()):
            np.testing.assert_array_equal(weight, other_weight)
    rows, other_rows = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in read_csv(run / "history.csv")]
        for run in (one, other)
    )
    assert rows == other_rows
    for name in ("train/loss", "validation/psnr"):
        assert curve(one, name) == curve(other, name)


def is_writing(run):
    """Whether a checkpoint has been begun, but its hashes are not yet written."""
    folder = Path(run) / "checkpoints" / "last"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return False
    whole = {name.split(".")[0] for name in names if name.endswith(".sha256")}
    return any(name.split(".")[0].split("_")[0] not in whole for name in names if name.startswith("step-"))


def kill_again_and_again(run, kills, seed, aim=None, say=print):
    """Trains to the end under `kills` kills; returns how many struck before the run was done."""
    chance = random.Random(seed)
    struck = 0
    while struck < kills:
        process = start(run)
        begun, reached = time.monotonic(), last_step(run)
        # The first step of a process comes after some seconds of loading; a kill before it is as good as any other.
        patience = chance.choice([chance.uniform(0, 6), chance.uniform(5, 9)])
        steps = chance.randint(0, 1)
        while process.poll() is None:
            if aim == "checkpoint":
                # Only a few steps further each time, or the run is over before the last kill.
                if last_step(run) >= reached + steps and is_writing(run):
                    break
            elif time.monotonic() - begun > patience or last_step(run) > reached + steps:
                break
            time.sleep(0.0005)
        if process.poll() is not None:
            output, error = process.communicate()
            assert process.returncode == 0, error
            say(f"finished after {struck} kills")
            return struck
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        struck += 1
        say(f"kill {struck}: {time.monotonic() - begun:.1f} s in, step {last_step(run)} on disk")
    subprocess.run(command(run), cwd=ROOT, check=True, capture_output=True)
    return struck


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--aim", choices=["checkpoint"])
    parser.add_argument("--folder", type=Path, help="Defaults to a temporary one.")
    flags = parser.parse_args()
    folder = flags.folder or Path(tempfile.mkdtemp())
    subprocess.run(command(folder / "whole"), cwd=ROOT, check=True, capture_output=True)
    struck = kill_again_and_again(folder / "killed", flags.kills, flags.seed, flags.aim)
    assert_equal_runs(folder / "killed", folder / "whole")
    print(f"equal, bit for bit, after {struck} kills (seed {flags.seed}, aim {flags.aim})")


if __name__ == "__main__":
    main()
