"""The command, run for real: its tables, its pictures, and every way of stopping it."""

import json
import re
import signal
import subprocess
import sys
import time

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from deepdeblur_tf import metrics
from deepdeblur_tf.compat import tf
from deepdeblur_tf.evaluate import main
from deepdeblur_tf.model import build_model
from deepdeblur_tf.resizing import imresize
from deepdeblur_tf.restoration.restorer import restore, restore_levels
from deepdeblur_tf.runs.networks import load_model
from deepdeblur_tf.train import main as train

from .conftest import ROOT, SMALL_FLAGS, read_csv

COLUMNS = ["loss", "psnr", "ssim", "ssim_matlab", "ms_ssim"]


def save_network(path, seed=5, **settings):
    tf.keras.utils.set_random_seed(seed)
    network = build_model(**{"blocks": 1, "filters": 4, "kernel_size": 3, "global_skip": True, **settings})
    tail = network.get_layer("level1_tail")  # begins at zero, which would leave the image as it is
    tail.set_weights([tf.random.normal(weight.shape, stddev=0.02) for weight in tail.get_weights()])
    path.parent.mkdir(parents=True, exist_ok=True)
    network.save(path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("models") / "first.keras")


@pytest.fixture
def data(tmp_path, shared):
    """Cuttings of real pairs in GOPRO's layout and under its names: four images in three scenes."""
    root = tmp_path / "GOPRO"
    for scene in (shared / "gopro" / "test").iterdir():
        for kind in ("blur", "sharp"):
            folder = root / "test" / scene.name / kind
            folder.mkdir(parents=True)
            (path,) = (scene / kind).iterdir()
            image = iio.imread(path)
            iio.imwrite(folder / path.name, image[300:465, 400:571])
            if scene.name == "GOPR0854_11_00":
                iio.imwrite(folder / "000007.png", image[100:265, 200:365])
    return root


NAMES = ["GOPR0384_11_00/000001", "GOPR0396_11_00/000001", "GOPR0854_11_00/000000", "GOPR0854_11_00/000007"]


def evaluate(capfd, *arguments, status=0):
    assert main([str(argument) for argument in arguments]) == status
    output = capfd.readouterr()
    for noise in ("Warning", "Traceback", "oneDNN", "CUDA"):
        assert noise not in output.err + output.out
    return output


def test_every_figure_is_what_the_metrics_say(tmp_path, data, model, capfd):
    output = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "metrics.csv")
    assert [row["image"] for row in rows] == NAMES
    assert list(rows[0]) == ["image", *COLUMNS, "seconds", "tiles", *(f"blurry_{name}" for name in COLUMNS)]
    network = load_model(model)
    for row in rows:
        scene, _, name = row["image"].partition("/")
        blurry, sharp = (iio.imread(data / "test" / scene / kind / f"{name}.png") for kind in ("blur", "sharp"))
        for prefix, image in (("", restore(network, blurry)), ("blurry_", blurry)):
            for measure in ("psnr", "ssim", "ssim_matlab", "ms_ssim"):
                expected = float(getattr(metrics, measure)(image, sharp))
                assert float(row[prefix + measure]) == pytest.approx(expected, abs=1e-6), (row["image"], measure)
        assert float(row["seconds"]) > 0
    # The last line and the summary are the means over the images.
    overall = json.loads((tmp_path / "out" / "summary.json").read_text())["overall"]
    for measure in COLUMNS:
        for kind, prefix in (("restored", ""), ("blurry", "blurry_")):
            expected = np.mean([float(row[prefix + measure]) for row in rows])
            assert overall[kind][measure] == pytest.approx(expected, rel=1e-12)
    table = [line.split() for line in output.out.splitlines() if line.startswith(("blurry ", "first "))]
    assert table[1] == [
        "first",
        *(
            f"{overall['restored'][name]:.{digits}f}"
            for name, digits in zip(("loss", "psnr", "ssim", "ms_ssim", "ssim_matlab"), (5, 2, 4, 4, 4))
        ),
    ]


