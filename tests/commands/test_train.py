"""The command: what it prints, what it leaves behind, and how it answers what goes wrong."""

import json
import os
import re
import shutil
import subprocess
import sys

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf.compat import tf
from deepdeblur_tf.networks.archive import load_model, save_network
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.train import main
from deepdeblur_tf.training import loop
from deepdeblur_tf.training.stops import StopOnNonFiniteLoss
from tests.helpers import (
    ROOT,
    SMALL_FLAGS,
    assert_equal_runs,
    hashes,
    last_step,
    load_events,
    read_csv,
    send_signal,
    terminal,
)

# One level trains in a third of the time of three.
FLAGS = [*SMALL_FLAGS, "--model.levels=1"]
LOSSES = ["loss", "loss_1", "psnr"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    assert main(["--output", str(run), *FLAGS]) == 0
    return run


@pytest.mark.slow
def test_a_run_whose_history_is_removed_at_its_end_is_finished(run, capfd, monkeypatch):
    def save(network, path):
        (run / "history.csv").unlink()
        save_network(network, path)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_network", save)
        assert main(["--output", str(run), *FLAGS]) == 0
    out = capfd.readouterr().out
    assert f"network: {run / 'model.keras'}" in out and "PSNR, mean of" not in out


@pytest.mark.slow
def test_what_a_run_prints_where_there_is_no_terminal(run, capfd):
    assert main(["--output", str(run), *FLAGS]) == 0
    output = capfd.readouterr()
    lines = output.out.splitlines()
    assert lines[0] == f"run: {run}" and lines[1].startswith("device: ") and "pixel_shuffle" in lines[2]
    assert re.fullmatch(r"PSNR, mean of 2 validation images: [\d.]+ dB blurry, [\d.]+ dB restored \(.*\)", lines[-1])
    assert f"{float(read_csv(run / 'history.csv')[-1]['val_psnr']):.2f} dB restored" in lines[-1]
    first, second = output.err.splitlines()
    values = r"loss [\d.]+, psnr [\d.]+, val_psnr [\d.]+"
    assert re.fullmatch(rf"epoch 1/2: {values}, \d\d:\d\d left", first)
    assert re.fullmatch(rf"epoch 2/2: {values}, 00:00 left", second)
    assert "\r" not in output.err + output.out


@pytest.mark.slow
def test_a_terminal_shows_bars_and_nothing_of_the_libraries(run):
    command = [sys.executable, "-m", "deepdeblur_tf.train", "--output", str(run), *SMALL_FLAGS]
    with terminal() as (writer, shown):
        result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, text=True, check=True)
    bars = b"".join(shown).decode()
    assert "\r" in bars and "1/3" in bars and "2/2" in bars and "loss" in bars and "psnr" in bars
    assert not re.search("Warning|oneDNN|CUDA|TFA|absl", bars + result.stdout)
    rows = read_csv(run / "history.csv")
    assert float(rows[0]["loss"]) == pytest.approx(
        sum(float(rows[0][f"loss_{level}"]) for level in (1, 2, 3)), rel=1e-5
    )


def test_what_a_run_leaves_behind(finished):
    assert {path.name for path in finished.iterdir() if path.name != ".lock"} == {
        *("config.yaml", "checkpoints", "logs", "history.csv", "model.keras", "provenance.json", "samples")
    }
    assert {path.name for path in (finished / "samples").iterdir()} == {"epoch_0001.png", "epoch_0002.png"}
    assert iio.imread(finished / "samples" / "epoch_0002.png").shape == (256 + 24 + 8, 3 * 256 + 8, 3)
    assert load_model(finished / "checkpoints" / "best.keras").count_params() == load_model(finished).count_params()
    rows = read_csv(finished / "history.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([1e-3, 5e-4])
    assert all(float(row["seconds"]) > 0 for row in rows)


def test_tensorboard_holds_every_iteration_and_the_samples(finished):
    events = load_events(finished)
    steps = {tag: [event.step for event in events.Tensors(tag)] for tag in events.Tags()["tensors"]}
    others = ("gradient_norm", "skipped", "learning_rate", "steps_per_second")
    assert steps == {
        **{f"train/{name}": [1, 2, 3, 4, 5, 6] for name in (*LOSSES, *others)},
        **{f"validation/{name}": [3, 6] for name in LOSSES},
        "samples/validation/000000": [3, 6],
    }
    losses = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("train/loss")]
    rows = read_csv(finished / "history.csv")
    assert [np.mean(losses[:3]), np.mean(losses[3:])] == pytest.approx([float(row["loss"]) for row in rows], rel=1e-5)


