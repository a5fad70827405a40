"""What several test files need."""

import contextlib
import csv
import fcntl
import os
import pty
import signal
import struct
import termios
import threading
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.resizing import cubic, mirror
from deepdeblur_tf.training.callbacks import StopOnNonFiniteLoss

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
FILES = Path(__file__).parent / "files"  # networks and golden values

# The quickstart at a size that trains in a second.
SMALL = {
    "data.scenes": 6,
    "data.patch_size": 32,
    "model.blocks": 1,
    "model.filters": 4,
    "model.kernel_size": 3,
    "training.epochs": 2,
    "training.batch_size": 2,
    "training.decay.epochs": [1],
    "validation.every": 1,
    "validation.images": 2,
    "validation.samples": 1,
}
SMALL_FLAGS = [f"--{key}={value}" for key, value in SMALL.items()]


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@contextlib.contextmanager
def terminal(columns=100):
    """A terminal: (the file descriptor to write to, a list that gets what is written, as bytes, by the end)."""
    screen, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    shown = []

    def collect():
        with contextlib.suppress(OSError):  # how Linux ends a terminal that nobody has open any more
            while text := os.read(screen, 1 << 16):
                shown.append(text)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        yield writer, shown
    finally:
        os.close(writer)
        thread.join()
        os.close(screen)


def write_network(path, seed):
    tf.keras.utils.set_random_seed(seed)
    network = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)
    tail = network.get_layer("level1_tail")  # begins at zero, which would leave the image as it is
    tail.set_weights([tf.random.normal(weight.shape, stddev=0.05) for weight in tail.get_weights()])
    network.save(path)
    return path


def plain_imresize(image, scale):
    """uint8 [H, W, C] by `scale` below 1, one output row or column after the other."""
    for axis in (0, 1):
        size = image.shape[axis]
        taps = int(np.ceil(4 / scale)) + 2
        lines = []
        for position in range(1, int(np.ceil(size * scale)) + 1):
            centre = position / scale + 0.5 * (1 - 1 / scale)
            index = np.floor(centre - 2 / scale) + np.arange(taps)
            weight = cubic(scale * (centre - index))
            weight /= weight.sum()
            pixels = np.take(image, mirror(index.astype(int) - 1, size), axis=axis).astype(np.float64)
            lines.append(np.tensordot(weight, pixels, axes=(0, axis)))
        image = np.clip(np.floor(np.stack(lines, axis=axis) + 0.5), 0, 255).astype(np.uint8)
    return image


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