def test_the_loss_is_that_of_training(tmp_path, capfd):
    run = tmp_path / "run"
    assert train(["--output", str(run), *SMALL_FLAGS, "--validation.images=16"]) == 0
    last = read_csv(run / "history.csv")[-1]
    evaluate(capfd, run, "--output", tmp_path / "out")  # on what the run was trained on
    overall = json.loads((tmp_path / "out" / "summary.json").read_text())["overall"]
    assert overall["restored"]["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-4)
    assert overall["restored"]["psnr"] == pytest.approx(float(last["val_psnr"]), abs=2e-3)
    assert overall["images"] == 16


def test_mirrored_margins_do_not_count(tmp_path, data, model, capfd):
    # The images have 165x171 pixels. The finest level is measured on just these, the coarser ones, made from the
    # image continued to 168x172, on all of theirs, as in the validation during training.
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    row = read_csv(tmp_path / "out" / "metrics.csv")[0]
    blurry, sharp = (iio.imread(data / "test" / "GOPR0384_11_00" / k / "000001.png") for k in ("blur", "sharp"))

    def levels(image):
        whole = np.pad(image, ((0, 3), (0, 1), (0, 0)), "symmetric")
        return [image / 255 - 0.5, imresize(whole, 1 / 2) / 255 - 0.5, imresize(whole, 1 / 4) / 255 - 0.5]

    restored = restore_levels(load_model(model), blurry)
    restored[0] = restored[0][:165, :171]
    for measured, images in ((row["loss"], restored), (row["blurry_loss"], levels(blurry))):
        expected = sum(np.mean((one - other) ** 2) for one, other in zip(images, levels(sharp)))
        assert float(measured) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("blur", ["blur", "blur_gamma"])
def test_gopro_without_the_reports_frames(tmp_path, shared, model, capfd, blur):
    root = tmp_path / "GOPRO" / "test" / "GOPR0396_11_00"
    for kind in (blur, "sharp"):
        (root / kind).mkdir(parents=True)
        image = iio.imread(shared / "gopro" / "test" / "GOPR0396_11_00" / kind / "000001.png")
        iio.imwrite(root / kind / "000001.png", image[:200, :200])
    evaluate(capfd, model, "--data", tmp_path / "GOPRO", "--blur", blur, "--output", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| GOPR0384_11_00/000001 (not measured here) | the report, pixel shuffle |" in text
    assert "| GOPR0396_11_00/000001 | blurry |" in text


def test_one_equal_pair_spoils_no_table(tmp_path, data, model, capfd):
    pair = [data / "test" / "GOPR0854_11_00" / kind / "000007.png" for kind in ("blur", "sharp")]
    pair[0].write_bytes(pair[1].read_bytes())
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "scenes.png").is_file()


def test_a_damaged_pair_is_named_and_the_others_are_measured(tmp_path, data, model, capfd):
    path = data / "test" / "GOPR0384_11_00" / "blur" / "000001.png"
    path.write_bytes(path.read_bytes()[:-3000])
    error = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", status=2).err
    assert "1 images cannot be read" in error and f"{path}: does not decode" in error
    assert len(read_csv(tmp_path / "out" / "metrics.csv")) == 3


def test_tiles_are_told(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("input", "target")], size=(300, 400))
    evaluate(capfd, model, "--data", root, "--output", tmp_path / "out", "--memory", "0.0001")
    assert [int(float(row["tiles"])) for row in read_csv(tmp_path / "out" / "metrics.csv")] == [6, 6]
    assert "2 of 2 images in tiles" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize("name, content", [("summary.json", "{}"), ("summary.json", ""), ("metrics.csv", "a;b\n1;2\n")])
def test_files_of_others_are_refused_by_name(tmp_path, data, model, capfd, name, content):
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", "--images", 1)
    (tmp_path / "out" / name).write_text(content)
    error = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", status=2).err
    assert f"{tmp_path / 'out' / name}: is not from an evaluation" in error
    assert (tmp_path / "out" / name).read_text() == content


def test_a_run_that_has_trained_on_all_its_data_needs_another(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("input", "target")])
    run = tmp_path / "run"
    assert train(["--output", str(run), *SMALL_FLAGS, "--data.root", str(root)]) == 0
    capfd.readouterr()
    error = evaluate(capfd, run, "--output", tmp_path / "out", status=2).err
    assert "was trained on and has no test set" in error


def test_the_summary_says_what_was_measured(tmp_path, data, model, capfd):
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", "--self_ensemble")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["model"]["file"] == str(model) and len(summary["model"]["sha256"]) == 64
    assert summary["data"]["root"] == str(data) and summary["data"]["pairs"] == 4 and summary["data"]["blur"] == "blur"
    assert summary["restoration"] == {"tile": None, "memory": None, "self_ensemble": True, "runtime": "tensorflow"}
    assert summary["finished"] and summary["versions"]["tensorflow"] == tf.__version__ and summary["device"]
    assert set(summary["scenes"]) == {name.partition("/")[0] for name in NAMES}
    assert summary["scenes"]["GOPR0854_11_00"]["images"] == 2
    assert "MATLAB" in summary["convention"]["ssim_matlab"]


