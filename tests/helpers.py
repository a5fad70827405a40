"""What several test files need."""

import contextlib
import csv
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
from fractions import Fraction
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Augmentation, Data, Experiment, Model, Training
from deepdeblur_tf.data.pipeline import Stream
from deepdeblur_tf.files import sha256_of
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.resizing import cubic, mirror
from deepdeblur_tf.training.stops import StopOnNonFiniteLoss

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


def stream_of(source, seed=0, augmentation=None, patch_size=24, levels=1, pyramid="matlab_bicubic", **training):
    """A training's stream, from the few settings that it depends on."""
    model, training = Model(levels=levels, pyramid=pyramid), Training(**training)
    data, augmentation = Data(patch_size=patch_size), augmentation or Augmentation()
    return Stream(Experiment("test", seed, data, augmentation=augmentation, model=model, training=training), source)


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


def write_network(path, seed=0, stddev=0.05, **settings):
    """A small network's file; `stddev` is of the weights by which it changes pictures, where it has a global skip."""
    tf.keras.utils.set_random_seed(seed)
    network = build_model(**{"blocks": 1, "filters": 4, "kernel_size": 3, "global_skip": True, **settings})
    if network.settings.global_skip:
        tail = network.get_layer("level1_tail")  # begins at zero, which would leave the image as it is
        tail.set_weights([tf.random.normal(weight.shape, stddev=stddev) for weight in tail.get_weights()])
    path.parent.mkdir(parents=True, exist_ok=True)
    network.save(path)
    return path


def write_video(path, frames, rate=12, times=None, tick=None, codec="libx264", fit=None, beside=(), **settings):
    """A video, by PyAV.

    Args:
        path: Its suffix is the container, unless `format` is among the settings.
        frames: uint8 or uint16 [H, W, 3], or PyAV's frames.
        rate, times, tick: Frames a second; when each is shown, in ticks; seconds.
        codec: The encoder, of the best quality unless `options` are among the settings.
        fit: Called with the container and the stream before anything is written.
        beside: Functions from the container to further packets; they add their streams.
        settings: `format`, `options`, `container_options`; everything else is set on the codec, as pix_fmt.
    """
    import av

    options = settings.pop("options", {"crf": "4"} if codec.startswith("lib") else {})
    form = {key: settings.pop(key) for key in ("format", "container_options") if key in settings}
    tick = Fraction(tick or 1 / Fraction(rate))
    with av.open(str(path), "w", **form) as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options)
        frames = [frame if isinstance(frame, av.VideoFrame) else _rgb_frame(frame) for frame in frames]
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.codec_context.time_base = tick
        for key, value in {"pix_fmt": "yuv420p", **settings}.items():
            setattr(stream.codec_context, key, value)
        if fit is not None:
            fit(container, stream)
        packets = [packet for further in beside for packet in further(container)]
        container.start_encoding()
        for packet in packets:
            container.mux(packet)
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number if times is None else times[number], tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _rgb_frame(array):
    import av

    return av.VideoFrame.from_ndarray(np.ascontiguousarray(array), "rgb24" if array.dtype == np.uint8 else "rgb48le")


def sound(seconds=1.0, begin=0.0, codec="aac", rate=48000, **metadata):
    """For `write_video`: a tone that is clicked on every half second, as a stream beside the picture."""

    def add(container):
        import av

        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout, stream.codec_context.bit_rate = "mono", 128_000
        stream.metadata.update(metadata)
        time = np.arange(round(seconds * rate)) / rate
        wave = np.where(time % 0.5 < 0.02, np.sin(2 * np.pi * 1000 * time), 0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, round(begin * rate), Fraction(1, rate)
        return [*stream.encode(frame), *stream.encode(None)]

    return add


def frame_times(path):
    """The times of a video's frames in seconds, sorted, by its packets: `Fraction`s."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        times = [(packet.dts if packet.pts is None else packet.pts) * stream.time_base for packet in packets]
        return sorted(times)


def png(image):
    """A PNG's bytes."""
    return iio.imwrite("<bytes>", image, extension=".png")


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


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextlib.contextmanager
def answering(command, model, *flags, **environment):
    """The process of `serve` or `demo`, and host:port where it answers; it is ended, if it has not ended yet."""
    address = f"127.0.0.1:{free_port()}"
    line = [sys.executable, "-m", f"deepdeblur_tf.{command}", str(model), "--port", address.split(":")[1], *flags]
    with subprocess.Popen(
        line, cwd=ROOT, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert f" http://{address}" in process.stdout.readline()
            yield process, address
        finally:
            process.terminate()
            process.wait(60)


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


def hashes(folder):
    """The SHA-256 of every file below a folder, but for locks, by their paths in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


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
