"""The command, run for real: its tables, its pictures, and every way of stopping it."""

import csv
import functools
import io
import json
import re
import shutil
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
from deepdeblur_tf.evaluate import _labels, main
from deepdeblur_tf.evaluation import comparison
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.resizing import imresize
from deepdeblur_tf.restoration.restorer import Restorer, restore
from deepdeblur_tf.train import main as train
from tests.helpers import ROOT, SMALL_FLAGS, read_csv, write_network

COLUMNS = ["loss", "psnr", "ssim", "ms_ssim", "ssim_matlab"]


save_network = functools.partial(write_network, stddev=0.02)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_network(tmp_path_factory.mktemp("models") / "first.keras", seed=5)


NAMES = ["GOPR0384_11_00/000001", "GOPR0396_11_00/000001", "GOPR0854_11_00/000000", "GOPR0854_11_00/000007"]


def write_gopro(root, scenes, names, blur="blur"):
    """Details of 165x171 pixels of the generated scenes, in GOPRO's layout and under the given names."""
    for number, name in enumerate(names):
        scene, _, file = name.partition("/")
        corner = 4 * (number // 2)
        for kind, image in zip((blur, "sharp"), scenes[number % 2]):
            (root / "test" / scene / kind).mkdir(parents=True, exist_ok=True)
            detail = image[corner : corner + 165, corner : corner + 171]
            iio.imwrite(root / "test" / scene / kind / f"{file}.png", detail)
    return root


@pytest.fixture
def data(tmp_path, scenes):
    """Four images in three scenes."""
    return write_gopro(tmp_path / "GOPRO", scenes, NAMES)


def evaluate(capfd, *arguments, status=0):
    assert main([str(argument) for argument in arguments]) == status
    output = capfd.readouterr()
    for noise in ("Warning", "Traceback", "oneDNN", "CUDA"):
        assert noise not in output.err + output.out
    return output


def test_each_result_has_a_name_of_its_own():
    assert _labels(["a/x_3.keras", "a/x.keras", "b/x.keras"], ["c/x", "x_3"]) == ["x_3", "x", "x_4", "x_5", "x_3_5"]


@pytest.mark.slow
def test_every_figure_is_what_the_metrics_say(tmp_path, data, model, capfd):
    output = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    rows = read_csv(tmp_path / "out" / "metrics.csv")
    assert [row["image"] for row in rows] == NAMES
    assert list(rows[0]) == ["image", *COLUMNS, "seconds", "tiles", *(f"blurry_{name}" for name in COLUMNS), "check"]
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
    shown = [f"{overall['restored'][name]:.{digits}f}" for name, digits in zip(COLUMNS, (5, 2, 4, 4, 4))]
    assert table[1] == ["first", *shown]


@pytest.mark.slow
@pytest.mark.parametrize("pyramid", ["matlab_bicubic", "gaussian"])
def test_the_loss_is_that_of_training(tmp_path, capfd, pyramid):
    run = tmp_path / "run"
    assert train(["--output", str(run), *SMALL_FLAGS, "--validation.images=16", f"--model.pyramid={pyramid}"]) == 0
    last = read_csv(run / "history.csv")[-1]
    evaluate(capfd, run, "--output", tmp_path / "out")  # on what the run was trained on
    overall = json.loads((tmp_path / "out" / "summary.json").read_text())["overall"]
    assert overall["restored"]["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-4)
    assert overall["restored"]["psnr"] == pytest.approx(float(last["val_psnr"]), abs=2e-3)
    assert overall["images"] == 16


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["1", "0.5"])
def test_grey_stays_grey(tmp_path, data, model, capfd, scale):
    for path in (data / "test").glob(f"{NAMES[0].partition('/')[0]}/*/*.png"):
        grey = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(np.dstack([grey] * 3)).save(path)
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", "--pictures", NAMES[0], "--scale", scale)
    blurry = iio.imread(data / "test" / f"{NAMES[0].replace('/', '/blur/')}.png")
    restored = iio.imread(tmp_path / "out" / "restored" / f"{NAMES[0]}.png")
    np.testing.assert_array_equal(restored, restore(load_model(model), blurry, scale=float(scale)))
    assert (restored == restored[..., :1]).all() and (restored != blurry).any()


@pytest.mark.slow
def test_mirrored_margins_do_not_count(tmp_path, data, model, capfd):
    # The images have 165x171 pixels. The finest level is measured on just these, the coarser ones, made from the
    # image continued to 168x172, on all of theirs, as in the validation during training.
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    row = read_csv(tmp_path / "out" / "metrics.csv")[0]
    blurry, sharp = (iio.imread(data / "test" / "GOPR0384_11_00" / k / "000001.png") for k in ("blur", "sharp"))

    def levels(image):
        whole = np.pad(image, ((0, 3), (0, 1), (0, 0)), "symmetric")
        return [image / 255 - 0.5, imresize(whole, 1 / 2) / 255 - 0.5, imresize(whole, 1 / 4) / 255 - 0.5]

    restored = Restorer(load_model(model)).levels(blurry)
    restored[0] = restored[0][:165, :171]
    for measured, images in ((row["loss"], restored), (row["blurry_loss"], levels(blurry))):
        expected = sum(np.mean((one - other) ** 2) for one, other in zip(images, levels(sharp)))
        assert float(measured) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("blur", ["blur", "blur_gamma"])
def test_gopro_without_the_reports_frames(tmp_path, scenes, model, capfd, blur):
    write_gopro(tmp_path / "GOPRO", scenes, [NAMES[1]], blur)
    evaluate(capfd, model, "--data", tmp_path / "GOPRO", "--blur", blur, "--output", tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| GOPR0384_11_00/000001 (not measured here) | the report, pixel shuffle |" in text
    assert "| GOPR0396_11_00/000001 | blurry |" in text


@pytest.mark.slow
def test_one_equal_pair_spoils_no_table(tmp_path, data, model, capfd):
    pair = [data / "test" / "GOPR0854_11_00" / kind / "000007.png" for kind in ("blur", "sharp")]
    pair[0].write_bytes(pair[1].read_bytes())
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "scenes.png").is_file()


@pytest.mark.slow
def test_a_damaged_pair_is_named_and_the_others_are_measured(tmp_path, data, model, capfd):
    path = data / "test" / "GOPR0384_11_00" / "blur" / "000001.png"
    path.write_bytes(path.read_bytes()[:-3000])
    error = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", status=2).err
    assert "1 images cannot be measured" in error and f"{path}: does not decode" in error
    assert len(read_csv(tmp_path / "out" / "metrics.csv")) == 3


@pytest.mark.slow
def test_tiles_are_told(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("input", "target")], size=(300, 400))
    evaluate(capfd, model, "--data", root, "--output", tmp_path / "out", "--memory", "0.0001")
    assert [int(float(row["tiles"])) for row in read_csv(tmp_path / "out" / "metrics.csv")] == [2, 2]
    assert "2 of 2 images in tiles" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, content",
    [("summary.json", b"{}"), ("summary.json", b""), ("metrics.csv", b"a;b\n1;2\n"), ("metrics.csv", b"\xff\n")],
)
def test_files_of_others_are_refused_by_name(tmp_path, data, model, capfd, name, content):
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", "--images", 1)
    (tmp_path / "out" / name).write_bytes(content)
    error = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", status=2).err
    assert f"{tmp_path / 'out' / name}: is not from an evaluation" in error
    assert (tmp_path / "out" / name).read_bytes() == content


