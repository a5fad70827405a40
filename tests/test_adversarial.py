"""Training with a discriminator: its step, what of it a run keeps, and the settings that it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import ConfigError, Training
from deepdeblur_tf.losses import judgement_loss
from deepdeblur_tf.model import build_model
from deepdeblur_tf.train import main
from deepdeblur_tf.training.adversarial import AdversarialTrainer, build_discriminator
from deepdeblur_tf.training.optimizer import make_optimizer

from .conftest import read_csv
from .faults import assert_equal_runs, curve, last_step

GOLDEN = Path(__file__).parent / "data" / "torch" / "adversarial_steps.npz"
SMALL = {"levels": 1, "blocks": 1, "filters": 2, "kernel_size": 3}


def small_trainer(weight=0.01, precision="float32", **changes):
    settings = Training(learning_rate=1e-3, epsilon=1e-8, clip=0, **changes)
    trainer = AdversarialTrainer(build_discriminator(2, 3), weight, build_model(**SMALL))
    trainer.compile(make_optimizer(settings, 100), make_optimizer(settings, 100))
    return trainer


def patches():
    blurry, sharp = np.random.default_rng(1).random((2, 2, 256, 256, 3), np.float32) - np.float32(0.5)
    return (blurry,), (sharp,)


def test_steps_are_those_of_the_authors_code_in_pytorch():
    """The golden values are those of tests/data/torch/adversarial_steps.py, which is this step in PyTorch alone."""
    trainer = small_trainer()
    with np.load(GOLDEN) as golden:
        for name in ("network", "discriminator"):
            network = getattr(trainer, name)
            network.set_weights([golden[f"{name}_before_{number}"] for number in range(len(network.weights))])
        for expected in golden["logs"]:
            logs = trainer.train_step(patches())
            actual = [float(logs[name]) for name in ("loss", "adversarial", "discriminator", "gradient_norm")]
            np.testing.assert_allclose(actual, expected, rtol=1e-5)
        for name in ("network", "discriminator"):
            for number, weight in enumerate(getattr(trainer, name).get_weights()):
                before, after = golden[f"{name}_before_{number}"], golden[f"{name}_after_{number}"]
                assert np.abs(after - before).max() > 1e-3
                np.testing.assert_allclose(weight, after, atol=2e-6, err_msg=f"{name} {number}")


def test_the_papers_discriminator():
    # Layers, strides and numbers as DeepDeblur_release's model.lua and DeepDeblur-PyTorch's discriminator.py have them.
    discriminator = build_discriminator()
    kernels = [tuple(weight.shape) for weight in discriminator.weights]
    maps = [3, 32, 32, 64, 64, 128, 128, 256, 256, 512]
    expected = [(5, 5, before, after) for before, after in zip(maps, maps[1:])] + [(4, 4, 512, 512)]
    assert kernels == [*expected, (1, 1, 512, 1), (1,)]
    assert [tuple(build_discriminator(2, 3)(np.zeros((1, *size, 3))).shape) for size in ((256, 256), (512, 260))] == [
        (1, 1, 1, 1),
        (1, 2, 1, 1),
    ]
