import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import filelock
import imageio.v3 as iio
import numpy as np
import pytest

from deepdeblur_tf import evaluate, export
from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import to_yaml
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.networks.location import model_file
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.serving import formats
from deepdeblur_tf.serving import version as export_run
from deepdeblur_tf.serving.model_card import gather, write_card
from deepdeblur_tf.train import main as train
from tests.helpers import ROOT, SMALL_FLAGS, hashes, write_network


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert train(["--output", str(folder), *SMALL_FLAGS]) == 0
    return folder


@pytest.fixture
def model(tmp_path):
    return write_network(tmp_path / "small.keras", global_skip=False)


def exported(*arguments, status=0):
    assert export.main([str(argument) for argument in arguments]) == status


@pytest.fixture(scope="module")
def versions(run, tmp_path_factory):
    """A folder with two exports: the last network with an evaluation and a further format, and the best one."""
    folder, data = tmp_path_factory.mktemp("exported"), tmp_path_factory.mktemp("evaluation")
    assert evaluate.main([str(run), "--data", "scenes", "--images", "2", "--output", str(data)]) == 0
    exported(run, folder, "--format", "tflite", "--evaluation", data, "--max_pixels", 500_000)
    assert {path.name for path in folder.iterdir()} == {"1", "models.config", "batching_parameters.txt", ".lock"}
    with open(folder / "models.config", "a", encoding="utf-8") as config:
        config.write("# adapted\n")
    (folder / "7").mkdir()
    exported(run / "checkpoints" / "best.keras", folder)
    return folder, data


@pytest.mark.slow
def test_a_version_after_the_other(versions):
    folder, _ = versions
    assert (folder / "1" / "deepdeblur.tflite").is_file()
    assert (folder / "8" / "saved_model.pb").is_file() and not (folder / "8" / "deepdeblur.tflite").exists()
    assert (folder / "models.config").read_text().endswith("}\n# adapted\n")


def test_targets_that_are_none_are_named_before_the_work(model, tmp_path, capsys):
    (tmp_path / "export" / "1").mkdir(parents=True)
    (tmp_path / "export" / "1" / "saved_model.pb").touch()
    for folder, words in (
        (tmp_path / "export" / "1", "is a version of an export. Give the folder that holds it"),
        (os.fsdecode(os.fsencode(tmp_path) + b"/\xff"), "its name is no UTF-8"),
    ):
        exported(model, folder, status=2)
        assert words in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "small.keras"]
    with pytest.raises(SystemExit):
        export.main([str(model), ""])
    assert "received ''; allowed: a folder's name" in capsys.readouterr().err
    for most in (0, 2**70):
        exported(model, tmp_path / "export", "--max_pixels", most, status=2)
        assert f"--max_pixels: received {most}; allowed: a whole number" in capsys.readouterr().err


def test_numbers_that_servers_do_not_know_are_no_versions(tmp_path):
    for name in ("3", "-5", "07", "٣", "²", "9" * 50, str(2**63 - 1)):
        (tmp_path / name).mkdir()
    assert export_run._next_version(tmp_path) == 8


def test_what_is_in_the_way_is_named(model, tmp_path, capsys, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".deepdeblur.part").touch()
    exported(model, tmp_path / "out", status=2)
    assert f"error: {tmp_path / 'out' / '.deepdeblur.part'}: cannot be written: File exists" in capsys.readouterr().err


@pytest.mark.slow
def test_the_manifest_and_the_model_card(versions):
    folder, data = versions
    version = folder / "1"
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["sha256"] == {name: sha for name, sha in hashes(version).items() if name != "manifest.json"}
    assert manifest["scale"] == "auto"
    assert manifest["max_pixels"] == 500_000 and manifest["versions"]["tensorflow"] == tf.__version__
    assert manifest["model"]["experiment"] == "quickstart" and len(manifest["model"]["sha256"]) == 64
    card = (version / "model_card.md").read_text()
    psnr = json.loads((data / "summary.json").read_text())["overall"]["restored"]["psnr"]
    assert "`restore_at_scale`" in card and "The first two restore at the scale at which most" in card
    assert f"→ {psnr:.2f} |" in card and "Up to 500,000 pixels" in card and "patch_size: 32" in card
    assert "Experiment `quickstart`: 6 embedded synthetic scenes" in card