@pytest.mark.slow
def test_a_run_that_has_trained_on_all_its_data_needs_another(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("input", "target")])
    run = tmp_path / "run"
    assert train(["--output", str(run), *SMALL_FLAGS, "--data.root", str(root)]) == 0
    capfd.readouterr()
    for data in ([], ["--data", root]):
        error = evaluate(capfd, run, *data, "--output", tmp_path / "out", status=2).err
        assert "was trained on and has no test set" in error


@pytest.mark.slow
def test_the_summary_says_what_was_measured(tmp_path, data, model, capfd):
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", "--self_ensemble")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["model"]["file"] == str(model) and len(summary["model"]["sha256"]) == 64
    assert summary["data"]["root"] == str(data) and summary["data"]["pairs"] == 4 and summary["data"]["blur"] == "blur"
    options = {"tile": None, "memory": None, "self_ensemble": True, "runtime": "tensorflow", "scale": 1.0}
    assert summary["restoration"] == options
    assert summary["finished"] and summary["versions"]["tensorflow"] == tf.__version__ and summary["device"]
    assert set(summary["scenes"]) == {name.partition("/")[0] for name in NAMES}
    assert summary["scenes"]["GOPR0854_11_00"]["images"] == 2
    assert "MATLAB" in summary["convention"]["ssim_matlab"]


