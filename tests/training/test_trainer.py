import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import Decay, Training
from deepdeblur_tf.data.pipeline import make_datasets
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.images.opening import ImageError
from deepdeblur_tf.losses import multiscale_loss
from deepdeblur_tf.model import build_model
from deepdeblur_tf.training.optimizer import learning_rate_schedule, make_optimizer
from deepdeblur_tf.training.trainer import Trainer


def batch(random, size=16, number=2):
    def side():
        return tuple(
            random.uniform(-0.5, 0.5, (number, size // factor, size // factor, 3)).astype(np.float32)
            for factor in (1, 2, 4)
        )

    return side(), side()


def small_trainer(optimizer, **settings):
    trainer = Trainer(build_model(**{"blocks": 1, "filters": 4, "kernel_size": 3, **settings}))
    trainer.compile(optimizer)
    return trainer


def test_loss_is_the_mean_squared_error_of_each_level(random):
    restored, sharp = batch(random)
    expected = [np.mean((np.float64(r) - s) ** 2) for r, s in zip(restored, sharp)]
    np.testing.assert_allclose(multiscale_loss(sharp, restored), expected, rtol=1e-6)


@pytest.mark.slow
def test_a_loss_may_be_any_function_of_the_differences(random):
    restored, sharp = batch(random)
    expected = [np.mean(np.abs(np.float64(r) - s) ** 3) for r, s in zip(restored, sharp)]
    cubed = multiscale_loss(sharp, restored, lambda difference: tf.abs(difference) ** 3)
    np.testing.assert_allclose(cubed, expected, rtol=1e-5)
    network = build_model(blocks=1, filters=4, kernel_size=3)
    trainer = Trainer(network, loss=lambda difference: tf.abs(difference) ** 3)
    trainer.compile("adam")
    losses = multiscale_loss(sharp, network(restored), lambda difference: tf.abs(difference) ** 3)
    history = trainer.fit(restored, sharp, batch_size=2, shuffle=False, verbose=0).history
    assert history["loss"] == pytest.approx([float(tf.add_n(losses))], rel=1e-4)
    with pytest.raises(
        UserError, match="loss: received 'cubed'; allowed: one of mse, l1, charbonnier, log_mse, or a function"
    ):
        Trainer(network, loss="cubed")


def test_mirrored_margins_do_not_count(random):
    restored, sharp = batch(random)
    cut = (sharp[0][:, :13, :14], *sharp[1:])
    expected = np.mean((np.float64(restored[0][:, :13, :14]) - cut[0]) ** 2)
    assert float(multiscale_loss(cut, restored)[0]) == pytest.approx(expected, rel=1e-6)


def test_schedule_halves_after_the_reports_epochs():
    steps = 1051
    schedule = learning_rate_schedule(Training(), steps)
    for epoch, rate in [(0, 5e-5), (399, 5e-5), (400, 2.5e-5), (499, 2.5e-5), (500, 1.25e-5), (899, 5e-5 / 2**5)]:
        for step in (epoch * steps, epoch * steps + steps - 1):
            assert float(schedule(step)) == pytest.approx(rate, rel=1e-6), (epoch, step)
    assert float(schedule(900 * steps)) == pytest.approx(5e-5 / 2**6, rel=1e-6)


def test_a_schedule_may_be_constant():
    schedule = learning_rate_schedule(Training(decay=Decay(epochs=[])), 10)
    assert [float(schedule(step)) for step in (0, 1, 12345)] == pytest.approx([5e-5] * 3)


@pytest.mark.parametrize("clip", [0.5, 0.001])
def test_a_step_is_adam_on_gradients_clipped_by_value(random, clip):
    # Adam (Kingma and Ba 2015, algorithm 1) in NumPy with Keras's defaults, two steps, against `fit`.
    blurry, sharp = batch(random)
    trainer = small_trainer(make_optimizer(Training(learning_rate=1e-2, clip=clip), 10))
    weights = [np.float64(w) for w in trainer.network.get_weights()]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    for step in (1, 2):
        with tf.GradientTape() as tape:
            loss = tf.add_n(multiscale_loss(sharp, trainer.network(blurry)))
        gradients = [np.float64(g) for g in tape.gradient(loss, trainer.network.trainable_variables)]
        assert max(np.abs(g).max() for g in gradients) > 0.001  # or the clipping is not tested
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        for i, gradient in enumerate(gradients):
            gradient = np.clip(gradient, -clip, clip)
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            rate = 1e-2 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            weights[i] -= rate * first[i] / (np.sqrt(second[i]) + 1e-7)
        logs = trainer.fit(tf.data.Dataset.from_tensors((blurry, sharp)), verbose=0, shuffle=False).history
        assert logs["loss"][0] == pytest.approx(float(loss), rel=1e-5)
        assert logs["gradient_norm"][0] == pytest.approx(norm, rel=1e-4)
        for actual, expected in zip(trainer.network.get_weights(), weights):
            np.testing.assert_allclose(actual, expected, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_mixed_precision_steps_like_float32(random):
    # Loss scaling must not change the size of the step or what is clipped.
    data = tf.data.Dataset.from_tensors(batch(random))
    norms, changes = [], []
    for policy in ("float32", "mixed_float16"):
        tf.keras.mixed_precision.set_global_policy(policy)
        try:
            tf.keras.utils.set_random_seed(1)
            optimizer = tf.keras.optimizers.SGD(0.1, clipvalue=0.05)
            if policy == "mixed_float16":
                optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
            trainer = small_trainer(optimizer)
            before = trainer.network.get_weights()
            norms.append(trainer.fit(data, verbose=0, shuffle=False).history["gradient_norm"][0])
            changes.append([a - b for a, b in zip(trainer.network.get_weights(), before)])
        finally:
            tf.keras.mixed_precision.set_global_policy("float32")
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
    for plain, mixed in zip(*changes):
        np.testing.assert_allclose(mixed, plain, atol=2e-4)
    assert max(np.abs(change).max() for change in changes[1]) == pytest.approx(0.005, rel=1e-3)  # rate * clip


def test_fit_logs_epoch_means_and_callbacks_see_every_step(random):
    elements = [batch(random) for _ in range(3)]
    data = tf.data.Dataset.from_generator(
        lambda: iter(elements),
        output_signature=tuple(tuple(tf.TensorSpec(level.shape, tf.float32) for level in side) for side in elements[0]),
    )
    seen = []
    watch = tf.keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(logs["loss"]))
    trainer = small_trainer(tf.keras.optimizers.SGD(0.0))
    history = trainer.fit(data, verbose=0, shuffle=False, callbacks=[watch], validation_data=data).history
    expected = [float(tf.add_n(multiscale_loss(sharp, trainer.network(blurry)))) for blurry, sharp in elements]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)
    assert history["loss"][0] == pytest.approx(np.mean(expected), rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(np.mean(expected), rel=1e-5)
    assert set(history) == {
        *(f"{prefix}{name}" for prefix in ("", "val_") for name in ("loss", "loss_1", "loss_2", "loss_3", "psnr")),
        "gradient_norm",
        "skipped",
    }


def test_training_lowers_the_loss(small_experiment):
    tf.keras.utils.set_random_seed(0)
    train, _ = make_datasets(small_experiment(**{"training.epochs": 20, "data.cache": "memory", "model.levels": 1}))
    trainer = small_trainer(tf.keras.optimizers.Adam(1e-2), levels=1)
    losses = trainer.fit(train, epochs=20, steps_per_epoch=3, verbose=0, shuffle=False).history["loss"]
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


@pytest.mark.parametrize("levels", [1, 2])
def test_fewer_levels_are_trained_and_measured_as_three(random, levels):
    # Keras hands a single output over bare, which once made a one-level network learn from its first image only.
    blurry, sharp = (side[:levels] for side in batch(random))
    trainer = small_trainer("adam", levels=levels)
    restored = trainer.network(blurry)
    restored = [restored] if levels == 1 and tf.is_tensor(restored) else restored
    expected = sum(np.mean((np.float64(r) - s) ** 2) for r, s in zip(restored, sharp))
    data = tf.data.Dataset.from_tensors((blurry, sharp))
    assert trainer.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)
    assert trainer.fit(data, shuffle=False, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])  # 1e30: its loss and its gradients are infinite
