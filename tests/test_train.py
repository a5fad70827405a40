"""The command, run for real: its output, its folder, and every way of stopping it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf.compat import tf
from deepdeblur_tf.model import build_model
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.runs.networks import load_model
from deepdeblur_tf.train import main
from deepdeblur_tf.training.callbacks import Checkpoints, StopOnNonFiniteLoss
from deepdeblur_tf.training.trainer import Trainer

from .conftest import ROOT, SMALL_FLAGS, read_csv
from .faults import FLAGS, assert_equal_runs, command, kill_again_and_again, last_step, load_events, start

LOSSES = ["loss", "loss_1", "loss_2", "loss_3", "psnr"]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def finished(run, capfd):
    assert main(["--output", str(run), *SMALL_FLAGS]) == 0
    return run, capfd.readouterr()


def test_a_run_from_start_to_finish(finished, capfd):
    run, output = finished
    # What is printed.
    assert "device: " in output.out and "pixel_shuffle" in output.out
    last_line = output.out.strip().splitlines()[-1]
    assert last_line.startswith("PSNR, mean of 2 validation images: ") and "dB blurry" in last_line
    assert "loss" in output.err and "psnr" in output.err  # the progress bar
    for noise in ("Warning", "oneDNN", "CUDA", "TFA", "absl"):
        assert noise not in output.err + output.out
    # What is left behind.
    assert {path.name for path in run.iterdir() if path.name != ".lock"} == {
        *("config.yaml", "checkpoints", "logs", "history.csv", "model.keras", "provenance.json", "samples")
    }
    assert {path.name for path in (run / "samples").iterdir()} == {"epoch_0001.png", "epoch_0002.png"}
    assert iio.imread(run / "samples" / "epoch_0002.png").shape == (256 + 24 + 8, 3 * 256 + 8, 3)
    assert [layer.name for layer in load_model(run).layers][0].startswith("blurry_")
    assert load_model(run / "checkpoints" / "best.keras").count_params() == load_model(run).count_params()
    # One row an epoch.
    rows = read_csv(run / "history.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([1e-3, 5e-4])
    assert f"{float(rows[-1]['val_psnr']):.2f} dB restored" in last_line
    assert float(rows[0]["loss"]) == pytest.approx(
        sum(float(rows[0][f"loss_{level}"]) for level in (1, 2, 3)), rel=1e-5
    )
    # Once more: it says so and changes nothing.
    before = contents(run)
    for flags in ([], ["--data.cache", "none"]):
        assert main(["--output", str(run), *SMALL_FLAGS, *flags]) == 0
        assert "is finished; nothing to do" in capfd.readouterr().out
        assert contents(run) == before


def steps_of(events, name):
    return [event.step for event in events.Tensors(name)]


def test_tensorboard_holds_every_iteration_and_the_samples(finished):
    run, _ = finished
    events = load_events(run)
    tags = events.Tags()["tensors"]
    others = ("gradient_norm", "skipped", "learning_rate", "steps_per_second")
    every_step = [f"train/{name}" for name in (*LOSSES, *others)]
    for name in every_step:
        assert steps_of(events, name) == [1, 2, 3, 4, 5, 6], name
    for name in LOSSES:
        assert [event.step for event in events.Tensors(f"validation/{name}")] == [3, 6]
    assert [event.step for event in events.Tensors("samples/validation/000000")] == [3, 6]
    assert set(tags) == {*every_step, *(f"validation/{name}" for name in LOSSES), "samples/validation/000000"}
    losses = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("train/loss")]
    rows = read_csv(run / "history.csv")
    assert [np.mean(losses[:3]), np.mean(losses[3:])] == pytest.approx([float(row["loss"]) for row in rows], rel=1e-5)


def test_a_folder_with_another_experiment_is_refused(finished, capfd):
    run, _ = finished
    before = contents(run)
    assert main(["--output", str(run), *SMALL_FLAGS, "--training.clip", "0.25", "--seed", "1"]) == 2
    error = capfd.readouterr().err
    assert "training.clip: 0.5 / 0.25" in error and "seed: 0 / 1" in error and "--output" in error
    assert contents(run) == before


def stop_in_the_second_epoch(monkeypatch, run, flags):
    def send(callback, *_, **__):
        if int(callback.model.optimizer.iterations) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(StopOnNonFiniteLoss, "on_train_batch_end", send)
        assert main(["--output", str(run), *flags]) == 130


def test_a_run_says_what_it_is_and_is_not_continued_on_changed_data(run, gopro, monkeypatch, capfd):
    flags = [*SMALL_FLAGS, "--data.root", str(gopro)]
    stop_in_the_second_epoch(monkeypatch, run, flags)
    (gopro / "train/GOPR0374_11_03/blur/000009.png").write_bytes(
        (gopro / "train/GOPR0374_11_03/blur/000001.png").read_bytes()
    )
    (gopro / "train/GOPR0374_11_03/sharp/000009.png").write_bytes(
        (gopro / "train/GOPR0374_11_03/sharp/000001.png").read_bytes()
    )
    before = contents(run)
    capfd.readouterr()
    assert main(["--output", str(run), *flags]) == 2
    error = capfd.readouterr().err
    assert re.search(r"train data: 4 pairs, \w+ / 5 pairs, \w+", error) and "--force" in error
    assert contents(run) == before
    assert main(["--output", str(run), *flags, "--force"]) == 0
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["data"]["train"]["pairs"] == 5 and provenance["data"]["validation"]["pairs"] == 2
    first, second = provenance["processes"]
    assert first["after_step"] == 0 and second["after_step"] == 3 and second["tensorflow"] == tf.__version__
    assert re.fullmatch(r"[0-9a-f]{40}\+?", first["git_commit"]) and first["device"] and first["command"]


def test_a_folder_with_other_files_is_refused(run, capfd):
    run.mkdir()
    (run / "thesis.txt").write_text("mine")
    assert main(["--output", str(run), *SMALL_FLAGS]) == 2
    assert "is no run folder and not empty" in capfd.readouterr().err
    assert [path.name for path in run.iterdir()] == ["thesis.txt"]


EXPLODING = ["--training.learning_rate", "1e20", "--training.checkpoint_minutes", "1e-9"]


def test_a_loss_that_is_not_finite_stops_the_run(run, capfd):
    assert main(["--output", str(run), *SMALL_FLAGS, *EXPLODING]) == 1
    error = capfd.readouterr().err
    found = re.search(r"the (loss|gradient norm) became (nan|inf) at step ([123]), .* images: (.*)\. The same", error)
    assert found and "--training.on_nan skip" in error and "Traceback" not in error
    # It names the two pairs that a batch has, of the six there are.
    assert len(set(found[4].split(", "))) == 2 and set(found[4].split(", ")) <= {f"train/{i:06d}" for i in range(6)}
    # It stopped there and then: no epoch was finished, and no spoilt network is passed off as a result.
    assert last_step(run) == int(found[3]) - 1
    assert not (run / "history.csv").exists()
    assert not (run / "model.keras").exists() and not (run / "checkpoints" / "best.keras").exists()


def test_bad_batches_are_skipped_and_counted_on_request(run, capfd):
    assert main(["--output", str(run), *SMALL_FLAGS, *EXPLODING, "--training.on_nan", "skip"]) == 0
    skipped = sum(int(row["skipped"]) for row in read_csv(run / "history.csv"))
    assert skipped >= 3 and f"left out: {skipped} batches" in capfd.readouterr().out
    assert all(np.isfinite(weight).all() for weight in load_model(run).get_weights())


def test_a_file_that_stops_decoding_is_named_without_a_traceback(run, gopro, capfd):
    path = gopro / "train/GOPR0374_11_03/sharp/000002.png"
    path.write_bytes(path.read_bytes()[:-500])  # the header is whole, so the check at the start passes
    assert main(["--output", str(run), *SMALL_FLAGS, "--data.root", str(gopro)]) == 2
    error = capfd.readouterr().err
    assert f"error: {path}: does not decode" in error and "Traceback" not in error


def test_files_that_do_not_decode_are_skipped_and_listed_on_request(run, gopro, capfd):
    cut = [gopro / "train/GOPR0374_11_03/sharp/000002.png", gopro / "train/GOPR0372_07_00/blur/000001.png"]
    for path in cut:
        path.write_bytes(path.read_bytes()[:-500])
    flags = [*SMALL_FLAGS, "--data.root", str(gopro), "--data.on_error", "skip"]
    assert main(["--output", str(run), *flags]) == 0
    output = capfd.readouterr().out
    assert "skipped, for they cannot be read: 2 training images" in output
    for path in cut:
        assert sum(f"{path}: does not decode" in line for line in output.splitlines()) == 1
    assert len(read_csv(run / "history.csv")) == 2


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_data_set_that_vanishes_is_named(run, gopro, monkeypatch, capfd, on_error):
    def vanish(*_, **__):
        shutil.rmtree(gopro / "train", ignore_errors=True)

    flags = [
        *SMALL_FLAGS,
        "--training.epochs=50",
        "--data.cache=none",
        "--data.root",
        str(gopro),
        "--data.on_error",
        on_error,
    ]
    monkeypatch.setattr(StopOnNonFiniteLoss, "on_train_batch_end", vanish)
    assert main(["--output", str(run), *flags]) == 2
    error = capfd.readouterr().err
    assert "no such file" in error and str(gopro / "train") in error and "Traceback" not in error
    assert ("not one of the 4 training pairs can be read" in error) == (on_error == "skip")


def test_a_deterministic_run_is_the_same_again(tmp_path):
    script = "from deepdeblur_tf.train import main; import sys; sys.exit(main(sys.argv[1:]))"
    for name in ("one", "other"):
        flags = ["--output", str(tmp_path / name), *SMALL_FLAGS, "--training.deterministic", "true"]
        subprocess.run([sys.executable, "-c", script, *flags], cwd=ROOT, check=True, capture_output=True)
    assert_equal_runs(tmp_path / "one", tmp_path / "other")


def test_more_patches_a_step_than_pairs_are_refused_and_leave_nothing(run, capfd):
    assert main(["--output", str(run), *SMALL_FLAGS, "--training.batch_size", "7"]) == 2
    assert "training.batch_size: received 7" in capfd.readouterr().err
    assert not run.exists()


def test_a_full_memory_is_named(run):
    # A kernel of 1.4 TB, for a process that may have 100 GB of addresses: TensorFlow's allocator fails for real.
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (10**11, 10**11))\n"
    limit += "from deepdeblur_tf.train import main; sys.exit(main(sys.argv[1:]))"
    flags = ["--output", str(run), *SMALL_FLAGS, "--model.filters=200000", "--model.levels=1"]
    result = subprocess.run(
        [sys.executable, "-c", limit, *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "error: the memory is full. Lower training.batch_size" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_epoch_may_have_one_step(run):
    assert main(["--output", str(run), *SMALL_FLAGS, "--training.batch_size", "6"]) == 0
    assert [row["step"] for row in read_csv(run / "history.csv")] == ["1", "2"]
    assert (run / "checkpoints" / "best.keras").is_file()


def test_the_data_found_is_printed_at_the_start(run, gopro, capfd):
    assert main(["--output", str(run), *SMALL_FLAGS, "--data.root", str(gopro)]) == 0
    output = capfd.readouterr().out
    assert "train: 4 pairs in 2 scenes (gopro layout, blur)" in output
    assert "GOPR0374_11_03: 2 of 48 pairs" in output and "validation: 2 pairs in 1 scene" in output


def test_pairs_without_a_validation_set_train_too(run, write_pairs, capfd):
    root = write_pairs([("input", "target")])
    assert main(["--output", str(run), *SMALL_FLAGS, "--data.root", str(root)]) == 0
    output = capfd.readouterr().out
    assert "no validation set" in output and "PSNR, mean" not in output
    assert (run / "model.keras").is_file() and not (run / "checkpoints" / "best.keras").exists()


# Interruptions: 3 epochs of 10 steps, stopped from outside.


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    subprocess.run(command(run), cwd=ROOT, check=True, capture_output=True)
    return run


@pytest.mark.parametrize(
    "name, moment",
    [
        ("SIGINT", lambda run: last_step(run) >= 12),  # in the middle of the second epoch
        ("SIGKILL", lambda run: last_step(run) >= 14),
    ],
)
def test_an_interrupted_run_continues_and_ends_like_an_uninterrupted_one(tmp_path, uninterrupted, name, moment):
    stopped = tmp_path / "stopped"
    process = start(stopped)
    wait_for(lambda: moment(stopped), process)
    process.send_signal(getattr(signal, name))
    _, error = process.communicate(timeout=120)
    if name == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, error
        assert "The same command continues the run" in error and "Traceback" not in error
    assert not (stopped / "model.keras").exists()

    process = start(stopped)
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "continuing after step" in output
    assert_equal_runs(stopped, uninterrupted)


@pytest.mark.parametrize("aim", [None, "checkpoint"])
def test_kills_at_random_moments_change_nothing(tmp_path, uninterrupted, aim):
    # The short form of `python -m tests.faults`.
    run = tmp_path / "killed"
    assert kill_again_and_again(run, kills=2, seed=1, aim=aim) == 2
    assert_equal_runs(run, uninterrupted)


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    run = tmp_path_factory.mktemp("killed") / "run"
    process = start(run)
    wait_for(lambda: last_step(run) >= 13, process)
    process.kill()
    process.communicate()
    return run


@pytest.fixture
def stopped(tmp_path, killed):
    """A run killed in its second epoch."""
    shutil.copytree(killed, tmp_path / "stopped")
    return tmp_path / "stopped"


@pytest.mark.parametrize("damage", ["flipped bit", "truncated", "missing", "no hashes", "empty hashes"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(stopped, uninterrupted, capfd, damage):
    folder = stopped / "checkpoints" / "last"
    newest = folder / f"step-{last_step(stopped)}"
    data, hashes = (newest.with_name(newest.name + suffix) for suffix in (".data-00000-of-00001", ".sha256"))
    {
        "flipped bit": lambda: flip_a_bit(data),
        "truncated": lambda: data.write_bytes(data.read_bytes()[:-1]),
        "missing": lambda: data.unlink(),
        "no hashes": lambda: hashes.unlink(),
        "empty hashes": lambda: hashes.write_text(""),
    }[damage]()
    assert main(["--output", str(stopped), *FLAGS]) == 0
    output = capfd.readouterr().out
    assert f"left out a checkpoint: {newest}" in output
    assert f"continuing after step {int(newest.name.split('-')[1]) - 1} of 30" in output
    assert_equal_runs(stopped, uninterrupted)


def test_a_damaged_checkpoint_takes_no_sound_ones_place(stopped, uninterrupted, monkeypatch):
    flip_a_bit(stopped / "checkpoints" / "last" / f"step-{last_step(stopped)}.data-00000-of-00001")
    flags = [*FLAGS, "--training.keep_checkpoints=1"]

    def stop_soon(callback, *_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(StopOnNonFiniteLoss, "on_train_batch_end", stop_soon)
        assert main(["--output", str(stopped), *flags]) == 130
    assert len(list((stopped / "checkpoints" / "last").glob("*.sha256"))) == 1
    assert main(["--output", str(stopped), *flags]) == 0
    assert_equal_runs(stopped, uninterrupted)


def test_where_all_checkpoints_are_damaged_nothing_is_trained_over(stopped, capfd):
    for path in (stopped / "checkpoints" / "last").glob("*.index"):
        flip_a_bit(path)
    before = contents(stopped)
    assert main(["--output", str(stopped), *FLAGS]) == 2
    error = capfd.readouterr().err
    assert "no checkpoint is sound" in error and "to begin anew" in error and "Traceback" not in error
    assert contents(stopped) == before


def test_a_second_training_in_one_folder_is_refused(tmp_path, uninterrupted, capfd):
    run = tmp_path / "run"
    process = start(run)
    wait_for(lambda: last_step(run) >= 2, process)
    before = (run / "config.yaml").read_bytes()
    for flags in (FLAGS, [*FLAGS, "--training.clip=0.25"]):
        assert main(["--output", str(run), *flags]) == 2
    assert "another training" in capfd.readouterr().err
    assert (run / "config.yaml").read_bytes() == before
    assert process.wait(timeout=120) == 0
    assert_equal_runs(run, uninterrupted)


@pytest.mark.parametrize(
    "number, moment",
    [
        (signal.SIGINT, "step 9"),
        (signal.SIGTERM, "step 10"),  # the epoch's last
        (signal.SIGINT, "step 11"),
        (signal.SIGTERM, "validation"),
    ],
)
def test_a_signal_at_any_moment_loses_no_step_and_no_row(tmp_path, uninterrupted, monkeypatch, capfd, number, moment):
    def send(*_, **__):
        os.kill(os.getpid(), number)

    def after_step(callback, *_, **__):
        if int(callback.model.optimizer.iterations) == int(moment.split()[1]):
            send()

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        if moment == "validation":
            patch.setattr(StopOnNonFiniteLoss, "on_test_begin", send)
        else:
            patch.setattr(StopOnNonFiniteLoss, "on_train_batch_end", after_step)
        assert main(["--output", str(run), *FLAGS]) == 130
    assert "The same command continues the run" in capfd.readouterr().err
    assert main(["--output", str(run), *FLAGS]) == 0
    assert_equal_runs(run, uninterrupted)


def test_the_best_score_survives_a_restart(tmp_path):
    def restarted():
        trainer = Trainer(build_model(blocks=1, filters=2, kernel_size=3))
        trainer.compile(tf.keras.optimizers.Adam())
        checkpoints = Checkpoints(
            Run(tmp_path), trainer, lambda step: 1e-3, steps_per_epoch=1, minutes=1, keep=3, validated=[1, 2, 3]
        )
        checkpoints.set_model(trainer)
        checkpoints.restore()
        return checkpoints

    best = tmp_path / "checkpoints" / "best.keras"
    restarted().on_epoch_end(0, {"val_psnr": 30.0, "skipped": 0.0})
    first = best.stat().st_mtime_ns
    restarted().on_epoch_end(1, {"val_psnr": 29.0, "skipped": 0.0})
    assert best.stat().st_mtime_ns == first
    restarted().on_epoch_end(2, {"val_psnr": 31.0, "skipped": 0.0})
    assert best.stat().st_mtime_ns > first


# What must answer at once.


@pytest.mark.parametrize(
    "code",
    [
        "import deepdeblur_tf; dir(deepdeblur_tf)",
        "from deepdeblur_tf.train import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from deepdeblur_tf.train import main\nassert main(['--data.layuot', 'gopro']) == 2",
        "from deepdeblur_tf.train import main\nassert main(['--data.root', '/nowhere']) == 2",
    ],
    ids=["import", "help", "wrong key", "wrong folder"],
)
def test_answers_without_loading_tensorflow(code):
    check = "\nimport sys\nassert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules), sys.modules.keys()"
    subprocess.run(
        [sys.executable, "-c", code + check], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_help_explains_every_setting():
    result = subprocess.run(
        [sys.executable, "-m", "deepdeblur_tf.train", "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    text = " ".join(result.stdout.split())
    for words in ("--data.root", "or `scenes` for the embedded scenes", "--training.decay.epochs", "--output RUN"):
        assert words in text


def test_package_names_are_found_and_documented():
    import deepdeblur_tf

    for name in deepdeblur_tf.__all__:
        assert getattr(deepdeblur_tf, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'restroe'"):
        deepdeblur_tf.restroe  # noqa: B018
