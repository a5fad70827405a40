"""This project beside the same networks in PyTorch: python -m experiments.benchmarks.beside_pytorch (extra `benchmark`)

Training steps and whole images of the report's network and of `photographs`, and samples a second. Each measurement is
a process of its own, TensorFlow's and PyTorch's in turns; shown are the medians over the rounds. The machine's own
product of two matrices of 4096x4096, measured in the same turns, by whichever of the two is faster at it, tells how
much of what it can compute each one uses.
Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
import timeit
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from deepdeblur_tf.config import Model, load_experiment

REPORT = Model()
PATCH, BATCH = 256, 2  # the report's
FRAME, LARGE = (720, 1280), (3000, 4000)
PAIRS = 16  # frames of 1280x720 that samples are cut from


# What a process measures: from "tensorflow" or "pytorch" to seconds, and GiB where it makes a difference.


def matrix_product(framework: str, precision: str) -> dict:
    side = 4096
    if framework == "tensorflow":
        from deepdeblur_tf.compat import tf

        matrix = tf.cast(tf.random.stateless_normal((side, side), (0, 0)), precision)
        return {"seconds": _seconds(lambda: tf.linalg.matmul(matrix, matrix).numpy(), 3), "operations": 2 * side**3}
    import torch

    matrix = torch.randn(side, side).to(getattr(torch, precision))
    return {"seconds": _seconds(lambda: torch.matmul(matrix, matrix), 3), "operations": 2 * side**3}


def convolution(framework: str, part: str, precision: str, shape: tuple[int, ...], kernel: int) -> dict:
    """Of a batch [N, H, W, C], C filters: the "output", or what a training needs, "input" and "filter" gradients."""
    channels = shape[-1]
    operations = 2 * int(np.prod(shape)) * channels * kernel**2
    random = np.random.default_rng(0)
    image = random.standard_normal(shape, np.float32)
    filters = random.standard_normal((kernel, kernel, channels, channels), np.float32)
    if framework == "tensorflow":
        from deepdeblur_tf.compat import tf

        image, filters = tf.cast(image, precision), tf.cast(filters, precision)
        shared = {"strides": [1] * 4, "padding": "SAME"}
        call = {
            "output": lambda: tf.nn.conv2d(image, filters, **shared),
            "input": lambda: tf.raw_ops.Conv2DBackpropInput(
                input_sizes=shape, filter=filters, out_backprop=image, **shared
            ),
            "filter": lambda: tf.raw_ops.Conv2DBackpropFilter(
                input=image, filter_sizes=filters.shape, out_backprop=image, **shared
            ),
        }[part]
        return {"seconds": _seconds(lambda: call().numpy(), 5), "operations": operations}
    import torch

    # Channels last in memory, as TensorFlow has them.
    image = torch.from_numpy(image).to(getattr(torch, precision)).permute(0, 3, 1, 2)
    filters = (
        torch.from_numpy(filters).to(image.dtype).permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last)
    )
    padding = kernel // 2

    def gradient(*wanted):
        return torch.ops.aten.convolution_backward(
            image, image, filters, None, [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1, [*wanted, False]
        )

    call = {
        "output": lambda: torch.nn.functional.conv2d(image, filters, padding=padding),
        "input": lambda: gradient(True, False),
        "filter": lambda: gradient(False, True),
    }[part]
    return {"seconds": _seconds(call, 5), "operations": operations}


def training_step(framework: str, precision: str) -> dict:
    steps = 3
    operations = 3 * BATCH * _operations(REPORT, (PATCH, PATCH))  # forward, and twice as much backward
    sides = [PATCH // 2**level for level in range(REPORT.levels)]
    random = np.random.default_rng(0)
    levels = [random.random((BATCH, side, side, 3), np.float32) - 0.5 for side in sides]
    if framework == "tensorflow":
        from deepdeblur_tf import Trainer, build_model, make_optimizer
        from deepdeblur_tf.compat import tf

        experiment = load_experiment("experiments/gopro_pixel_shuffle.yaml", {})
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if precision == "bfloat16" else precision)
        trainer = Trainer(build_model(**vars(REPORT)))
        trainer.compile(make_optimizer(experiment.training, 1000))
        data = tf.data.Dataset.from_tensors((tuple(levels), tuple(levels))).repeat()
        train = functools.partial(trainer.fit, data, steps_per_epoch=steps, verbose=0)
        return {"seconds": _seconds(train, 2) / steps, "operations": operations}
    import torch

    from experiments.benchmarks.pytorch_network import Network

    network = Network(REPORT).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    batch = [torch.from_numpy(level).permute(0, 3, 1, 2) for level in levels]  # channels last in memory

    def train():
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                restored = network(batch)
            sum(torch.mean((one.float() - two) ** 2) for one, two in zip(restored, batch)).backward()
            torch.nn.utils.clip_grad_value_(network.parameters(), 0.5)
            optimizer.step()

    return {"seconds": _seconds(train, 2) / steps, "operations": operations}


def whole_image(framework: str, model: str, height: int, width: int, precision: str = "float32") -> dict:
    from deepdeblur_tf import build_model, load_model
    from deepdeblur_tf.compat import tf

    if framework == "tensorflow" and precision == "bfloat16":
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    network = load_model(model) if model else build_model(**vars(REPORT))
    operations = _operations(network.settings, (height, width))
    if framework == "tensorflow":
        from deepdeblur_tf.restoration.restorer import Restorer

        restore = Restorer(network, scale=1)
    else:
        import torch
        from torch.nn import functional

        from experiments.benchmarks.pytorch_network import Network

        twin = Network(network.settings)
        twin.take(network)
        twin.to(memory_format=torch.channels_last)

        def restore(image):
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                finest = torch.from_numpy(image)[None].permute(0, 3, 1, 2).float()
                halves = (
                    functional.interpolate(finest, scale_factor=s, mode="bicubic", antialias=True) for s in (0.5, 0.25)
                )
                levels = [level.round().clamp(0, 255) / 255 - 0.5 for level in (finest, *halves)]
                return ((twin(levels)[0].float() + 0.5).clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).numpy()

    restore(image[:64, :64])
    return {**with_memory(functools.partial(restore, image)), "operations": operations}


def samples(framework: str, cache: str) -> dict:
    """Seconds a sample: two crops of a pair of PNGs, flipped, with their pyramids."""
    folder = os.environ["PAIRS_FOLDER"]
    count = 8 * PAIRS
    if framework == "tensorflow":
        from deepdeblur_tf import load_experiment, make_datasets

        settings = {"data.root": folder, "data.cache": cache, "training.epochs": 2 * count // PAIRS}
        batches = iter(make_datasets(load_experiment("experiments/gopro_pixel_shuffle.yaml", settings))[0])
    else:
        from torch.utils.data import DataLoader

        from experiments.benchmarks.pytorch_data import Pairs

        loader = DataLoader(
            Pairs(folder, PATCH, 2 * count, cache == "memory"), BATCH, num_workers=os.cpu_count(), prefetch_factor=4
        )
        batches = iter(loader)
    for _ in range(2 * PAIRS // BATCH):  # from now on each pair is in a cache
        next(batches)
    begin = time.perf_counter()
    for _ in range(count // BATCH):
        next(batches)
    return {"seconds": (time.perf_counter() - begin) / count}


CASES = {
    "product of matrices, float32": functools.partial(matrix_product, precision="float32"),
    "product of matrices, bfloat16": functools.partial(matrix_product, precision="bfloat16"),
    "training step, float32": functools.partial(training_step, precision="float32"),
    "training step, bfloat16": functools.partial(training_step, precision="bfloat16"),
    **{
        f"{what}, 64 channels, bfloat16": functools.partial(
            convolution, part=part, precision="bfloat16", shape=(BATCH, PATCH, PATCH, 64), kernel=5
        )
        for what, part in (
            ("convolution", "output"),
            ("its input's gradient", "input"),
            ("its filter's gradient", "filter"),
        )
    },
    "convolution, 32 channels": functools.partial(
        convolution, part="output", precision="float32", shape=(1, FRAME[0] // 2, FRAME[1] // 2, 32), kernel=3
    ),
    "1280x720": functools.partial(whole_image, model="", height=FRAME[0], width=FRAME[1]),
    "1280x720, `photographs`": functools.partial(whole_image, model="photographs", height=FRAME[0], width=FRAME[1]),
    "1280x720, `photographs`, bfloat16": functools.partial(
        whole_image, model="photographs", height=FRAME[0], width=FRAME[1], precision="bfloat16"
    ),
    "4000x3000, `photographs`": functools.partial(whole_image, model="photographs", height=LARGE[0], width=LARGE[1]),
    "sample, decoded anew": functools.partial(samples, cache="none"),
    "sample, cached": functools.partial(samples, cache="memory"),
}


def _seconds(function, repeats: int) -> float:
    """The shortest of some calls, after one that is not counted."""
    function()
    return min(timeit.repeat(function, "gc.enable()", number=1, repeat=repeats))


def alone(function, *arguments):
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def with_memory(function) -> dict:
    """The seconds of a second call, and the GiB that the process took at most, less what it took before the first."""
    import psutil

    process, most, done = psutil.Process(), 0, threading.Event()
    before = process.memory_info().rss

    def watch():
        nonlocal most
        while not done.wait(0.005):
            most = max(most, process.memory_info().rss)

    threading.Thread(target=watch, daemon=True).start()
    seconds = _seconds(function, 1)
    done.set()
    return {"seconds": seconds, "gib": (most - before) / 2**30}


def _operations(settings: Model, size: tuple[int, int]) -> int:
    """Multiplications and additions of a network's convolutions for one image."""
    factor, kernel = settings.shuffle_input, settings.kernel_size
    total = 0
    for level in range(settings.levels):
        pixels = (size[0] / 2**level + 2 * settings.border) * (size[1] / 2**level + 2 * settings.border)
        filters = settings.filters * settings.widening**level
        is_coarsest = level == settings.levels - 1
        inner = pixels / factor**2 * kernel**2
        total += inner * filters * ((3 if is_coarsest else 6) + 3) * factor**2  # head and tail
        total += inner * 2 * settings.blocks * filters**2
        total += 0 if is_coarsest else pixels / 4 * 25 * 3 * 12  # the up-convolution
        if settings.pass_features and not is_coarsest:
            total += pixels / 4 / factor**2 * filters * settings.widening * 4 * filters
    return int(2 * total)