@pytest.mark.slow
def test_a_card_without_an_evaluation_shows_the_validation_of_training(run, versions):
    card = (versions[0] / "8" / "model_card.md").read_text()
    rows = [row for row in Run(run).read_history() if row["val_psnr"]]
    best = max(rows, key=lambda row: float(row["val_psnr"]))
    words = f"PSNR on the validation images after epoch {best['epoch']}: {float(best['val_psnr']):.2f} dB"
    assert words in card and "Experiment `quickstart`" in card


def test_the_card_of_the_network_that_comes_with_the_package_is_in_its_exports():
    card = write_card(gather(model_file("photographs"), []), 2_385_956, 1_000_000, 1.0, ["saved_model.pb"], "auto")
    assert "\n## Training\n\nThe network that comes with the package" in card
    assert "\n### Data and licences\n" in card and "CC BY-SA" in card
    assert "not known" not in card.lower()


@pytest.fixture
def known(tmp_path, small_experiment):
    """What a card reads of a run, without its training."""
    run = Run(tmp_path / "run")
    run.logs.mkdir(parents=True)
    run.config.write_text(to_yaml(small_experiment(**{"data.root": str(tmp_path / "secret" / "GOPRO_Large")})))
    run.history.write_text("epoch,val_psnr\n1,25.5\n2,26.25\n3,\n77,1.0\n")
    return run


def test_a_card_tells_the_best_network_from_the_last_one(known):
    last, best = (write_card(gather(file, []), 1, 1, 1.0, [], "auto") for file in (known.model, known.best))
    assert "after epoch 77: 1.00 dB" in last and " 77 of " in last
    assert "after epoch 2: 26.25 dB" in best and " 2 of " in best
    for card in (last, best):
        assert "Experiment `quickstart`: `GOPRO_Large`" in card and "patch_size: 32" in card and "secret" not in card


def test_a_card_without_the_history_of_its_run(known):
    known.history.unlink()
    for file in (known.model, known.best):
        card = write_card(gather(file, []), 1, 1, 1.0, [], "auto")
        assert " an unknown number of " in card and "None measured." in card


@pytest.mark.parametrize("text", ["epoch,val_psnr\n1,fast\n", "a\0b\n\0,\n", "epoch\none\n", "val_psnr\n1\n"])
def test_a_history_that_another_program_changed_is_named_before_the_work(known, text):
    known.history.write_text(text)
    with pytest.raises(UserError, match="history.csv: another program changed it"):
        gather(known.best, [])


def test_a_card_shows_what_was_evaluated(known):
    figures = {"psnr": 27.99, "ssim": 0.8458, "ssim_matlab": None, "ms_ssim": "inf"}
    overall = {"images": 1111, "blurry": {**figures, "psnr": 25.0}, "restored": figures}
    summary = {"data": {"root": "/secret/GOPRO_Large/", "blur": "blur_gamma"}, "overall": overall}
    summary["restoration"] = {"tile": None, "self_ensemble": True, "runtime": "tensorflow", "scale": 0.5}
    card = write_card(gather(known.model, [summary]), 1, 500_000, 1.0, [], "auto")
    assert "| GOPRO_Large (`blur_gamma`) | 1111 | scale 0.5, x8 self-ensemble | 25.00 → 27.99 |" in card
    assert "27.99 | 0.8458 → 0.8458 | inf → inf | – → – |" in card
    assert "Up to 500,000 pixels" in card and "/secret" not in card


def test_a_card_of_an_unknown_network_says_so(tmp_path):
    card = write_card(gather(tmp_path / "network.keras", []), 1, 1, 1.0, [], "auto")
    assert "Not known" in card and "None measured." in card and "## Experiment" not in card


@pytest.mark.slow
def test_the_evaluation_of_another_network_is_refused(run, model, tmp_path, capsys):
    data = tmp_path / "evaluation"
    assert evaluate.main([str(run), "--data", "scenes", "--images", "1", "--output", str(data)]) == 0
    exported(model, tmp_path / "exported", "--evaluation", data, status=2)
    assert "measured another network" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


@pytest.mark.slow
def test_a_format_that_differs_from_the_network_is_an_error(model, tmp_path, monkeypatch, capsys):
    wrong = replace(formats.FORMATS["saved_model"], load=lambda path: lambda images: images // 2)
    monkeypatch.setitem(formats.FORMATS, "saved_model", wrong)
    exported(model, tmp_path / "exported", status=1)
    assert "saved_model: differs from the network by" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "exported").iterdir()] == [".lock"]


def failing(error):
    def write(*_, **__):
        raise error

    return write


