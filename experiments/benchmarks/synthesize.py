"""What pairs cost: python -m experiments.benchmarks.synthesize

Seconds of a core a pair, ffmpeg's and the reading and writing of files among them, so that other programs hardly show:
`synthesize` on a video and on photos of 1280x720, and 256x256 as `data.layout: photos` makes them while it trains.
Then 256x256 a second by as many threads as there are cores while another process trains the quickstart, for which
nothing else should run.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import imageio.v2 as iio
import numpy as np

from deepdeblur_tf.config import Synthesis
from deepdeblur_tf.data.made_pairs import MadePairs, PhotoCache
from deepdeblur_tf.synthesis.pictures import PAINTINGS, painting
from deepdeblur_tf.synthesize import main as synthesize

PAIRS = 40
FRAMES = 11  # a pair
SECONDS = 20


def seconds(function):
    """User and system time of this process and of those that it began."""
    start = os.times()
    function()
    return sum(os.times()[:4]) - sum(start[:4])


def quietly(*arguments):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert synthesize([str(argument) for argument in arguments]) == 0


def beside_a_training(source, folder):
    """Pairs a second that are made beside the quickstart's training, once its first epoch is over."""
    command = [sys.executable, "-m", "deepdeblur_tf.train", "--output", str(folder), "--training.epochs", "10000"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        while not (folder / "history.csv").exists():
            assert training.poll() is None
            time.sleep(0.2)
        end = time.monotonic() + SECONDS

        def work(number):
            made = 0
            while time.monotonic() < end:
                source.read(10_000 * number + made)
                made += 1
            return made

        cores = os.cpu_count()
        with ThreadPoolExecutor(cores) as pool:
            made = sum(pool.map(work, range(cores)))
        assert training.poll() is None
        training.send_signal(signal.SIGINT)
    return made / SECONDS


def main():
    background = np.hstack([np.pad(painting(number), ((0, 8), (0, 0), (0, 0)), "symmetric") for number in range(3)])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "photos").mkdir()
        with av.open(str(root / "clip.mp4"), "w") as video:
            stream = video.add_stream("libx264", rate=240, options={"crf": "10"})
            stream.width, stream.height = 1280, 720
            for number in range(PAIRS * FRAMES):
                pixels = np.ascontiguousarray(background[number // 20 :, number:][:720, :1280])
                video.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            video.mux(stream.encode(None))
        for number in range(4):
            iio.imwrite(root / "photos" / f"{number}.png", np.roll(background, 500 * number, axis=1)[:720, :1280])
        files = sorted((root / "photos").iterdir())
        fast = MadePairs(files, PhotoCache(), PAIRS, 256, Synthesis(tilt=0.0), 0, "train")
        for number in range(PAINTINGS):  # made once in a training
            painting(number)
        fast.read(0)
        of_frames = ["--frames", FRAMES, root / "clip.mp4"]
        of_photos = ["--from", "photos", "--pairs", PAIRS // 4, root / "photos"]
        for name, function in {
            "video, 1280x720": lambda: quietly(*of_frames, "--output", root / "a"),
            "photos, 1280x720": lambda: quietly(*of_photos, "--output", root / "b"),
            "photos, 1280x720, no tilt": lambda: quietly(*of_photos, "--synthesis.tilt=0", "--output", root / "c"),
            "photos while training, 256x256, no tilt": lambda: [fast.read(number) for number in range(PAIRS)],
        }.items():
            cost = seconds(function) / PAIRS
            print(f"{name}: {1000 * cost:.0f} ms a pair, {1 / cost:.1f} pairs a second and core", flush=True)
        rate = beside_a_training(fast, root / "run")
        print(f"the same beside a training, on {os.cpu_count()} cores: {rate:.1f} pairs a second")


if __name__ == "__main__":
    main()
