"""What the report's experiments leave off: precision, other losses, schedules, averages, augmentations."""

from itertools import permutations

import numpy as np
import pytest
from skimage.color import hsv2rgb, rgb2hsv

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Augmentation, ConfigError, Training
from deepdeblur_tf.losses import multiscale_loss
from deepdeblur_tf.model import build_model
from deepdeblur_tf.training.initialization import begun
from deepdeblur_tf.training.optimizer import learning_rate_schedule, make_optimizer
from deepdeblur_tf.training.trainer import Trainer
from tests.helpers import stream_of

SMALL = {"blocks": 1, "filters": 4, "kernel_size": 3, "global_skip": True}


def levels(random, side=16, batch=2):
    return tuple(tf.constant(random.random((batch, side >> k, side >> k, 3), np.float32) - 0.5) for k in range(3))


@pytest.mark.parametrize(
    "kind, formula",
    [
        ("mse", lambda d: np.mean(d**2)),
        ("l1", lambda d: np.mean(np.abs(d))),
        ("charbonnier", lambda d: np.mean(np.sqrt(d**2 + 1e-6))),
        ("log_mse", lambda d: np.mean(np.log1p(1000 * np.mean(d**2, axis=(1, 2, 3))))),
    ],
)
def test_each_loss_is_its_formula(random, kind, formula):
    one, other = levels(random), levels(random)
    expected = [formula(np.asarray(a, np.float64) - np.asarray(b)) for a, b in zip(one, other)]
    np.testing.assert_allclose(multiscale_loss(one, other, kind), expected, rtol=1e-5)


def test_the_cosine_falls_to_0_after_a_linear_rise():
    settings = Training(epochs=10, learning_rate=2e-3, schedule="cosine", warmup=20)
    rate = learning_rate_schedule(settings, steps_per_epoch=10)
    steps = np.arange(101)
    rise = 2e-3 * steps / 20
    fall = 2e-3 * (1 + np.cos(np.pi * (steps - 20) / 80)) / 2
    np.testing.assert_allclose([float(rate(step)) for step in steps], np.where(steps < 20, rise, fall), atol=1e-9)


def test_a_training_over_before_its_rate_has_risen_is_refused():
    settings = Training(epochs=4, schedule="cosine", warmup=500)
    with pytest.raises(ConfigError, match=r"received 500; allowed: fewer than .* 200 steps \(4 epochs"):
        learning_rate_schedule(settings, steps_per_epoch=50)


def trained(precision="float32", ema=0.0, steps=4):
    """A trainer after a few steps, and its network's weights after each of them."""
    random = np.random.default_rng(0)
    tf.keras.utils.set_random_seed(0)
    settings = Training(learning_rate=1e-2, precision=precision)
    network = begun(settings, random, build_model, **SMALL)
    shipped = build_model(**SMALL)
    shipped.set_weights(network.get_weights())
    trainer = Trainer(network, shipped, ema=ema)
    trainer.compile(make_optimizer(settings, 100))
    weights, logs = [network.get_weights()], []
    for _ in range(steps):
        logs.append({key: float(value) for key, value in trainer.train_step((levels(random), levels(random))).items()})
        weights.append(network.get_weights())
    return trainer, weights, logs


def test_the_shipped_network_is_the_weights_moving_average():
    trainer, weights, _ = trained(ema=0.5)
    expected = weights[0]
    for step, now in enumerate(weights[1:], 1):
        kept = min(0.5, (1 + step) / (10 + step))
        expected = [kept * average + (1 - kept) * weight for average, weight in zip(expected, now)]
    for average, weight in zip(expected, trainer.shipped.get_weights()):
        np.testing.assert_allclose(weight, average, atol=1e-6)