@pytest.mark.slow
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


@pytest.mark.slow
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


UNEQUAL = ("seconds", "check")  # when it is measured again


@pytest.mark.slow
def test_figures_know_what_they_were_made_by(tmp_path, data, model, capfd):
    out = tmp_path / "out"
    arguments = (model, "--data", data, "--output", out)
    evaluate(capfd, *arguments)
    path = out / "metrics.csv"
    whole = path.read_text()

    def same_figures():
        tables = (csv.DictReader(io.StringIO(text)) for text in (whole, path.read_text()))
        there, here = ({row["image"]: row for row in table} for table in tables)
        return all(here[name][key] == row[key] for name, row in there.items() for key in row if key not in UNEQUAL)

    evaluate(capfd, *arguments, "--memory", "0.5")  # decides the tiles' size, not what is measured
    assert path.read_text() == whole
    rows = list(csv.reader(io.StringIO(whole)))
    for change in ("15.0", "loss", "", "nan", "1e999", "\0"):
        edited = [list(row) for row in rows]
        edited[2][1] = change
        path.write_text("".join(",".join(row) + "\n" for row in edited))
        said = evaluate(capfd, *arguments).out
        assert f"measured again, for {path} was changed there: {rows[2][0]}" in said and same_figures()
    # By an earlier version, which had one measure less, and no check.
    lacking = rows[0].index("ms_ssim")
    path.write_text("".join(",".join(row[:lacking] + row[lacking + 1 : -1]) + "\n" for row in rows))
    summary = json.loads((out / "summary.json").read_text())
    for side in ("restored", "blurry"):
        del summary["overall"][side]["ms_ssim"]
    del summary["restoration"]["scale"]
    (out / "summary.json").write_text(json.dumps(summary))
    evaluate(capfd, *arguments)
    assert same_figures()
    path.write_text("".join(",".join(row[:-1]) + "\n" for row in rows))
    said = evaluate(capfd, *arguments).out
    assert "measured again" not in said and path.read_text() == whole
    assert "restoration.scale: 1.0 / 0.5" in evaluate(capfd, *arguments, "--scale", "0.5", status=2).err


@pytest.fixture
def many(tmp_path, scenes):
    """More images than can be measured while a process is being stopped."""
    return write_gopro(tmp_path / "GOPRO", scenes, [f"GOPR0384_11_00/{number:06d}" for number in range(1, 21)])


def measured(folder):
    path = folder / "metrics.csv"
    return path.read_text().splitlines()[1:] if path.is_file() else []


def heed_ctrl_c():
    # A shell's background job, and all that it begins, ignores it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stopped_in_the_middle(command, folder):
    """Begins an evaluation in a process of its own, and stops it (not ends it) after at least one more image."""
    before = len(measured(folder))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=heed_ctrl_c, **pipes)
    while process.poll() is None and len(measured(folder)) <= before:
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)
    assert process.poll() is None and before < len(measured(folder)) < 20
    return process


@pytest.mark.slow
def test_a_killed_evaluation_continues(tmp_path, many, model, capfd):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "deepdeblur_tf.evaluate", model, "--data", many, "--output", out]
    process = stopped_in_the_middle(command, out)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    process = stopped_in_the_middle(command, out)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate()
    assert process.returncode == 130 and "The same command continues" in error and "Traceback" not in error
    before = measured(out)
    evaluate(capfd, *command[3:])
    rows = measured(out)
    assert rows[: len(before)] == before and len(rows) == len({row.split(",")[0] for row in rows}) == 20