def _write_pairs(folder: Path) -> None:
    """Frames of 1280x720 in GOPRO's layout, as detailed as photographs: embedded scenes side by side."""
    from deepdeblur_tf.data.scenes import EmbeddedScenes
    from deepdeblur_tf.images.rgb import write_image

    scenes = EmbeddedScenes(15, 0, "blur", "train")
    frame = np.vstack([np.hstack([scenes.read(5 * row + column) for column in range(5)]) for row in range(3)])[:720]
    for kind, image in zip(("blur", "sharp"), np.split(frame, 2, axis=2)):
        target = folder / "train" / "scene" / kind
        target.mkdir(parents=True)
        for number in range(PAIRS):
            write_image(target / f"{number:06}.png", np.roll(image, 40 * number, axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="Turns of each. Defaults to %(default)s.")
    parser.add_argument(
        "--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="Cases to run."
    )
    flags = parser.parse_args()
    frameworks = ("tensorflow", "pytorch")
    with tempfile.TemporaryDirectory() as folder:
        _write_pairs(Path(folder))
        os.environ["PAIRS_FOLDER"] = folder
        found: dict = {(case, framework): [] for case in flags.only for framework in frameworks}
        for _ in range(flags.rounds):
            for case, framework in found:
                found[case, framework].append(alone(CASES[case], framework))
    middle = {
        key: {name: statistics.median(figures[name] for figures in values) for name in values[0]}
        for key, values in found.items()
    }
    limits: dict[bool, float] = {}  # operations a second, in bfloat16 and not
    for (case, _), figures in middle.items():
        if case.startswith("product"):
            rate = figures["operations"] / figures["seconds"]
            limits["bfloat16" in case] = max(limits.get("bfloat16" in case, 0), rate)
    print("| | TensorFlow | PyTorch |\n|---|---|---|")
    for case in flags.only:
        cells = [_cell(case, middle[case, framework], limits.get("bfloat16" in case)) for framework in frameworks]
        print(f"| {case} | {' | '.join(cells)} |")


def _cell(case: str, figures: dict, limit: float | None) -> str:
    if case.startswith("sample"):
        return f"{1 / figures['seconds']:.1f} a second"
    text = f"{figures['seconds']:.2f} s"
    if "gib" in figures:
        text += f", {figures['gib']:.2f} GiB"
    rate = figures["operations"] / figures["seconds"]
    if case.startswith("product") or limit is None:
        return f"{text}, {rate / 1e9:.0f} GFLOP/s"
    return f"{text}, {rate / limit:.0%} of the product's speed"


if __name__ == "__main__":
    main()
