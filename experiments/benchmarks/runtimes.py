"""Time, memory and largest difference of every runtime: python -m experiments.benchmarks.runtimes MODEL IMAGE

Each runs in a process of its own, twice, of which the second is timed; the memory is what the process takes at most,
less what it takes before its first image.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np

ALONE = """
import json, sys, threading, time
import imageio.v3 as iio, numpy as np, psutil
name, file, image, out = sys.argv[1:]
images = iio.imread(image)[None]
begin = time.perf_counter()
if name in ("saved_model", "onnx", "tflite", "openvino"):
    from pathlib import Path
    from deepdeblur_tf.serving.formats import FORMATS
    run = FORMATS[name].load(Path(file) / FORMATS[name].file)
else:
    from deepdeblur_tf import load_model
    from deepdeblur_tf.restoration.restorer import Restorer
    restorer = Restorer(load_model(file), runtime=name.partition(" ")[2])
    run = lambda images: restorer(images[0])[None]
run(images[:, :64, :64])
start = time.perf_counter() - begin
process, most, done = psutil.Process(), 0, False
before = process.memory_info().rss
def watch():
    global most
    while not done:
        most = max(most, process.memory_info().rss)
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
run(images)
begin = time.perf_counter()
restored = run(images)
seconds = time.perf_counter() - begin
done = True
np.save(out, restored[0])
print(json.dumps({"seconds": seconds, "gib": (most - before) / 2**30, "start": start}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="A run's folder or a .keras file.")
    parser.add_argument("image", help="An image, restored whole.")
    flags = parser.parse_args()
    height, width = iio.imread(flags.image).shape[:2]
    print(f"{width}x{height} pixels\n")
    print("| runtime | seconds | GiB | largest difference of 255 | pixels that differ |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        export = [sys.executable, "-m", "deepdeblur_tf.export", flags.model, folder]
        subprocess.run([*export, "--format", "onnx", "tflite", "openvino"], check=True, stdout=subprocess.DEVNULL)
        version = str(Path(folder, "1"))
        cases = [
            ("predict tensorflow", flags.model),
            ("saved_model", version),
            ("onnx", version),
            ("tflite", version),
            ("openvino", version),
            ("predict openvino", flags.model),
            ("predict openvino_bfloat16", flags.model),
        ]
        first = None
        for name, file in cases:
            out = Path(folder, "restored.npy")
            command = [sys.executable, "-c", ALONE, name, file, flags.image, str(out)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            figures, restored = json.loads(answer.splitlines()[-1]), np.load(out).astype(int)
            first = restored if first is None else first
            difference = np.abs(restored - first).max(axis=2)
            print(
                f"| {name} | {figures['seconds']:.1f} | {figures['gib']:.2f} | {difference.max()} | "
                f"{(difference > 0).mean():.3%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