def test_a_network_that_is_replaced_meanwhile_is_not_measured(tmp_path, data, capfd, monkeypatch):
    model = save_network(tmp_path / "best.keras")

    def load(file):
        network = load_model(file)
        save_network(file, seed=1)  # as a training replaces best.keras
        return network

    monkeypatch.setattr(comparison, "load_model", load)
    output = evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", status=2)
    assert f"error: {model}: was replaced while it was read" in output.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "removed, when",
    [("", "the second image"), ("", "the report"), ("metrics.csv", "the last image"), ("restored", "the last image")],
)
def test_what_is_removed_meanwhile_is_not_done(tmp_path, data, model, capfd, monkeypatch, removed, when):
    out, done = tmp_path / "out", []
    measure, write = comparison.measure, comparison._write

    def remove():
        if removed == "metrics.csv":
            (out / removed).unlink()
        else:
            shutil.rmtree(out / removed)

    def measured(*arguments):
        done.append(measure(*arguments))
        if len(done) == {"the second image": 2, "the last image": len(NAMES)}.get(when):
            remove()
        return done[-1]

    def written(*arguments):
        write(*arguments)
        if when == "the report":
            remove()

    with monkeypatch.context() as patch:
        patch.setattr(comparison, "measure", measured)
        patch.setattr(comparison, "_write", written)
        output = evaluate(capfd, model, "--data", data, "--output", out, status=1)
    assert f"error: {out}: " in output.err and "was removed while the evaluation went on" in output.err
    evaluate(capfd, model, "--data", data, "--output", out)
    assert [row["image"] for row in read_csv(out / "metrics.csv")] == NAMES
    assert (out / "report.md").is_file()


@pytest.mark.slow
def test_two_evaluations_into_one_folder_at_the_same_time(tmp_path, many, model, capfd):
    second, out = save_network(tmp_path / "models" / "second.keras", seed=6), tmp_path / "out"
    command = [sys.executable, "-m", "deepdeblur_tf.evaluate", model, "--data", many, "--output", out / "first"]
    process = stopped_in_the_middle(command, out / "first")
    before = measured(out / "first")
    # Both write into the folder of the first network.
    for arguments in ([model, "--output", out / "first"], [model, second, "--output", out]):
        error = evaluate(capfd, *arguments, "--data", many, status=2).err
        assert f"another evaluation is writing to {out / 'first'}. Wait for its end" in error
    assert measured(out / "first") == before and not (out / "second").exists()
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate()
    assert process.returncode == 0, error
    # Into a pipe a line at the beginning, at the end, and every half minute.
    assert "100% 20/20" in error and len(error.splitlines()) < 10
    assert len({row.split(",")[0] for row in measured(out / "first")}) == len(measured(out / "first")) == 20
    evaluate(capfd, model, second, "--data", many, "--output", out)  # the folder is free again


@pytest.mark.slow
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


def test_a_comparison_of_many_has_a_name_that_a_disk_takes(tmp_path, data, capfd):
    folders = [tmp_path / str(number) / ("theirs_" * 8) for number in range(5)]
    for folder in folders:
        finish(data, folder)
    evaluate(capfd, "--restored", *folders, "--data", data, "--output", tmp_path / "out", "--images", 1)
    (compared,) = (tmp_path / "out" / "compared").iterdir()
    assert (
        compared.name.startswith("theirs_theirs_") and len(compared.name) == 69 and (compared / "report.md").is_file()
    )


@pytest.mark.slow
def test_all_networks_are_measured_on_the_same_images(tmp_path, data, model, capfd):
    second = save_network(tmp_path / "models" / "second.keras", seed=6)
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out" / "first", "--images", 2)
    output = evaluate(capfd, model, second, "--data", data, "--output", tmp_path / "out", "--images", 1)
    assert "measuring 2 of 4 images\n  not 1 alone" in output.out
    assert len(read_csv(tmp_path / "out" / "second" / "metrics.csv")) == 2


@pytest.mark.slow
def test_small_images_get_a_word_and_not_nan(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("test/input", "test/target")], size=(9, 200))
    evaluate(capfd, model, "--data", root, "--output", tmp_path / "out")
    (row, _) = read_csv(tmp_path / "out" / "metrics.csv")
    assert row["ssim"] == row["ms_ssim"] == row["blurry_ssim"] == "" and float(row["ssim_matlab"]) < 1
    text = (tmp_path / "out" / "report.md").read_text()
    assert "2 images have a side below 161 pixels" in text and "nan" not in text.lower()
    assert "NaN" not in (tmp_path / "out" / "summary.json").read_text()
    assert "the report" not in text.split("## How")[0].lower().replace("the reports", "")


