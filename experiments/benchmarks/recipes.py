"""What each part of a recipe brings in equal time.

    python -m experiments.benchmarks.recipes PHOTOS --data DIR [DIR ...] --sharp DIR

Trains `experiments/photographs.yaml` from random weights, and the same with one thing changed, each for `--minutes`
along its own cosine: how many steps fit is measured first, but for what changes the pairs or the loss alone, which
takes as many steps as the recipe. Shown is the gain in PSNR (dB, `metrics.psnr`, whole images, averaged) on each data
set's test pairs, which none has seen, with the gain on noisy versions of all (sigma 5 of 255), and how near the
restored copies of sharp photos stay to these. Nothing else should run meanwhile. What is finished is not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from deepdeblur_tf import load_model, metrics
from deepdeblur_tf.config import load_experiment
from deepdeblur_tf.restoration.restorer import Restorer
from deepdeblur_tf.runs.folder import Run
from experiments.benchmarks.quality import noisy, photos, test_pairs

RECIPE = "experiments/photographs.yaml"
PATHS = load_experiment(RECIPE).synthesis
STEPS = 25  # an epoch
VARIANTS = {
    "the recipe": {},
    "at full resolution": {"model.shuffle_input": 1},
    "48 filters on all levels": {"model.filters": 48, "model.widening": 1},
    "48 filters": {"model.filters": 48},
    "24 filters": {"model.filters": 24},
    "8 patches of 192x192": {"data.patch_size": 192, "training.batch_size": 8},
    "Adam": {"training.optimizer": "adam"},
    "Charbonnier's loss": {"training.loss": "charbonnier"},
    "L1 loss": {"training.loss": "l1"},
    "a constant rate": {"training.schedule": "piecewise", "training.decay.epochs": [], "training.warmup": 0},
    "no moving average": {"training.ema": 0},
    "float32": {"training.precision": "float32"},
    "photos alone": {"synthesis.painted": 0},
    "paintings alone": {"synthesis.painted": 1},
    "paths half as long": {"synthesis.path": PATHS.path / 2, "synthesis.object_path": PATHS.object_path / 2},
    "paths twice as long": {"synthesis.path": PATHS.path * 2, "synthesis.object_path": PATHS.object_path * 2},
    "streaks as broken as seven to thirteen views": {"synthesis.broken": 1},
    "no linear light": {"synthesis.linear": 0},
    "no noise, no JPEG": {"synthesis.noise": 0, "synthesis.jpeg": 0},
    "every pair blurred": {"synthesis.unblurred": 0},
    "turned and recoloured patches": {"augmentation.turns": True, "augmentation.colours": True},
}
AS_FAST = "synthesis.", "augmentation.", "training.loss", "training.ema"  # what takes no more time a step


def train(run: Run, root: str, settings: dict, epochs: int) -> bool:
    """Trains a run on photos, continues it, or leaves it as it is; False where it diverged or is another recipe's."""
    batch = settings.get("training.batch_size", load_experiment(RECIPE).training.batch_size)
    lengths = {"data.pairs": STEPS * batch, "training.epochs": epochs, "validation.every": epochs}
    warmup = {"training.warmup": min(100, epochs * STEPS // 10)}
    flags = [f"--{key}={value}" for key, value in {**lengths, **warmup, **settings}.items()]
    command = [sys.executable, "-m", "deepdeblur_tf.train", "--config", RECIPE, "--data.root", root]
    return not subprocess.run([*command, "--output", str(run.folder), *flags], stdout=sys.stderr).returncode


def seconds_an_epoch(run: Run) -> float:
    """The median, without the first epoch, which traces graphs, and the last, which validates."""
    return float(np.median([float(row["seconds"]) for row in run.read_history()[1:-1]]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS", help="The folder of sharp photos.")
    parser.add_argument(
        "--data", "--pairs", nargs="+", metavar="DIR", required=True, help="Data sets; their test images count."
    )
    parser.add_argument("--sharp", metavar="DIR", required=True, help="A folder of sharp photos not trained on.")
    parser.add_argument("--minutes", type=float, default=3, help="Of each training. Defaults to %(default)s.")
    parser.add_argument("--output", type=Path, default=Path("runs/recipes"), help="Defaults to %(default)s.")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="VARIANT")
    flags = parser.parse_args()

    sets = {Path(folder).name: test_pairs(folder) for folder in flags.data}
    sets["noisy"] = [(noisy(blurry), sharp) for pairs in list(sets.values()) for blurry, sharp in pairs]
    sharp_ones = photos(flags.sharp)
    print(f"| variant | parameters | steps | minutes | {' | '.join(sets)} | sharp kept to |")
    print("|---" * (5 + len(sets)) + "|")
    epochs = 0
    for variant in flags.only:
        settings = VARIANTS[variant]
        folder = flags.output / variant.replace(" ", "_")
        probe, run = Run(folder / "probe"), Run(folder / "run")
        as_fast = all(key.startswith(AS_FAST) for key in settings)
        fitting, is_trained = epochs, True
        if not (as_fast and epochs):
            is_trained = train(probe, flags.photos, settings, 4)
            fitting = max(3, round(60 * flags.minutes / seconds_an_epoch(probe))) if is_trained else 0
            if as_fast:
                epochs = fitting
        if not is_trained or not train(run, flags.photos, settings, fitting):
            print(f"| {variant} | not trained, see above{' |' * (4 + len(sets))}", flush=True)
            continue
        history = run.read_history()
        minutes = sum(float(row["seconds"]) for row in history) / 60
        network = load_model(run.folder)
        restore = Restorer(network)
        gains = [
            np.mean([metrics.psnr(restore(blurry), sharp) - metrics.psnr(blurry, sharp) for blurry, sharp in pairs])
            for pairs in sets.values()
        ]
        kept = np.mean([metrics.psnr(restore(photo), photo) for photo in sharp_ones])
        print(
            f"| {variant} | {network.count_params():,} | {history[-1]['step']} | {minutes:.1f} | "
            f"{' | '.join(f'{gain:+.2f}' for gain in gains)} | {kept:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