def test_a_batch_that_is_not_finite_changes_no_weight_and_no_mean(random, bad):
    good, spoilt = batch(random), batch(random)
    spoilt[0][0][0, 3, 3, 1] = bad
    trainer = small_trainer("adam")
    trainer.fit(tf.data.Dataset.from_tensors(good), shuffle=False, verbose=0)
    weights = [weight.copy() for weight in trainer.network.get_weights()]
    trainer.fit(tf.data.Dataset.from_tensors(spoilt), shuffle=False, verbose=0)
    for before, after in zip(weights, trainer.network.get_weights()):
        np.testing.assert_array_equal(before, after)
    assert int(trainer.optimizer.iterations) == 2  # it counts as a step, for the next batch is the next step's

    loss = float(tf.add_n(multiscale_loss(good[1], trainer.network(good[0]))))
    both = tf.data.Dataset.from_generator(
        lambda: iter([spoilt, good]), output_signature=tf.nest.map_structure(tf.type_spec_from_value, good)
    )
    history = trainer.fit(both, steps_per_epoch=2, shuffle=False, verbose=0).history
    assert history["skipped"] == [0.5] and history["loss"][0] == pytest.approx(loss, rel=1e-5)


def test_fit_raises_the_error_of_an_image_itself(gopro, small_experiment):
    path = gopro / "train/GOPR0372_07_00/sharp/000001.png"
    path.write_bytes(path.read_bytes()[:-500])
    train, _ = make_datasets(small_experiment(**{"data.root": str(gopro), "model.levels": 1}))
    with pytest.raises(ImageError, match=f"^{path}: does not decode"):
        small_trainer("adam", levels=1).fit(train, verbose=0, shuffle=False)