@pytest.mark.slow
def test_equal_images_are_infinitely_good(tmp_path, write_pairs, capfd):
    root = write_pairs([("input", "target")], size=(20, 24))  # one split, without folders for splits
    for name in ("000001.png", "000002.png"):
        (root / "input" / name).write_bytes((root / "target" / name).read_bytes())
    network = build_model(blocks=1, filters=4, kernel_size=3, global_skip=True)  # the identity
    network.save(tmp_path / "same.keras")
    evaluate(capfd, tmp_path / "same.keras", "--data", root, "--output", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["overall"]["restored"]["psnr"] == "inf" and summary["overall"]["restored"]["loss"] == 0


@pytest.mark.slow
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
        arguments, word = [*arguments, "--tile", "256"], "restoration.tile: None / 256"
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


@pytest.mark.slow
def test_a_training_set_alone_is_no_test_set(tmp_path, write_pairs, model, capfd):
    root = write_pairs([("train/input", "train/target")])
    error = evaluate(capfd, model, "--data", root, "--output", tmp_path / "out", status=2).err
    assert "has no test set" in error
    evaluate(capfd, model, "--data", root / "train", "--output", tmp_path / "out")


@pytest.mark.slow
def test_chosen_details(tmp_path, data, model, capfd):
    pictures = ["--pictures", f"{NAMES[0]}.png@43,37", NAMES[2]]
    evaluate(capfd, model, "--data", data, "--output", tmp_path / "out", *pictures)
    shown = {path.parent.name for path in (tmp_path / "out" / "restored").rglob("*.png")}
    assert shown == {"GOPR0384_11_00", "GOPR0854_11_00"}
    sharp = iio.imread(data / "test" / "GOPR0384_11_00" / "sharp" / "000001.png")[37:165, 43:171]
    details = iio.imread(tmp_path / "out" / "figures" / "details.png")
    doubled = np.repeat(np.repeat(sharp, 2, axis=0), 2, axis=1)[2:-2, 2:-2]
    found = [
        column
        for column in range(details.shape[1] - 252)
        if np.array_equal(details[26 : 26 + 252, column : column + 252], doubled)
    ]
    assert len(found) == 1


def finish(data, folder, name_of="{scene}/{file}.png"):
    """Another program's pictures: the mean of blurry and sharp."""
    made = {}
    for name in NAMES:
        scene, _, file = name.partition("/")
        sides = [iio.imread(data / "test" / scene / kind / f"{file}.png") for kind in ("blur", "sharp")]
        made[name] = np.mean(sides, axis=0).astype(np.uint8)
        path = folder / name_of.format(scene=scene, file=file)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(made[name]).save(path)
    return made


@pytest.mark.slow
def test_finished_pictures_of_any_program_are_measured(tmp_path, data, capfd):
    made = finish(data, tmp_path / "theirs", "{scene}/{file}.tif")
    out = tmp_path / "out"
    said = evaluate(capfd, "--restored", tmp_path / "theirs", "--data", data, "--output", out).out
    rows = read_csv(out / "metrics.csv")
    assert [row["image"] for row in rows] == NAMES
    for row in rows:
        scene, _, file = row["image"].partition("/")
        sharp = iio.imread(data / "test" / scene / "sharp" / f"{file}.png")
        for measure in ("psnr", "ssim", "ssim_matlab", "ms_ssim"):
            expected = float(getattr(metrics, measure)(made[row["image"]], sharp))
            assert float(row[measure]) == pytest.approx(expected, abs=1e-6)
        assert row["loss"] == row["seconds"] == row["tiles"] == row["blurry_loss"] == ""
    summary = json.loads((out / "summary.json").read_text())
    assert "model" not in summary and "restoration" not in summary and summary["finished"]
    assert summary["pictures"]["folder"] == str(tmp_path / "theirs") and summary["pictures"]["found"] == 4
    assert summary["overall"]["restored"]["loss"] is None and summary["overall"]["seconds"] is None
    mean = np.mean([float(row["psnr"]) for row in rows])
    assert re.search(rf"theirs +- +{mean:.2f} ", said)
    text = (out / "report.md").read_text()
    assert f"finished pictures in `{tmp_path / 'theirs'}` (fingerprint {summary['pictures']['fingerprint']})" in text
    assert "nan" not in text and "too small for" not in text
    for name in ("overview", "details", "gain", "scenes"):
        assert (out / "figures" / f"{name}.png").is_file()
    # Other pictures in that folder are another evaluation.
    finish(data, tmp_path / "theirs", "{scene}/{file}.tif")
    evaluate(capfd, "--restored", tmp_path / "theirs", "--data", data, "--output", out)
    Image.new("RGB", (171, 165)).save(tmp_path / "theirs" / f"{NAMES[0]}.tif")
    error = evaluate(capfd, "--restored", tmp_path / "theirs", "--data", data, "--output", out, status=2).err
    assert "holds another evaluation" in error and "pictures.fingerprint" in error


@pytest.mark.parametrize("name_of", ["{scene}/blur/{file}.webp", "test/{scene}/blur/{file}.png", "{scene}/{file}.JPG"])
def test_finished_pictures_are_named_as_in_the_data_set(tmp_path, data, capfd, name_of):
    finish(data, tmp_path / "theirs", name_of)
    evaluate(capfd, "--restored", tmp_path / "theirs", "--data", data, "--output", tmp_path / "out", "--images", 1)
    assert len(read_csv(tmp_path / "out" / "metrics.csv")) == 1


def test_finished_pictures_that_cannot_be_measured_are_named_before(tmp_path, data, capfd):
    finish(data, tmp_path / "theirs")
    arguments = ("--restored", tmp_path / "theirs", "--data", data, "--output", tmp_path / "out")
    (tmp_path / "theirs" / f"{NAMES[3]}.png").unlink()
    Image.new("RGB", (165, 171)).save(tmp_path / "theirs" / f"{NAMES[1]}.png")
    Image.new("RGBA", (171, 165)).save(tmp_path / "theirs" / f"{NAMES[2]}.png")
    error = evaluate(capfd, *arguments, status=2).err
    assert "3 pictures" in error and "has transparency" in error
    assert f"{tmp_path / 'theirs' / NAMES[3]}.*: no such picture" in error
    assert f"{NAMES[1]}.png: is 165x171, the sharp picture 171x165" in error
    assert not (tmp_path / "out").exists()
    evaluate(capfd, *arguments, "--images", 1)  # the first is sound
    assert len(read_csv(tmp_path / "out" / "metrics.csv")) == 1


def test_finished_pictures_that_are_not_there(tmp_path, data, capfd):
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ((), "name what is to be measured: a MODEL, or a folder of finished pictures with --restored"),
        (("--restored", tmp_path / "empty"), "name the data set of the finished pictures with --data"),
        (("--restored", tmp_path / "none", "--data", data), "none: no such folder"),
        (("--restored", tmp_path / "empty", "--data", data), f"no picture of the data set. Looked for {NAMES[0]}"),
    ]:
        assert message in evaluate(capfd, *arguments, "--output", tmp_path / "out", status=2).err