def test_a_finished_run_has_nothing_to_do(finished, capfd):
    before = hashes(finished)
    for flags in ([], ["--data.cache", "none"]):
        assert main(["--output", str(finished), *FLAGS, *flags]) == 0
        assert "is finished; nothing to do" in capfd.readouterr().out
        assert hashes(finished) == before


@pytest.mark.slow
def test_a_run_that_was_stopped_continues_and_ends_like_one_that_was_not(run, finished, monkeypatch, capfd):
    with send_signal(monkeypatch, after_step=4):
        assert main(["--output", str(run), *FLAGS]) == 130
    assert "stopped after step 4. The same command continues the run" in capfd.readouterr().err
    assert not (run / "model.keras").exists()
    assert main(["--output", str(run), *FLAGS]) == 0
    assert "continuing after step 4 of 6" in capfd.readouterr().out
    assert_equal_runs(run, finished)


@pytest.mark.slow
def test_a_network_is_trained_further(run, finished, tmp_path, monkeypatch, capfd):
    initial = tmp_path / "initial.keras"
    shutil.copy(finished / "model.keras", initial)
    flags = ["--output", str(run), *FLAGS, f"--training.pretrained={initial}", "--training.learning_rate=1e-9"]
    with send_signal(monkeypatch, after_step=4):
        assert main(flags) == 130
    assert f"begins with the weights of {initial}" in capfd.readouterr().out
    initial.unlink()  # needed no more
    assert main(flags) == 0
    assert "begins with" not in capfd.readouterr().out
    for weight, before in zip(load_model(run).get_weights(), load_model(finished).get_weights()):
        np.testing.assert_allclose(weight, before, atol=1e-7)


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--model.filters=5", "than this experiment's. What differs (there / here): model.filters: 4 / 5"),
        ("--model.pyramid=gaussian", "model.pyramid: matlab_bicubic / gaussian"),
        ("--training.pretrained=nowhere.keras", "nowhere.keras: no such file"),
    ],
)
def test_what_is_no_network_of_the_experiment_is_not_trained_further(run, finished, capfd, flag, message):
    assert main(["--output", str(run), *FLAGS, f"--training.pretrained={finished}", flag]) == 2
    assert message in capfd.readouterr().err
    assert not run.exists()


def test_a_folder_with_another_experiment_is_refused(finished, capfd):
    before = hashes(finished)
    assert main(["--output", str(finished), *FLAGS, "--training.clip", "0.25", "--seed", "1"]) == 2
    error = capfd.readouterr().err
    assert "training.clip: 0.5 / 0.25" in error and "seed: 0 / 1" in error and "--output" in error
    assert hashes(finished) == before


def test_a_folder_with_other_files_is_refused(run, capfd):
    run.mkdir()
    (run / "thesis.txt").write_text("mine")
    assert main(["--output", str(run), *FLAGS]) == 2
    assert "is no run folder and not empty" in capfd.readouterr().err
    assert [path.name for path in run.iterdir()] == ["thesis.txt"]


