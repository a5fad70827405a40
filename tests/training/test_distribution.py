"""Several devices and several processes train as one does. Run as a program it is the part on two devices."""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import ConfigError, Model, load_experiment
from deepdeblur_tf.data.kinds import find_data
from deepdeblur_tf.data.pipeline import Stream, make_datasets, validation_dataset
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.train import main
from deepdeblur_tf.training import loop
from deepdeblur_tf.training.optimizer import make_optimizer
from deepdeblur_tf.training.trainer import Trainer
from deepdeblur_tf.training.workers import Worker, this_worker
from tests.helpers import ROOT, SMALL_FLAGS, last_step, read_csv

CLUSTER = {"worker": ["one:12345", "two:12345"]}

# 12 steps, three validation images for two workers, and gradients that are clipped.
FLAGS = [
    *SMALL_FLAGS,
    *("--data.scenes=8", "--training.batch_size=4", "--training.epochs=6", "--training.clip=0.0005"),
    *("--validation.images=3", "--training.ema=0.5", "--training.checkpoint_minutes=1e-9"),
]


def tf_config(number, cluster=None):
    return json.dumps({"cluster": cluster or CLUSTER, "task": {"type": "worker", "index": number}})


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, Worker()),
        ({"TF_CONFIG": tf_config(1)}, Worker(1, 2, "TF_CONFIG")),
        ({"TF_CONFIG": tf_config(0, {"chief": ["a:1"], "worker": ["b:1"]})}, Worker(1, 2, "TF_CONFIG")),
        ({"TF_CONFIG": tf_config(0, {"worker": ["a:1"]})}, Worker()),
        ({"TF_CONFIG": "{}"}, Worker()),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}, Worker(3, 4, "Slurm")),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, Worker()),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, Worker()),  # a batch script itself
    ],
)
def test_the_launchers_variables_say_which_worker_this_is(monkeypatch, variables, expected):
    for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert this_worker() == expected


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": ["a:1", "b:1"]}}', tf_config(2), "3"])
def test_a_tf_config_that_names_no_worker_is_refused(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="^TF_CONFIG: received .*; allowed: such as"):
        this_worker()


def contexts(workers, replicas):
    return [tf.distribute.InputContext(workers, worker, replicas) for worker in range(workers)]


@pytest.mark.parametrize("workers, replicas", [(1, 2), (2, 2), (2, 4), (4, 4)])
def test_the_workers_parts_together_are_the_batches(small_experiment, workers, replicas):
    experiment = small_experiment(**{"training.batch_size": 4, "data.scenes": 8})
    stream = Stream(experiment, find_data(experiment).open()[0])
    parts = [list(stream.batches(1, context=context)) for context in contexts(workers, replicas)]
    for step, (blurry, _) in enumerate(stream.batches(1)):
        each = replicas // workers
        together = [part[each * step + own][0][0] for part in parts for own in range(each)]
        np.testing.assert_array_equal(np.concatenate(together), blurry[0])


