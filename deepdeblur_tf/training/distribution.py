"""Several devices, here or on several machines: the strategy that joins them, and what its workers must have alike."""

from __future__ import annotations

import json
import os

import numpy as np

import deepdeblur_tf
from deepdeblur_tf.claims import differing, refuse_other
from deepdeblur_tf.compat import gpus, need_keras_2, quiet_libraries, tf
from deepdeblur_tf.config import ConfigError, Experiment, effective_settings
from deepdeblur_tf.runs.folder import RunError
from deepdeblur_tf.training.workers import Worker


def make_strategy(worker: Worker, batch_size: int) -> tf.distribute.Strategy:
    """The strategy that trains on all devices there are. Must be called before TensorFlow computes anything.

    Args:
        worker: This process. Where there are others, it waits for them.
        batch_size: int. The batch of all devices together. On one machine as many GPUs are used as it can be shared
            out to equally.

    Returns:
        `MultiWorkerMirroredStrategy` for several workers, `MirroredStrategy` for several GPUs, else TensorFlow's
        default, which is one device.

    Raises:
        UserError: several workers on Keras 3.
        ConfigError: the batch cannot be shared out to several workers equally.
    """
    if worker.count == 1:
        used = max(count for count in range(1, max(1, len(gpus())) + 1) if batch_size % count == 0)
        if used == 1:
            return tf.distribute.get_strategy()
        return tf.distribute.MirroredStrategy([f"GPU:{number}" for number in range(used)])
    need_keras_2("A training on several machines")
    if worker.launcher == "Slurm":
        # Ports of the job's own, for two jobs may share a node. Slurm itself gives each task its GPUs; without numbers
        # of them the resolver fails where there are none.
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=10000 + int(os.environ["SLURM_JOB_ID"]) % 20000,
            gpus_per_node=worker.count,
            gpus_per_task=1,
            auto_set_gpu=False,
        )
    else:
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    with quiet_libraries():
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    if batch_size % strategy.num_replicas_in_sync:
        raise ConfigError(
            f"training.batch_size: received {batch_size}; allowed: a multiple of {strategy.num_replicas_in_sync}, the "
            "number of devices that share it."
        )
    return strategy


def described(strategy: tf.distribute.Strategy, worker: Worker) -> str:
    """The devices that share a batch, in words, to stand behind the one's name; nothing for one."""
    replicas = strategy.num_replicas_in_sync
    where = f" of {worker.count} processes" if worker.count > 1 else ""
    return f", each batch shared by {replicas} devices{where}" if replicas > 1 else ""


def _of_chief(strategy: tf.distribute.Strategy, values: list) -> list:
    """The chief's values of tensors that have the same shapes on all workers; `strategy` is one of several."""

    def own(*values):
        replica = tf.distribute.get_replica_context()
        is_chief = tf.equal(replica.replica_id_in_sync_group, 0)
        # One by one, for their types differ.
        return [
            replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(is_chief, value, tf.zeros_like(value)))
            for value in values
        ]

    reduced = tf.function(lambda: strategy.run(own, args=values))()
    return [strategy.experimental_local_results(value)[0] for value in reduced]


def check_alike(strategy: tf.distribute.Strategy, worker: Worker, experiment: Experiment, data: dict) -> None:
    """Compares what this worker was told to train with what the chief was.

    Raises:
        RunError: they differ, and in what.
    """
    if worker.count == 1:
        return
    here = {**effective_settings(experiment), "data": data, "deepdeblur_tf": deepdeblur_tf.__version__}
    del here["data.root"]  # each machine may have the data in a place of its own
    text = np.frombuffer(json.dumps(here).encode(), np.uint8).astype(np.int32)
    (length,) = _of_chief(strategy, [tf.constant(len(text))])
    (text,) = _of_chief(strategy, [tf.constant(np.resize(text, int(length)))])
    chief = json.loads(text.numpy().astype(np.uint8).tobytes())
    where = f"worker {worker.number} was given another training than worker 0"
    refuse_other(where, differing({key: chief.get(key) for key in here}, here), "", RunError)


def continue_as_chief(strategy: tf.distribute.Strategy, worker: Worker, variables: list) -> None:
    """Gives variables of this worker the chief's values, so that it alone needs the run folder."""
    if worker.count == 1:
        return
    for variable, value in zip(variables, _of_chief(strategy, [tf.convert_to_tensor(each) for each in variables])):
        variable.assign(value)
