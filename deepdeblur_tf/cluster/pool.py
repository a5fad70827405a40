"""Photos restored by processes on one machine or many, with Ray.

Ray Data hands groups of photos to a pool of processes, each of which loads the network once, and hands them out again
when a process or a machine dies. A result has the same name and the same bytes each time, and is written whole.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import secrets
import signal
import socket
import tempfile
import time
import traceback
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

# Read by Ray when it is loaded.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it tells is in /tmp/ray,
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # and not for the terminal, page by page
import ray  # noqa: E402
from ray._private import ray_constants  # noqa: E402
from ray._private.node import Node  # noqa: E402
from ray._raylet import Config  # type: ignore[attr-defined]  # noqa: E402
from ray.data import ActorPoolStrategy, DataContext  # noqa: E402
from ray.data.block import BlockMetadata  # noqa: E402
from ray.data.datasource import Datasource, ReadTask  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from deepdeblur_tf.cluster import storage, worklist  # noqa: E402
from deepdeblur_tf.cluster.inputs import PhotoFile  # noqa: E402
from deepdeblur_tf.cluster.manifest import told_of  # noqa: E402
from deepdeblur_tf.errors import UserError, quiet_libraries  # noqa: E402
from deepdeblur_tf.files import disk_fault, sha256_of  # noqa: E402
from deepdeblur_tf.images import picture_files  # noqa: E402
from deepdeblur_tf.terminal import on_stops, shown_name  # noqa: E402

if TYPE_CHECKING:
    from deepdeblur_tf.restoration.restorer import Restorer

TRIES = 2  # a photo that so many processes died of is given up
_TOKEN = secrets.token_hex(32)  # for a Ray on this machine; it keeps the first one of a process, and none is written
_OBJECT_STORE = 200 * 2**20  # bytes; names and the network pass through it, no picture does


def refuse_unreachable(address: str | None) -> None:
    """Raises UserError where nobody answers at a cluster's address; Ray itself would try for two minutes."""
    if address in (None, "auto"):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str | None, error: Exception) -> UserError:
    return UserError(
        f"--ray {address}: cannot be reached ({str(error).splitlines()[0]}). Give HOST:PORT of a cluster that "
        "`ray start --head` began, or auto; this machine must belong to it."
    )


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray on this machine, or a connection to a cluster, within a `with` block.

    Args:
        address: HOST:PORT of a cluster's head, "auto" for the cluster that this machine belongs to, None for neither.
    """
    options: dict = {} if address else {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
    with contextlib.nullcontext() if address else _closed_to_others():
        try:
            with quiet_libraries(), on_stops(signal.getsignal(signal.SIGTERM), [signal.SIGTERM]):  # Ray takes it
                ray.init(address or "local", log_to_driver=False, logging_level=logging.CRITICAL, **options)
        except ConnectionError as error:
            raise _unreachable(address, error) from error
        try:
            for name in ("ray", "ray.data"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="ray")
                yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _closed_to_others() -> Iterator[None]:
    """Within it, a Ray that begins listens on this machine's loopback alone, and answers only who has its token.

    By itself it listens on all interfaces, even where it is told 127.0.0.1.
    """
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN}
    added = {} if "RAY_AUTH_MODE" in os.environ else {key: own[key] for key in own.keys() - os.environ.keys()}
    os.environ.update(added)
    Config.initialize("")  # which has read the environment when it was loaded
    known, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    # Where there is no dashboard, its process only asks the metadata servers of three clouds which of them it runs in.
    start = Node.start_api_server
    setattr(Node, "start_api_server", lambda node, **_: None)  # noqa: B010
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = known
        setattr(Node, "start_api_server", start)  # noqa: B010
        for key in added:
            del os.environ[key]
        Config.initialize("")


def refuse_too_large(cpus: int, gpus: float) -> None:
    """Raises UserError where no machine has room for a process of so many cores and GPUs."""
    if not _size(cpus, gpus):
        raise UserError(f"no machine has {cpus} cores and {gpus:g} GPUs for a process; lower --cpus or --gpus.")


def restored(output: str, network: bytes, options: dict, cpus: int, gpus: float) -> Generator[list[dict]]:
    """Restores the photos of an output folder's list.

    Args:
        output: The folder's place.
        network: The content of the network's file.
        options: As `Restorer` has them.
        cpus: Cores of a process.
        gpus: GPUs of a process; a fraction where several share one.

    Yields:
        The manifest's rows of some photos, without network and options, as they are done.

    Raises:
        UserError: the results cannot be written.
    """
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # a large photo may take an hour
    context.raise_original_map_exception = True
    context.target_max_block_size = 1  # byte, which makes each group a block, and so a task
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    lasting = {"max_restarts": -1, "max_task_retries": -1}  # forgetting some deaths is better than to end
    tries = ray.remote(_Tries).options(num_cpus=0, scheduling_strategy=here, **lasting).remote()
    groups = ray.data.read_datasource(_Groups(output), num_cpus=0, override_num_blocks=1)
    done = groups.map(
        _Process,
        fn_constructor_args=(network, options, cpus, gpus, tries),
        compute=ActorPoolStrategy(min_size=_size(cpus, gpus), max_size=None),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    try:
        for row in done.iter_rows():
            yield json.loads(row["rows"])
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):  # else a defect of ours
            raise UserError(str(error.cause).splitlines()[0]) from error  # the rest is advice of Ray's
        raise


class _Groups(Datasource):
    """An output folder's list, as Ray Data reads it: a row a group."""

    def __init__(self, output: str):
        self._output = output

    def estimate_inmemory_data_size(self) -> None:
        return None

    def get_read_tasks(self, parallelism: int, *_, **__) -> list[ReadTask]:
        def read() -> Iterator[pa.Table]:
            for group in worklist.groups(self._output):
                yield pa.table({"photos": [json.dumps(group)]})

        return [ReadTask(read, BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None))]