@pytest.mark.slow
def test_finished_pictures_beside_a_network(tmp_path, data, model, capfd):
    finish(data, tmp_path / "theirs")
    finish(data, tmp_path / "other" / "theirs")
    folders = (tmp_path / "theirs", tmp_path / "other" / "theirs")
    out = tmp_path / "out"
    said = evaluate(capfd, model, "--restored", *folders, "--data", data, "--output", out).out
    assert [line.split()[0] for line in said.splitlines() if line[:6] in ("blurry", "first ", "theirs")] == [
        *("blurry", "first", "theirs", "theirs_3")
    ]
    text = (out / "compared" / "first_and_theirs_and_theirs_3" / "report.md").read_text()
    assert "theirs - first | PSNR (dB) |" in text and "nan" not in text
    assert "theirs - first | Loss |" not in text  # pictures of others have none
    assert Image.open(out / "compared/first_and_theirs_and_theirs_3/figures/overview.png").width > 5 * 171
    for label in ("first", "theirs", "theirs_3"):
        assert len(read_csv(out / label / "metrics.csv")) == 4


def test_a_data_set_of_other_names_is_measured(tmp_path, write_pairs, capfd):
    root = write_pairs([("shaky", "still")])
    arguments = ("--restored", root / "still", "--data", root, "--output", tmp_path / "out")
    assert "no pairs found" in evaluate(capfd, *arguments, status=2).err
    assert "both or neither" in evaluate(capfd, *arguments, "--blurry", "shaky", status=2).err
    evaluate(capfd, *arguments, "--blurry", "shaky", "--sharp", "still")
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["overall"]["restored"]["psnr"] == "inf"
