"""Time, memory and largest difference of every runtime: python -m experiments.benchmarks.runtimes MODEL IMAGE

Each runs in a process of its own, twice, of which the second is timed; the memory is what the process takes at most,
less what it takes before its first image.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np

from deepdeblur_tf.errors import quiet_libraries
from deepdeblur_tf.serving.formats import FORMATS, FURTHER
from experiments.benchmarks.beside_pytorch import alone, with_memory


@quiet_libraries()
def measured(name: str, model: str, version: Path, image: str) -> tuple[dict, np.ndarray]:
    """(seconds and GiB, the restored image) of an export's format, or of `predict` with a runtime."""
    images = iio.imread(image)[None]
    if name in FORMATS:
        run = FORMATS[name].load(version / FORMATS[name].file)
    else:
        from deepdeblur_tf import load_model
        from deepdeblur_tf.restoration.restorer import Restorer

        restorer = Restorer(load_model(model), runtime=name.partition(" ")[2], scale=1)

        def run(images):
            return restorer(images[0])[None]

    run(images[:, :64, :64])
    restored = images.copy()
    return with_memory(lambda: np.copyto(restored, run(images))), restored[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="A run's folder or a .keras file.")
    parser.add_argument("image", help="An image, restored whole.")
    flags = parser.parse_args()
    height, width = iio.imread(flags.image).shape[:2]
    print(f"{width}x{height} pixels\n")
    print("| runtime | seconds | GiB | largest difference of 255 | pixels that differ |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        export = [sys.executable, "-m", "deepdeblur_tf.export", flags.model, folder, "--scale", "1"]
        subprocess.run([*export, "--format", *FURTHER], check=True, stdout=subprocess.DEVNULL)
        first = None
        for name in ("predict tensorflow", *FORMATS, "predict openvino", "predict openvino_bfloat16"):
            figures, restored = alone(measured, name, flags.model, Path(folder, "1"), flags.image)
            first = restored if first is None else first
            difference = np.abs(restored.astype(int) - first).max(axis=2)
            print(
                f"| {name} | {figures['seconds']:.1f} | {figures['gib']:.2f} | {difference.max()} | "
                f"{(difference > 0).mean():.3%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