class _Tries:
    """How often each photo was begun by a process that died, as an actor beside the driver."""

    def __init__(self):
        self._begun: dict[str, list[str]] = {}  # photos in work: the machines on which they were begun

    def begin(self, photo: str, machine: str) -> bool:
        """Notes that a photo is begun; False if it is to be given up instead."""
        machines = self._begun.pop(photo, [])
        if machines:  # What died with its whole machine did not die of the photo.
            alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            machines = [machine for machine in machines if machine in alive]
        if len(machines) == TRIES:
            return False
        self._begun[photo] = [*machines, machine]
        return True

    def end(self, photo: str) -> None:
        """Notes that a photo is done."""
        self._begun.pop(photo, None)


class _Process:
    """One process of the pool, with its network."""

    def __init__(self, network: bytes, options: dict, cpus: int, gpus: float, tries):
        self._network, self._options, self._cpus, self._gpus = network, options, cpus, gpus
        self._tries, self._machine = tries, ray.get_runtime_context().get_node_id()

    def __call__(self, row: dict) -> dict:
        restorer = self._restorer  # what is wrong with the network is wrong for all photos
        group = (PhotoFile(*photo) for photo in json.loads(row["photos"]))
        return {"rows": json.dumps([self._row(photo, restorer) for photo in group])}

    @functools.cached_property
    def _restorer(self) -> Restorer:
        """The network. Raises UserError where it cannot be loaded, or an option is not allowed."""
        from deepdeblur_tf.compat import gpus, tf
        from deepdeblur_tf.memory import memory_budget
        from deepdeblur_tf.networks.archive import load_model
        from deepdeblur_tf.restoration.restorer import Restorer

        tf.config.threading.set_intra_op_parallelism_threads(self._cpus)
        for gpu in gpus():
            tf.config.experimental.set_memory_growth(gpu, True)  # others work on it too
        if self._options["memory"] is None:
            (machine,) = (node for node in ray.nodes() if node["NodeID"] == self._machine)
            share = min(1, self._gpus) or self._cpus / machine["Resources"]["CPU"]
            self._options["memory"] = int(memory_budget() * share)
        with tempfile.TemporaryDirectory(prefix="deepdeblur_tf.") as folder:
            file = Path(folder, "network.keras")
            file.write_bytes(self._network)
            try:
                return Restorer(load_model(file), **self._options)
            except UserError as error:
                raise UserError(str(error).replace(str(file), "MODEL")) from error

    def _row(self, photo: PhotoFile, restorer: Restorer) -> dict:
        """Restores a photo; returns its row of the manifest."""
        begun = time.perf_counter()
        name, error = shown_name(photo.source), ""
        if ray.get(self._tries.begin.remote(photo.source, self._machine)):
            try:
                result = _restored(photo, restorer)
            except Exception as raised:
                if disk_fault(raised):
                    raise UserError(f"{photo.target}: {disk_fault(raised)}. The same command goes on.") from raised
                # What is neither is a defect of ours, which keeps no other photo from being restored.
                known = isinstance(raised, (UserError, MemoryError, OSError))
                error = shown_name(raised) if known else traceback.format_exc()
            self._tries.end.remote(photo.source)
        else:
            error = f"the process that restored it died, {TRIES} times; perhaps it needs more memory than there is"
        if error:
            result = {"status": "failed", "error": error if name in error else f"{name}: {error}"}
        about = {"input": photo.source, "output": photo.target}
        with contextlib.suppress(OSError):  # of an object store; then the result is known by its name
            about = told_of(photo, *storage.described([photo.target]))
        return {
            "input_bytes": photo.size,
            "input_changed_ns": photo.mtime_ns,
            **about,
            "seconds": time.perf_counter() - begun,
            "finished": time.time_ns() // 10**6,
            **result,
        }


def _restored(photo: PhotoFile, restorer: Restorer) -> dict:
    """Restores a photo; returns what its row tells of it."""
    with storage.local_copy(photo.source) as path:
        try:
            picture = picture_files.read_photo(path)
            sha256 = sha256_of(path)
        except UserError as error:
            raise UserError(str(error).replace(str(path), photo.source)) from error
    restored = restorer(picture.visible)
    storage.write_whole(photo.target, lambda beside: picture_files.write_photo(beside, picture, restored))
    height, width = picture.rgb.shape[:2]
    return {
        "status": "done",
        "width": width,
        "height": height,
        "scale": restorer.scale,
        "change": restorer.change,
        "input_sha256": sha256,
        "left_out": list(picture.left_out),
    }


def _size(cpus: int, gpus: float) -> int:
    """How many processes find room in the cluster."""
    size = 0
    for resources in (node["Resources"] for node in ray.nodes() if node["Alive"]):
        room = resources.get("CPU", 0) // cpus
        size += int(min(room, resources.get("GPU", 0) // gpus) if gpus else room)
    return size
