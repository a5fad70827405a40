"""Kills a training again and again, and compares what it ends with to an uninterrupted run, bit for bit.

    python -m experiments.benchmarks.kills --kills 30 --seed 0 [--aim checkpoint] [--folder DIR]

`--aim checkpoint` kills only while a checkpoint is being written; otherwise the moments are random. It prints each
kill with the steps that were on disk, and exits with 1 where the two runs differ.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.helpers import ROOT, SMALL_FLAGS, assert_equal_runs, last_step

FLAGS = [
    *SMALL_FLAGS,
    "--model.levels=1",
    *("--data.scenes=20", "--training.epochs=3", "--data.cache=memory", "--validation.images=4"),
    # A checkpoint at every step, so that there are moments to aim at.
    "--training.checkpoint_minutes=1e-9",
]


def command(run):
    return [sys.executable, "-m", "deepdeblur_tf.train", "--output", str(run), *FLAGS]


def is_writing(run):
    """Whether a checkpoint has been begun, but its hashes are not yet written."""
    folder = Path(run) / "checkpoints" / "last"
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return False
    whole = {name.split(".")[0] for name in names if name.endswith(".sha256")}
    return any(name.split(".")[0].split("_")[0] not in whole for name in names if name.startswith("step-"))


def kill_again_and_again(run, kills, seed, aim=None):
    """Trains to the end under `kills` kills; returns how many struck before the run was done."""
    chance = random.Random(seed)
    struck = 0
    while struck < kills:
        process = subprocess.Popen(
            command(run), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
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
            print(f"finished after {struck} kills")
            return struck
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        struck += 1
        print(f"kill {struck}: {time.monotonic() - begun:.1f} s in, step {last_step(run)} on disk")
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