def test_a_second_training_in_one_folder_is_refused(run, small_experiment, capfd):
    with Run(run).claimed(small_experiment(), {}):
        before = (run / "config.yaml").read_bytes()
        for flags in (FLAGS, [*FLAGS, "--training.clip=0.25"]):
            assert main(["--output", str(run), *flags]) == 2
            assert "another training" in capfd.readouterr().err
        assert (run / "config.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_run_says_what_it_is_and_is_not_continued_on_changed_data(run, gopro, monkeypatch, capfd):
    flags = [*FLAGS, "--data.root", str(gopro)]
    with send_signal(monkeypatch, after_step=3):
        assert main(["--output", str(run), *flags]) == 130
    output = capfd.readouterr().out
    assert "train: 4 pairs in 2 scenes (gopro layout, blur)" in output
    assert "GOPR0374_11_03: 2 of 48 pairs" in output and "validation: 2 pairs in 1 scene" in output
    for kind in ("blur", "sharp"):
        scene = gopro / "train/GOPR0374_11_03" / kind
        shutil.copy(scene / "000001.png", scene / "000009.png")
    before = hashes(run)
    assert main(["--output", str(run), *flags]) == 2
    error = capfd.readouterr().err
    assert re.search(r"train data: 4 pairs, \w+ / 5 pairs, \w+", error) and "--force" in error
    assert hashes(run) == before
    assert main(["--output", str(run), *flags, "--force"]) == 0
    provenance = json.loads((run / "provenance.json").read_text())
    assert provenance["data"]["train"]["pairs"] == 5 and provenance["data"]["validation"]["pairs"] == 2
    first, second = provenance["processes"]
    assert first["after_step"] == 0 and second["after_step"] == 3 and second["tensorflow"] == tf.__version__
    assert re.fullmatch(r"[0-9a-f]{40}\+?", first["git_commit"]) and first["device"] and first["command"]


EXPLODING = ["--training.learning_rate", "1e20", "--training.checkpoint_minutes", "1e-9"]


def test_a_loss_that_is_not_finite_stops_the_run(run, capfd):
    assert main(["--output", str(run), *FLAGS, *EXPLODING]) == 1
    error = capfd.readouterr().err
    found = re.search(r"the (loss|gradient norm) became (nan|inf) at step ([123]), .* images: (.*)\. The same", error)
    assert found and "--training.on_nan skip" in error and "Traceback" not in error
    # It names the two pairs that a batch has, of the six there are.
    assert len(set(found[4].split(", "))) == 2 and set(found[4].split(", ")) <= {f"train/{i:06d}" for i in range(6)}
    # It stopped there and then: no epoch was finished, and no spoilt network is passed off as a result.
    assert last_step(run) == int(found[3]) - 1
    assert not (run / "history.csv").exists()
    assert not (run / "model.keras").exists() and not (run / "checkpoints" / "best.keras").exists()


@pytest.mark.slow
def test_bad_batches_are_skipped_and_counted_on_request(run, capfd):
    assert main(["--output", str(run), *FLAGS, *EXPLODING, "--training.on_nan", "skip"]) == 0
    skipped = sum(int(row["skipped"]) for row in read_csv(run / "history.csv"))
    assert skipped >= 3 and f"left out: {skipped} batches" in capfd.readouterr().out
    assert all(np.isfinite(weight).all() for weight in load_model(run).get_weights())


def cut(path):
    """Leaves the header whole, so that the check at the start passes."""
    path.write_bytes(path.read_bytes()[:-500])
    return path


@pytest.mark.parametrize("image", ["train/GOPR0374_11_03/sharp/000002.png", "test/GOPR0384_11_00/blur/000001.png"])
def test_a_file_that_stops_decoding_is_named_without_a_traceback(run, gopro, capfd, image):
    path = cut(gopro / image)
    assert main(["--output", str(run), *FLAGS, "--data.root", str(gopro)]) == 2
    error = capfd.readouterr().err
    assert f"error: {path}: does not decode" in error and "Traceback" not in error


def test_files_that_do_not_decode_are_skipped_and_listed_on_request(run, gopro, capfd):
    names = ("GOPR0374_11_03/sharp/000002.png", "GOPR0372_07_00/blur/000001.png")
    bad = [cut(gopro / "train" / name) for name in names]
    flags = [*FLAGS, "--data.root", str(gopro), "--data.on_error", "skip"]
    assert main(["--output", str(run), *flags]) == 0
    output = capfd.readouterr().out
    assert "skipped, for they cannot be read: 2 training images" in output
    for path in bad:
        assert sum(f"{path}: does not decode" in line for line in output.splitlines()) == 1
    assert len(read_csv(run / "history.csv")) == 2


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_files_that_cannot_be_used_are_skipped_too(run, gopro, tmp_path, capfd, cache):
    empty = gopro / "train" / "GOPR0374_11_03" / "sharp" / "000002.png"
    transparent = gopro / "train" / "GOPR0372_07_00" / "blur" / "000001.png"
    empty.write_bytes(b"")
    with Image.open(transparent) as image:
        image.convert("RGBA").save(transparent)
    small = gopro / "train" / "GOPR0372_07_00"
    for kind in ("blur", "sharp"):
        Image.new("RGB", (20, 9)).save(small / kind / "000002.png")
    flags = [f"--data.root={gopro}", f"--data.cache={cache}", f"--data.cache_folder={tmp_path / 'cache'}"]
    assert main(["--output", str(run), *FLAGS, *flags, "--data.on_error=skip"]) == 0
    output = capfd.readouterr().out
    assert "skipped, for they cannot be read: 3 training images" in output
    for words in (f"{empty}: not a readable image", f"{transparent}: has transparency", "000002: is 20x9, smaller"):
        assert sum(words in line for line in output.splitlines()) == 1
    assert main(["--output", str(tmp_path / "stopped"), *FLAGS, *flags]) == 2


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_links_to_files_that_are_not_there_are_skipped_too(run, gopro, tmp_path, capfd, cache):
    link = gopro / "train" / "GOPR0374_11_03" / "sharp" / "000002.png"
    link.unlink()
    link.symlink_to("nowhere")  # as data sets have them whose files are fetched one by one
    flags = [f"--data.root={gopro}", f"--data.cache={cache}", f"--data.cache_folder={tmp_path / 'cache'}"]
    assert main(["--output", str(run), *FLAGS, *flags, "--data.on_error=skip"]) == 0
    output = capfd.readouterr().out
    assert "skipped, for they cannot be read: 1 training images" in output and f"{link}: no such file" in output
    assert main(["--output", str(tmp_path / "stopped"), *FLAGS, *flags]) == 2
    assert f"error: {link}: no such file" in capfd.readouterr().err


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_data_set_that_vanishes_is_named(run, gopro, monkeypatch, capfd, on_error):
    def vanish(*_, **__):
        shutil.rmtree(gopro / "train", ignore_errors=True)

    flags = ["--training.epochs=50", "--data.cache=none", f"--data.root={gopro}", f"--data.on_error={on_error}"]
    monkeypatch.setattr(StopOnNonFiniteLoss, "on_train_batch_end", vanish)
    assert main(["--output", str(run), *FLAGS, *flags]) == 2
    error = capfd.readouterr().err
    assert "no such file" in error and str(gopro / "train") in error and "Traceback" not in error
    assert ("not one of the 4 training pairs can be read" in error) == (on_error == "skip")


@pytest.mark.slow
def test_a_deterministic_run_is_the_same_again(tmp_path):
    # In a process of its own, for TensorFlow cannot be told otherwise any more.
    script = "from deepdeblur_tf.train import main; import sys; sys.exit(any(main([*sys.argv[1:], f]) for f in {}))"
    folders = [f"--output={tmp_path / name}" for name in ("one", "other")]
    command = [sys.executable, "-c", script.format(folders), *SMALL_FLAGS, "--training.deterministic", "true"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert_equal_runs(tmp_path / "one", tmp_path / "other")


def test_more_patches_a_step_than_pairs_are_refused_and_leave_nothing(run, capfd):
    assert main(["--output", str(run), *FLAGS, "--training.batch_size", "7"]) == 2
    assert "training.batch_size: received 7" in capfd.readouterr().err
    assert not run.exists()


@pytest.mark.slow
def test_a_full_memory_is_named(run):
    # A kernel of 10 GB, for a process that may have 10 GB of addresses: TensorFlow's allocator fails for real.
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (10**10, 10**10))\n"
    limit += "from deepdeblur_tf.train import main; sys.exit(main(sys.argv[1:]))"
    flags = ["--output", str(run), *FLAGS, "--model.filters=10000"]
    result = subprocess.run(
        [sys.executable, "-c", limit, *flags], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "error: the memory is full. Lower training.batch_size" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_an_epoch_may_have_one_step(run):
    assert main(["--output", str(run), *FLAGS, "--training.batch_size", "6"]) == 0
    assert [row["step"] for row in read_csv(run / "history.csv")] == ["1", "2"]
    assert (run / "checkpoints" / "best.keras").is_file()


def test_pairs_without_blur_have_100_db(run, write_pairs, capfd):
    root = write_pairs([("train/input", "train/target"), ("val/input", "val/target")])
    shutil.copytree(root / "val" / "input", root / "val" / "target", dirs_exist_ok=True)
    assert main(["--output", str(run), *FLAGS, "--data.root", str(root)]) == 0
    assert "blurry at 100.00 dB PSNR on average" in capfd.readouterr().out


def test_pairs_without_a_validation_set_train_too(run, write_pairs, capfd):
    root = write_pairs([("input", "target")])
    assert main(["--output", str(run), *FLAGS, "--data.root", str(root)]) == 0
    output = capfd.readouterr()
    assert "no validation set" in output.out and "PSNR, mean" not in output.out
    assert "psnr" in output.err and "val_psnr" not in output.err
    assert (run / "model.keras").is_file() and not (run / "checkpoints" / "best.keras").exists()


# What must answer at once.


@pytest.mark.parametrize(
    "code",
    [
        "import deepdeblur_tf; dir(deepdeblur_tf)",
        "from deepdeblur_tf.train import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from deepdeblur_tf.train import main\nassert main(['--data.layuot', 'gopro']) == 2",
        "from deepdeblur_tf.train import main\nassert main(['--data.root', '/nowhere']) == 2",
        "from deepdeblur_tf.import_torch import main\nassert main(['setup.cfg', '/nowhere/network.keras']) == 2",
    ],
    ids=["import", "help", "wrong key", "wrong folder", "wrong checkpoint"],
)
def test_answers_without_loading_tensorflow(code):
    check = "\nimport sys\nassert not {'tensorflow', 'keras', 'scipy'} & set(sys.modules), sys.modules.keys()"
    subprocess.run(
        [sys.executable, "-c", code + check], cwd=ROOT, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_package_names_are_found_and_documented():
    import deepdeblur_tf

    for name in deepdeblur_tf.__all__:
        assert getattr(deepdeblur_tf, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'restroe'"):
        deepdeblur_tf.restroe  # noqa: B018