def test_the_report_shows_the_reports_table(tmp_path, data, model, capfd):
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    # The seed figures as the report prints them, beside this network's.
    for figures in ("0.00473 | 27.77 | 0.8216 | 0.9228", "0.00545 | 27.97 | 0.8452 | 0.9265"):
        assert figures in text
    row = read_csv(tmp_path / "out" / "metrics.csv")[0]
    assert f"|  | first | {float(row['loss']):.5f} | {float(row['psnr']):.2f} |" in text
    assert "GOPR0384_11_05/004001 (not measured here)" in text
    assert "Not comparable yet" in text and "MATLAB on RGB" in text
    figures = re.findall(r"!\[.*?\]\((.*?)\)", text)
    assert figures == [f"figures/{name}.png" for name in ("overview", "details", "gain", "scenes")]
    for figure in figures:
        assert min(Image.open(tmp_path / "out" / figure).size) > 100
    restored = iio.imread(tmp_path / "out" / "restored" / "GOPR0384_11_00" / "000001.png")
    blurry = iio.imread(data / "test" / "GOPR0384_11_00" / "blur" / "000001.png")
    np.testing.assert_array_equal(restored, restore(load_model(model), blurry))


def test_a_rerun_measures_only_what_is_missing(tmp_path, data, model, capfd):
    arguments = (model, "--data", data, "--output", tmp_path / "out")
    evaluate(capfd, *arguments, "--images", 2)
    path = tmp_path / "out" / "metrics.csv"
    first = path.read_text()
    assert [row["image"] for row in read_csv(path)] == [NAMES[0], NAMES[3]]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["measured"] == 2
    path.write_text(first + "GOPR0396_11_00/000001,0.01,2")  # a line that a kill cut off
    evaluate(capfd, *arguments)
    assert path.read_text().startswith(first) and {row["image"] for row in read_csv(path)} == set(NAMES)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["finished"]
    whole = path.read_text()
    evaluate(capfd, *arguments)
    assert path.read_text() == whole


def test_a_killed_evaluation_continues(tmp_path, data, model, capfd):
    command = [sys.executable, "-m", "deepdeblur_tf.evaluate", model, "--data", data, "--output", tmp_path / "out"]
    path = tmp_path / "out" / "metrics.csv"
    for end, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lines = len(path.read_text().splitlines()) if path.is_file() else 1
        while process.poll() is None and (not path.is_file() or len(path.read_text().splitlines()) <= lines):
            time.sleep(0.005)
        process.send_signal(end)
        _, error = process.communicate()
        assert process.returncode in (status, 0) and "Traceback" not in error
        assert process.returncode == 0 or end == signal.SIGKILL or "The same command continues" in error
    measured = read_csv(path)
    evaluate(capfd, *command[3:])
    rows = read_csv(path)
    assert rows[: len(measured)] == measured and sorted(row["image"] for row in rows) == NAMES


def test_two_networks_are_compared(tmp_path, data, model, capfd):
    second = save_network(tmp_path / "models" / "second.keras", seed=6, upsampling="transposed_conv")
    output = evaluate(capfd, model, second, "--data", data, "--output", tmp_path / "out", "--pictures", NAMES[1])
    out = tmp_path / "out"
    rows = {label: read_csv(out / label / "metrics.csv") for label in ("first", "second")}
    compared = out / "compared" / "first_and_second"
    text = (compared / "report.md").read_text()
    differences = [float(b["psnr"]) - float(a["psnr"]) for a, b in zip(rows["first"], rows["second"])]
    better = sum(difference > 0 for difference in differences)
    assert re.search(rf"second - first \| PSNR \(dB\) \| {np.mean(differences):+.2f} \| .* \| {better} of 4", text)
    assert "first" in output.out and "second" in output.out
    for folder in (compared, out / "first", out / "second"):
        assert (folder / "report.md").is_file() and (folder / "figures" / "overview.png").is_file()
    # blurry, both networks, sharp
    assert Image.open(compared / "figures" / "overview.png").width == 4 * 171 + 3 * 4


def test_all_networks_are_measured_on_the_same_images(tmp_path, data, model, capfd):
    second = save_network(tmp_path / "models" / "second.keras", seed=6)
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out" / "first", "--images", 2)
    output = evaluate(capfd, model, second, "--data", data, "--output", tmp_path / "out", "--images", 1)
    assert "measuring 2 of 4 images\n  not 1 alone" in output.out
    assert len(read_csv(tmp_path / "out" / "second" / "metrics.csv")) == 2


