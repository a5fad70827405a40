"""Training with a discriminator: its step, what of it a run keeps, and the settings that it refuses."""

import subprocess
import sys
import time

import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import ConfigError, Training
from deepdeblur_tf.losses import judgement_loss
from deepdeblur_tf.model import build_model
from deepdeblur_tf.train import main
from deepdeblur_tf.training.adversarial import AdversarialTrainer, build_discriminator
from deepdeblur_tf.training.initialization import begun
from deepdeblur_tf.training.optimizer import make_optimizer
from deepdeblur_tf.training.trainer import Trainer
from tests.helpers import FILES, ROOT, assert_equal_runs, curve, last_step, read_csv

GOLDEN = FILES / "torch" / "adversarial_steps.npz"
SMALL = {"levels": 1, "blocks": 1, "filters": 2, "kernel_size": 3}


def small_trainer(weight=0.01):
    settings = Training(learning_rate=1e-3, epsilon=1e-8, clip=0)
    trainer = AdversarialTrainer(build_discriminator(2, 3), weight, build_model(**SMALL))
    trainer.compile(make_optimizer(settings, 100), make_optimizer(settings, 100))
    return trainer


def patches():
    blurry, sharp = np.random.default_rng(1).random((2, 2, 256, 256, 3), np.float32) - np.float32(0.5)
    return (blurry,), (sharp,)


def test_steps_are_those_of_the_authors_code_in_pytorch():
    """The golden values are those of tests/files/torch/adversarial_steps.py, which is this step in PyTorch alone."""
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


def test_the_judgements_loss_is_the_binary_cross_entropy_in_bits(random):
    logits = random.normal(0, 3, 20)
    sharp = 1 / (1 + np.exp(-logits))
    assert float(judgement_loss(tf.constant(logits), True)) == pytest.approx(-np.log2(sharp).mean())
    assert float(judgement_loss(tf.constant(logits), False)) == pytest.approx(-np.log2(1 - sharp).mean())


def test_bfloat16_steps_as_float32_does():
    logs = []
    for precision in ("float32", "bfloat16"):
        settings, random = Training(initialization="torch", precision=precision), np.random.default_rng(0)
        discriminator = begun(settings, random, build_discriminator, filters=2, kernel_size=3)
        trainer = AdversarialTrainer(discriminator, 0.01, begun(settings, random, build_model, **SMALL))
        trainer.compile(make_optimizer(settings, 100), make_optimizer(settings, 100))
        logs.append({name: float(value) for name, value in trainer.train_step(patches()).items()})
    assert discriminator.get_layer("conv_5").compute_dtype == "bfloat16"
    for name in ("loss", "adversarial", "discriminator"):
        assert logs[1][name] == pytest.approx(logs[0][name], rel=0.01)
    assert logs[1]["gradient_norm"] == pytest.approx(logs[0]["gradient_norm"], rel=0.05)


def test_a_batch_that_is_not_finite_changes_neither_network():
    trainer = small_trainer()
    trainer.train_step(patches())
    before = [*trainer.network.get_weights(), *trainer.discriminator.get_weights()]
    blurry, sharp = patches()
    spoilt = sharp[0].copy()
    spoilt[0, 3, 3, 1] = np.nan
    assert trainer.train_step((blurry, (spoilt,)))["skipped"] == 1
    for weight, other in zip([*trainer.network.get_weights(), *trainer.discriminator.get_weights()], before):
        np.testing.assert_array_equal(weight, other)
    assert int(trainer.optimizer.iterations) == int(trainer.discriminator_optimizer.iterations) == 2


def test_a_discriminator_without_weight_changes_nothing_of_the_network():
    tf.keras.utils.set_random_seed(0)
    judged = small_trainer(weight=0.0)
    plain = Trainer(build_model(**SMALL))
    plain.network.set_weights(judged.network.get_weights())
    plain.compile(make_optimizer(Training(learning_rate=1e-3, epsilon=1e-8, clip=0), 100))
    for _ in range(2):
        logs, expected = judged.train_step(patches()), plain.train_step(patches())
        assert float(logs["loss"]) == float(expected["loss"])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"data.patch_size": 192}, "data.patch_size: received 192; allowed: at least 256 with training.adversarial"),
        ({"model.filters": 5}, "model.filters: received 5; allowed: an even number with training.adversarial"),
        ({"training.precision": "float16"}, "training.precision: received 'float16'; allowed: float32 or bfloat16"),
    ],
)
def test_what_cannot_be_trained_with_a_discriminator_is_refused(small_experiment, changes, words):
    with pytest.raises(ConfigError, match=words):
        small_experiment(**{"data.patch_size": 256, "training.adversarial": 1e-4, **changes})


# Of a recipe, what makes its training a matter of seconds.
SHRUNK = {
    **{"data.root": "scenes", "data.scenes": 8, "data.layout": "auto"},
    **{"model.levels": 1, "model.blocks": 1, "model.filters": 2, "model.kernel_size": 3},
    **{"training.epochs": 2, "training.batch_size": 2, "training.decay.epochs": [1]},
    **{"training.checkpoint_minutes": 1e-9, "validation.images": 2, "validation.samples": 1},
}


def flags(recipe, **changes):
    settings = {**SHRUNK, "training.steps": 5, **changes}
    config = f"--config={ROOT / 'experiments' / recipe}.yaml"
    return [config, *(f"--{key}={value}" for key, value in settings.items())]


def state(run):
    """Everything in a run's last checkpoint, both networks and optimizers, but the time it took."""
    path = str(run / "checkpoints" / "last" / f"step-{last_step(run)}")
    reader = tf.train.load_checkpoint(path)
    names = [
        name for name in reader.get_variable_to_dtype_map() if "OBJECT_GRAPH" not in name and "seconds" not in name
    ]
    return {name: reader.get_tensor(name) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["paper", "pytorch_l1"])
def test_a_recipe_that_is_killed_ends_as_if_it_had_not_been(tmp_path, recipe):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(["--output", str(whole), *flags(recipe)]) == 0
    command = [sys.executable, "-m", "deepdeblur_tf.train", "--output", str(killed), *flags(recipe)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while last_step(killed) < 3 and process.poll() is None:
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    assert 3 <= last_step(killed) < 10 and not (killed / "model.keras").exists()
    assert main(["--output", str(killed), *flags(recipe)]) == 0
    assert_equal_runs(killed, whole)
    one, other = state(killed), state(whole)
    assert one.keys() == other.keys() and last_step(whole) == 10
    assert any(name.startswith("discriminator") for name in one) == (recipe == "paper")
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    if recipe == "paper":
        for name in ("adversarial", "discriminator"):
            assert curve(killed, f"train/{name}") == curve(whole, f"train/{name}")
            assert all(0.5 < float(row[name]) < 3 for row in read_csv(killed / "history.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("weight, other, word", [(0, 1e-4, "without"), (1e-4, 0, "with")])
def test_force_neither_adds_nor_removes_a_discriminator(tmp_path, capsys, weight, other, word):
    command = ["--output", str(tmp_path / "run"), *flags("paper", **{"training.steps": 1, "validation.samples": 0})]
    assert main([*command, f"--training.adversarial={weight}"]) == 0
    assert main([*command, f"--training.adversarial={other}", "--training.epochs=3", "--force"]) == 2
    assert f"was trained {word} a discriminator, which --force cannot change" in capsys.readouterr().err