def test_a_converter_that_fails_is_named(model, tmp_path, monkeypatch, capsys):
    error = RuntimeError("no such layer\nand a hundred lines")
    monkeypatch.setitem(formats.FORMATS, "saved_model", replace(formats.FORMATS["saved_model"], write=failing(error)))
    exported(model, tmp_path / "exported", status=1)
    assert "error: saved_model: could not be written (no such layer). Nothing was exported." in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "exported").iterdir()] == [".lock"]


def test_a_terminal_that_reads_no_more_is_no_fault_of_the_folder(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export_run, "export_network", failing(BrokenPipeError(32, "Broken pipe")))
    with pytest.raises(BrokenPipeError):  # which `answered` takes for no error where nobody reads
        exported(model, tmp_path / "exported")


@pytest.mark.slow
def test_what_fails_at_the_end_leaves_no_version(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(export_run, "write_whole", failing(OSError(28, "No space left on device")))
    exported(model, tmp_path / "exported", status=2)
    assert "Nothing was exported" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "exported").iterdir()] == [".lock"]


def test_a_network_that_is_replaced_meanwhile_is_not_exported(model, tmp_path, monkeypatch, capsys):
    def load(file):
        network = load_model(file)
        build_model(blocks=1, filters=5, kernel_size=3).save(file)  # as a training replaces best.keras
        return network

    monkeypatch.setattr(export_run, "load_model", load)
    exported(model, tmp_path / "exported", status=1)
    assert "was replaced while it was read" in capsys.readouterr().err


def test_what_is_missing_is_named_before_the_work(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(formats.FORMATS, "onnx", replace(formats.FORMATS["onnx"], packages=("no_such_package",)))
    exported(model, tmp_path / "exported", "--format", "onnx", status=2)
    assert f"--format onnx needs no_such_package. Install it: pip install -e '{ROOT}[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--max_pixels", "0"], "--max_pixels: received 0"),
        (["--max_pixels", "1000"], "--check_image: has 512x600 pixels, more than the 1000"),
        (["--check_image", "none.png"], "none.png: no such file"),
        (["--check_image", "a" * 300 + ".png"], "File name too long"),
        (["--evaluation", "none"], "none: holds no summary.json. Give a folder that `evaluate` wrote"),
    ],
)
def test_wrong_settings_are_refused_before_the_work(model, tmp_path, capsys, arguments, words):
    exported(model, tmp_path / "exported", *arguments, status=2)
    assert words in capsys.readouterr().err and not (tmp_path / "exported").exists()


def test_an_export_goes_neither_into_a_run_nor_over_a_file(known, model, capsys):
    before = sorted(known.folder.rglob("*"))
    exported(model, known.folder, status=2)
    assert "is a run. Give another folder" in capsys.readouterr().err and sorted(known.folder.rglob("*")) == before
    exported(model, model, status=2)
    assert "is a file. Give another folder" in capsys.readouterr().err


def test_two_exports_into_one_folder_at_the_same_time(model, tmp_path, capsys):
    folder = tmp_path / "exported"
    folder.mkdir()
    with filelock.FileLock(folder / ".lock"):
        exported(model, folder, status=1)
    assert "another export is writing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_export_leaves_no_version(model, tmp_path):
    folder = tmp_path / "exported"
    command = [sys.executable, "-m", "deepdeblur_tf.export", str(model), str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    while not (folder / ".deepdeblur.part" / "saved_model.pb").exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not any(path.name.isdecimal() for path in folder.iterdir())
    exported(model, folder)
    assert (folder / "1" / "manifest.json").is_file() and not (folder / ".deepdeblur.part").exists()


@pytest.mark.slow
def test_the_servers_files_are_what_its_protos_read(versions):
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    from google.protobuf import text_format
    from tensorflow_serving.apis import prediction_log_pb2

    folder, _ = versions
    read = text_format.Parse((folder / "models.config").read_text(), config.ModelServerConfig())
    (served,) = read.model_config_list.config
    assert (served.name, served.base_path) == ("deepdeblur", "/models/deepdeblur")
    loaded = tf.saved_model.load(str(folder / "1"))
    asked = []
    for record in tf.data.TFRecordDataset(str(folder / "1" / "assets.extra" / "tf_serving_warmup_requests")):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        for tensor in inputs.values():  # nothing of the photo that it was checked with
            image = iio.imread(tensor.numpy()[0]) if tensor.dtype == tf.string else tensor
            assert np.ptp(image) == 0
        loaded.signatures[request.model_spec.signature_name](**inputs)
        asked.append((request.model_spec.name, request.model_spec.signature_name))
    names = ("serving_default", "restore_uint8", "restore_at_scale")
    assert asked == [("deepdeblur", name) for name in names]