@pytest.mark.parametrize("workers, replicas", [(1, 2), (2, 2), (2, 4)])
def test_each_validation_image_counts_once(small_experiment, workers, replicas):
    _, source = find_data(small_experiment(**{"validation.images": 3})).open()
    steps = -(-3 // replicas)
    each = steps * replicas // workers
    parts = [list(validation_dataset(source, Model(levels=1), c).take(each)) for c in contexts(workers, replicas)]
    counted = [sharp[0].numpy() for part in parts for _, sharp, counts in part if counts]
    whole = [sharp[0].numpy() for _, sharp in validation_dataset(source, Model(levels=1))]
    assert len(counted) == 3
    for image in whole:
        assert sum(np.array_equal(image, other) for other in counted) == 1


def assert_alike(one, run, epochs=6):
    """Compares final and best weights and history.csv, to what the order of float32 sums changes."""
    for name in ("model.keras", "checkpoints/best.keras"):
        for weight, other in zip(load_model(one / name).get_weights(), load_model(run / name).get_weights()):
            np.testing.assert_allclose(other, weight, rtol=0, atol=2e-6)
    rows, others = read_csv(one / "history.csv"), read_csv(run / "history.csv")
    assert len(rows) == len(others) == epochs
    for row, other in zip(rows, others):
        del row["seconds"], other["seconds"]
        assert list(map(float, other.values())) == pytest.approx(list(map(float, row.values())), rel=1e-4)


@pytest.mark.slow
def test_two_devices_train_as_one():
    done = subprocess.run([sys.executable, "-m", __name__], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _two_devices():
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], 2 * [tf.config.LogicalDeviceConfiguration()]
    )
    flags = dict(flag[2:].split("=") for flag in FLAGS)
    experiment = load_experiment(ROOT / "experiments" / "quickstart.yaml", flags)
    train, _ = make_datasets(experiment)
    taken = [tf.nest.map_structure(np.array, batch) for batch in train.take(3).as_numpy_iterator()]
    taken[1][0][0][3, 5, 5, 1] = np.nan  # of the second device's half
    batches = tf.data.Dataset.from_generator(
        lambda: iter(taken), output_signature=tf.nest.map_structure(tf.type_spec_from_value, taken[0])
    )

    def trained(strategy, precision, optimizer):
        tf.keras.utils.set_random_seed(0)
        experiment.training.precision, experiment.training.optimizer = precision, optimizer
        with strategy.scope():
            tf.keras.mixed_precision.set_global_policy({"float16": "mixed_float16"}.get(precision, precision))
            network = build_model(**vars(experiment.model))
            tf.keras.mixed_precision.set_global_policy("float32")
            shipped = build_model(**vars(experiment.model))
            shipped.set_weights(network.get_weights())
            trainer = Trainer(network, shipped, ema=0.5)
            trainer.compile(make_optimizer(experiment.training, 2))
        history = trainer.fit(batches, steps_per_epoch=3, shuffle=False, verbose=0).history
        state = [*trainer.network.get_weights(), *shipped.get_weights()]
        state += [np.array(tf.convert_to_tensor(variable)) for variable in trainer.optimizer.variables]
        return state, {name: values[0] for name, values in history.items()}

    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        flags = [*FLAGS, "--training.epochs=2"]
        assert main(["--output", str(one), *flags]) == 0
        with mock.patch.object(loop, "make_strategy", lambda *_: mirrored):  # it takes GPUs only
            assert main(["--output", str(two), *flags]) == 0
        assert_alike(one, two, epochs=2)
    for precision, optimizer in (("float16", "adam"), ("float32", "muon")):
        state, history = trained(tf.distribute.get_strategy(), precision, optimizer)
        mirrored_state, mirrored_history = trained(mirrored, precision, optimizer)
        assert history["skipped"] == pytest.approx(1 / 3)
        tolerance = 1e-6 if precision == "float32" else 1e-4  # float16 has three digits
        for one, other in zip(state, mirrored_state):
            np.testing.assert_allclose(other, one, rtol=10 * tolerance, atol=tolerance)
        assert mirrored_history == pytest.approx(history, rel=1e-5 if precision == "float32" else 1e-2)


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def environment(**variables):
    # On Python 3.12 and later the one process too, for checkpoints belong to one Keras.
    return {**os.environ, "TF_USE_LEGACY_KERAS": "1", **variables}


def start(run, variables, *flags):
    command = [sys.executable, "-m", "deepdeblur_tf.train", "--output", str(run), *FLAGS, *flags]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def by_tf_config(count):
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(count)]}
    return [{"TF_CONFIG": tf_config(number, cluster)} for number in range(count)]


def by_slurm(count):
    (port,) = free_ports(1)
    step = {"SLURM_STEP_NUM_TASKS": f"{count}", "SLURM_STEP_TASKS_PER_NODE": f"{count}", "SLURM_JOB_ID": f"{port}"}
    step["SLURM_STEP_NODELIST"] = "localhost"
    return [{**step, "SLURM_PROCID": f"{number}"} for number in range(count)]


def outcomes(processes):
    """What each process printed on stdout and on stderr, and its exit status."""
    return [(*process.communicate(timeout=600), process.returncode) for process in processes]


def wait_for_step(run, step, process):
    while last_step(run) < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.version_info >= (3, 12) and importlib.util.find_spec("tf_keras") is None,
    reason="tf-keras is not installed, which several workers need on this Python",
)
def test_processes_may_come_and_be_killed_and_train_as_one(tmp_path):
    one, run = tmp_path / "one", tmp_path / "run"
    assert outcomes([start(one, {})])[0][2] == 0

    alone = start(run, {})
    wait_for_step(run, 3, alone)
    alone.send_signal(signal.SIGTERM)
    assert outcomes([alone])[0][2] == 130

    chief, other = (start(run, variables) for variables in by_tf_config(2))
    wait_for_step(run, 7, chief)
    other.kill()
    output, error, status = outcomes([chief, other])[0]
    assert status == 2 and "continuing after step" in output
    assert error.splitlines()[-1].startswith("error: another worker has ended") and "Traceback" not in error

    done = outcomes([start(run, variables) for variables in by_slurm(2)])
    assert [status for _, _, status in done] == [0, 0], done
    assert "shared by 2 devices of 2 processes" in done[0][0] and "worker 0 reports" in done[1][0]
    assert_alike(one, run)


if __name__ == "__main__":
    _two_devices()