def test_small_images_get_a_word_and_not_nan(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("test/input", "test/target")], size=(9, 200))
    evaluate(capfd, model, "--data", root, "--output", tmp_path / "out")
    (row, _) = read_csv(tmp_path / "out" / "metrics.csv")
    assert row["ssim"] == row["ms_ssim"] == row["blurry_ssim"] == "" and float(row["ssim_matlab"]) < 1
    text = (tmp_path / "out" / "report.md").read_text()
    assert "2 images have a side below 161 pixels" in text and "nan" not in text.lower()
    assert "NaN" not in (tmp_path / "out" / "summary.json").read_text()
    assert "the report" not in text.split("## How")[0].lower().replace("the reports", "")


def test_equal_images_are_infinitely_good(tmp_path, write_pairs, capfd):
    root = write_pairs([("input", "target")], size=(20, 24))  # one split, without folders for splits
    for name in ("000001.png", "000002.png"):
        (root / "input" / name).write_bytes((root / "target" / name).read_bytes())
    network = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)  # the identity
    network.save(tmp_path / "same.keras")
    evaluate(capfd, tmp_path / "same.keras", "--data", root, "--output", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["overall"]["restored"]["psnr"] == "inf" and summary["overall"]["restored"]["loss"] == 0


@pytest.mark.parametrize("change", ["another network", "other images", "another way"])
def test_another_evaluation_is_not_mixed_in(tmp_path, data, model, capfd, change):
    out = tmp_path / "out"
    evaluate(capfd, model, "--data", data, "--output", out, "--images", 1)
    before = (out / "metrics.csv").read_text()
    arguments, word = [model, "--data", data, "--output", out], "data.fingerprint"
    if change == "another network":
        arguments[0], word = save_network(tmp_path / "other.keras", seed=9), "model.sha256"
    elif change == "other images":
        for kind in ("blur", "sharp"):
            (data / "test" / "GOPR0854_11_00" / kind / "000007.png").unlink()
    else:
        arguments, word = [*arguments, "--tile", "160"], "restoration.tile: None / 160"
    error = evaluate(capfd, *arguments, status=2).err
    assert "holds another evaluation" in error and word in error
    assert (out / "metrics.csv").read_text() == before


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["--data", "NOWHERE"], "no such folder"),
        ([], "lies in no run folder; name the data set with --data"),
        (["--pictures", "GOPR0384_11_00/00001"], "Did you mean GOPR0384_11_00/000001?"),
        (["--pictures", f"{NAMES[0]}@a,b"], "allowed are IMAGE and IMAGE@X,Y"),
        (["--pictures", f"{NAMES[0]}@100,100"], "allowed are corners up to 43,37"),
        (["--images", "0"], "above 0"),
        (["--tile", "100"], "tile=100"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, data, model, capfd, arguments, word):
    if "--data" not in arguments and "lies in no" not in word:
        arguments = ["--data", data, *arguments]
    error = evaluate(capfd, model, *arguments, "--output", tmp_path / "out", status=2).err
    assert word in error and not (tmp_path / "out" / "report.md").exists()


def test_a_training_set_alone_is_no_test_set(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("train/input", "train/target")])
    error = evaluate(capfd, model, "--data", root, "--output", tmp_path / "out", status=2).err
    assert "has no test set" in error
    evaluate(capfd, model, "--data", root / "train", "--output", tmp_path / "out")


def test_chosen_details(tmp_path, data, model, capfd):
    pictures = ["--pictures", f"{NAMES[0]}.png@43,37", NAMES[2]]
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", *pictures)
    assert {path.parent.name for path in (tmp_path / "out" / "restored").rglob("*.png")} == {
        "GOPR0384_11_00",
        "GOPR0854_11_00",
    }
    sharp = iio.imread(data / "test" / "GOPR0384_11_00" / "sharp" / "000001.png")[37:165, 43:171]
    details = iio.imread(tmp_path / "out" / "figures" / "details.png")
    doubled = np.repeat(np.repeat(sharp, 2, axis=0), 2, axis=1)[2:-2, 2:-2]
    found = [
        column
        for column in range(details.shape[1] - 252)
        if np.array_equal(details[26 : 26 + 252, column : column + 252], doubled)
    ]
    assert len(found) == 1