def test_without_an_average_the_shipped_network_gets_the_weights_before_it_is_validated(random):
    trainer, weights, _ = trained("bfloat16")
    data = tf.data.Dataset.from_tensors((levels(random, batch=1), levels(random, batch=1)))
    trainer.evaluate(data, verbose=0)
    for shipped, weight in zip(trainer.shipped.get_weights(), weights[-1]):
        np.testing.assert_array_equal(shipped, weight)
    assert {layer.compute_dtype for layer in trainer.shipped.layers} == {"float32"}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precisions_train_as_float32_does(precision):
    plain, _, expected = trained()
    lower, _, logs = trained(precision)
    assert "float32" not in {layer.compute_dtype for layer in lower.network.layers if "conv" in layer.name}
    for log, other in zip(logs, expected):
        assert log["loss"] == pytest.approx(other["loss"], rel=0.02)
        # 2^15 times too large or too small, were the loss's scale forgotten.
        assert log["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=0.1)
    assert lower.steps_done == plain.steps_done == 4


def test_a_batch_whose_scaled_loss_overflows_is_still_a_step():
    trainer, _, _ = trained("float16", steps=1)
    random = np.random.default_rng(1)
    huge = tuple(1e4 * level for level in levels(random))
    trainer.train_step((huge, levels(random)))
    assert trainer.steps_done == 2
    means = {metric.name: float(metric.result()) for metric in trainer.metrics}
    assert np.isfinite(list(means.values())).all() and means["gradient_norm"] > 0


@pytest.mark.parametrize("size", [(16, 16), (15, 18), (2, 2), (1, 1)])
def test_a_network_on_shuffled_pixels_begins_as_the_identity(random, size):
    network = build_model(**SMALL, shuffle_input=2)
    blurry = tuple(random.random((1, 4 * size[0] >> k, 4 * size[1] >> k, 3), np.float32) - 0.5 for k in range(3))
    for restored, given in zip(network(blurry), blurry):
        np.testing.assert_allclose(restored, given, atol=1e-6)


def test_shuffled_pixels_see_twice_as_far():
    def reach(**settings):
        tf.keras.utils.set_random_seed(0)
        network = build_model(levels=1, blocks=2, filters=4, kernel_size=3, **settings)
        point = np.zeros((1, 64, 64, 3), np.float32)
        plain = np.asarray(tf.nest.flatten(network(point))[0])
        point[0, 32, 32] = 1
        return np.ptp(np.nonzero(np.asarray(tf.nest.flatten(network(point))[0]) != plain)[2])

    assert reach(shuffle_input=2) >= 2 * reach() - 2


def muon(weight, gradients, rate):
    """What Muon's authors' code makes of a kernel, times the root of inputs / outputs, in NumPy (float64)."""
    mean = np.zeros_like(weight)
    for gradient in gradients:
        mean = 0.95 * mean + 0.05 * gradient
        x = (0.05 * gradient + 0.95 * mean).reshape(-1, weight.shape[3]).T
        x = x / np.linalg.norm(x)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        weight = weight - rate * np.sqrt(x.shape[1] / x.shape[0]) * x.T.reshape(weight.shape)
    return weight


def test_muon_is_its_formula_for_square_kernels_and_adam_for_the_rest(random):
    shapes = {"block": (3, 3, 8, 8), "head": (3, 3, 3, 8)}
    kept = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    steps = [{name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(4)]
    results = {}
    for optimizer in ("muon", "adam"):
        variables = {name: tf.Variable(value) for name, value in kept.items()}
        chosen = make_optimizer(Training(learning_rate=1e-2, optimizer=optimizer, clip=0), 100)
        for gradients in steps:
            chosen.apply_gradients([(tf.constant(gradients[name]), variables[name]) for name in shapes])
        results[optimizer] = {name: variable.numpy() for name, variable in variables.items()}
    expected = muon(kept["block"].astype(float), [gradients["block"] for gradients in steps], 1e-2)
    np.testing.assert_allclose(results["muon"]["block"], expected, atol=2e-6)
    np.testing.assert_array_equal(results["muon"]["head"], results["adam"]["head"])


def test_muon_moves_biases_a_tenth_as_far_as_adam():
    moved = {}
    for optimizer in ("muon", "adam"):
        bias = tf.Variable(np.zeros(8, np.float32))
        chosen = make_optimizer(Training(learning_rate=1e-2, optimizer=optimizer, clip=0), 100)
        for gradient in np.random.default_rng(1).normal(size=(4, 8)):
            chosen.apply_gradients([(tf.constant(gradient, tf.float32), bias)])
        moved[optimizer] = bias.numpy()
    np.testing.assert_allclose(moved["muon"], moved["adam"] / 10, rtol=1e-5)


def test_muon_moves_a_kernel_alike_in_every_direction(random):
    # Singular values of the gradient over two orders of magnitude; those of the update lie near one another.
    left, _ = np.linalg.qr(random.normal(size=(72, 8)))
    right, _ = np.linalg.qr(random.normal(size=(8, 8)))
    gradient = (left * np.logspace(0, -2, 8)) @ right
    variable = tf.Variable(np.zeros((3, 3, 8, 8), np.float32))
    optimizer = make_optimizer(Training(learning_rate=1.0, optimizer="muon", clip=0), 100)
    optimizer.apply_gradients([(tf.constant(gradient.reshape(3, 3, 8, 8), tf.float32), variable)])
    moved = np.linalg.svd(variable.numpy().reshape(72, 8), compute_uv=False)
    assert moved.max() / moved.min() < 2
    assert moved.mean() == pytest.approx(3, rel=0.25)


class Squares:
    """Pairs whose sharp image is 255 minus the blurry one."""

    is_endless = False
    names = ("a", "b", "c")

    def __len__(self):
        return 3

    def read(self, index):
        image = np.random.default_rng(int(index)).integers(40, 215, (24, 24, 3), np.uint8)
        return np.concatenate([image, 255 - image], axis=2)


def batches(augmentation=None, start=0, parallel_calls=-1, epochs=8):
    stream = stream_of(Squares(), 1, augmentation, epochs=epochs, batch_size=1)
    dataset = stream.batches(start, parallel_calls=parallel_calls)
    return [tuple(np.rint((np.asarray(side[0])[0] + 0.5) * 255).astype(int) for side in batch) for batch in dataset]


def test_turned_patches_stay_pairs_and_take_every_direction():
    sources = [Squares().read(index)[..., :3] for index in range(3)]
    views = [
        (np.rot90(source[:, ::flip], turn), turn, flip) for source in sources for turn in range(4) for flip in (1, -1)
    ]
    seen = set()
    for blurry, sharp in batches(Augmentation(turns=True), epochs=30):
        np.testing.assert_array_equal(sharp, 255 - blurry)
        seen.update((turn, flip) for view, turn, flip in views if np.array_equal(view, blurry))
    assert len(seen) == 8


def test_colours_change_by_gains_that_both_images_share():
    changed = 0
    for (blurry, sharp), (plain, _) in zip(batches(Augmentation(colours=True)), batches()):
        gains = blurry.mean(axis=(0, 1)) / plain.mean(axis=(0, 1))
        assert (gains > 0.6).all() and (gains < 1.22).all()
        np.testing.assert_allclose(blurry, np.minimum(gains * plain, 255), atol=1.2)
        np.testing.assert_allclose(sharp, np.minimum(gains * (255 - plain), 255), atol=1.6)
        changed += (np.abs(gains - 1) > 0.01).any()
    assert changed > 20


class Patches(Squares):
    """Pairs of patches of every value."""

    def read(self, index):
        return np.random.default_rng(int(index)).integers(0, 256, (24, 24, 6), np.uint8)


def varied(source, epochs=60, pyramid="gaussian", **augmentation):
    """(blurry, sharp, both without the augmentation) of each sample, float64 [24, 24, 3] in [0, 255]."""
    settings = {"epochs": epochs, "batch_size": 1, "pyramid": pyramid}
    streams = [stream_of(source, 1, Augmentation(**kind), **settings) for kind in (augmentation, {})]
    for batch, plain in zip(*(stream.batches() for stream in streams)):
        yield tuple(255 * (np.asarray(side[0])[0].astype(np.float64) + 0.5) for side in (*batch, *plain))


def test_channels_change_places_in_both_images_alike():
    seen = set()
    for blurry, sharp, plain_blurry, plain_sharp in varied(Patches(), channel_order=True):
        (order,) = [order for order in permutations(range(3)) if np.array_equal(blurry, plain_blurry[..., order])]
        np.testing.assert_array_equal(sharp, plain_sharp[..., order])
        seen.add(order)
    assert len(seen) == 6


def test_saturation_is_multiplied_in_hsv_in_a_share_of_the_patches():
    factors = []
    for blurry, sharp, plain_blurry, plain_sharp in varied(Patches(), saturation=0.5):
        if np.array_equal(blurry, plain_blurry):
            np.testing.assert_array_equal(sharp, plain_sharp)
            continue
        dull = rgb2hsv(blurry / 255)[..., 1] / rgb2hsv(plain_blurry / 255)[..., 1]
        factors.append(np.median(dull[rgb2hsv(blurry / 255)[..., 1] < 0.99]))
        for image, plain in ((blurry, plain_blurry), (sharp, plain_sharp)):
            hsv = rgb2hsv(plain / 255) * [1, factors[-1], 1]
            np.testing.assert_allclose(image, 255 * hsv2rgb(hsv).clip(0, 1), atol=2e-3)
    assert 65 < len(factors) < 115 and 0.5 <= min(factors) < 0.55 and 1.45 < max(factors) <= 1.5


def test_noise_is_normal_with_a_normal_deviation_and_in_the_blurry_image_only():
    deviations, shares = [], []
    for blurry, sharp, plain_blurry, plain_sharp in varied(Squares(), noise=2):  # far from 0 and 255
        np.testing.assert_array_equal(sharp, plain_sharp)
        noise = blurry - plain_blurry
        deviations.append(noise.std())
        shares.append((np.abs(noise) < noise.std()).mean())
        assert abs(noise.mean()) < 0.2 * noise.std()
    assert np.mean(np.square(deviations)) == pytest.approx(4, rel=0.3)
    assert np.mean(np.array(deviations) < 2) == pytest.approx(0.683, abs=0.1)  # half-normal
    assert np.mean(shares) == pytest.approx(0.683, abs=0.01)
    assert any((blurry == 0).any() and (blurry == 255).any() for blurry, *_ in varied(Patches(), noise=2))  # clipped


def test_a_share_of_the_patches_has_the_sharp_image_as_its_input():
    chosen = 0
    for blurry, sharp, plain_blurry, plain_sharp in varied(Patches(), sharp_input=0.25):
        np.testing.assert_array_equal(sharp, plain_sharp)
        chosen += np.array_equal(blurry, sharp)
        assert np.array_equal(blurry, sharp) or np.array_equal(blurry, plain_blurry)
    assert 25 < chosen < 65  # of 180


def test_matlabs_pyramid_is_made_of_whole_values():
    for blurry, sharp, *_ in varied(Patches(), 2, "matlab_bicubic", saturation=1, noise=2):
        for image in (blurry, sharp):
            np.testing.assert_allclose(image, image.round(), atol=1e-4)


def test_augmentations_that_are_off_change_no_bit():
    for one, other in zip(batches(Augmentation()), batches()):
        np.testing.assert_array_equal(one, other)


def test_augmentations_are_a_function_of_the_sample():
    all_of_them = Augmentation(True, True, sharp_input=0.5, channel_order=True, saturation=0.5, noise=2)
    whole, rest = batches(all_of_them), batches(all_of_them, start=7, parallel_calls=1)
    np.testing.assert_array_equal(whole[7:], rest)


def test_weights_as_in_torch_lie_within_their_bounds_and_keep_deep_networks_small(random):
    settings = {"levels": 1, "blocks": 19, "filters": 8, "kernel_size": 5}
    network = begun(Training(initialization="torch"), random, build_model, **settings)
    for layer in network.layers:
        for weight in layer.get_weights():
            bound = (25 * (3 if layer.name == "level1_head" else 8)) ** -0.5
            assert 0.5 * bound < np.abs(weight).max() <= bound and (weight.size < 100 or abs(weight.mean()) < bound / 8)
    again = begun(Training(initialization="torch"), np.random.default_rng(0), build_model, **settings)
    for weight, other in zip(network.get_weights(), again.get_weights()):
        np.testing.assert_array_equal(weight, other)
    image = random.random((1, 32, 32, 3), np.float32) - 0.5
    assert np.abs(tf.nest.flatten(network(image))[0]).max() < 1
    skipping = begun(Training(initialization="torch"), random, build_model, **{**settings, "global_skip": True})
    np.testing.assert_array_equal(tf.nest.flatten(skipping(image))[0], image)
