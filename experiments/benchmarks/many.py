"""How fast a folder's photos are restored on this machine: python -m experiments.benchmarks.many MODEL FOLDER

First the processor time of a megapixel, which other programs disturb little; then the megapixels a second of `predict`,
of `predict_many` with a core a process, and with one process of all cores, by the times of their results without the
first and last tenth, and so without loading. That needs an idle machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.images.picture_files import photo_pixels, read_photo, write_photo
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.restoration.restorer import Restorer


def processor_seconds(model: str, photos: list[Path]) -> float:
    """Of a megapixel, from file to file."""
    restorer = Restorer(load_model(model))
    with tempfile.TemporaryDirectory() as folder:
        for number, path in enumerate([photos[0], *photos]):
            if number == 1:  # after the first one, which traces the network
                begin = time.process_time()
            photo = read_photo(path)
            write_photo(Path(folder, path.name), photo, restorer(photo.rgb))
    return (time.process_time() - begin) / sum(photo_pixels(path) for path in photos) * 1e6


def megapixels_a_second(command: str, flags: list[str], model: str, photos: list[Path]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        arguments = [model, str(photos[0].parent), "--output", folder, *flags]
        subprocess.run([sys.executable, "-m", f"deepdeblur_tf.{command}", *arguments], check=True, capture_output=True)
        done = sorted((Path(folder, path.name).stat().st_mtime, photo_pixels(path)) for path in photos)
    done = done[len(done) // 10 : len(done) - len(done) // 10]
    return sum(pixels for _, pixels in done[1:]) / 1e6 / (done[-1][0] - done[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="A run's folder, a .keras file, or photographs.")
    parser.add_argument("folder", type=Path, help="A folder of twenty photos and more, without sub-folders.")
    flags = parser.parse_args()
    photos = sorted(path for path in flags.folder.iterdir() if path.suffix.lower() in SUFFIXES)
    print(f"{processor_seconds(flags.model, photos):.3f} processor seconds a megapixel")
    cores = str(len(os.sched_getaffinity(0)))
    for command, options in (("predict", []), ("predict_many", []), ("predict_many", ["--cpus", cores])):
        speed = megapixels_a_second(command, options, flags.model, photos)
        print(f"{speed:.3f} megapixels a second: {' '.join([command, *options])}", flush=True)


if __name__ == "__main__":
    main()
