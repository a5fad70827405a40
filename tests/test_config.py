import dataclasses

import pytest
import yaml

from deepdeblur_tf.config import (
    SETTINGS,
    ConfigError,
    differences,
    experiment_parser,
    load_experiment,
    parse_experiment,
    to_yaml,
)

from .conftest import ROOT

EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"


def parse(*words):
    return parse_experiment(experiment_parser(), ["--config", str(QUICKSTART), *words])[0]


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_files_load_and_name_themselves(path):
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    header = path.read_text(encoding="utf-8").split("name:")[0]
    assert f"--config experiments/{path.name}" in header or path == QUICKSTART
    assert "What to expect" in header


@pytest.mark.parametrize("upsampling", ["pixel_shuffle", "transposed_conv"])
def test_the_reports_experiments_hold_the_reports_settings(upsampling):
    # Report, section 3; everything that goes beyond it is off.
    experiment = load_experiment(ROOT / "experiments" / f"gopro_{upsampling}.yaml")
    assert dataclasses.asdict(experiment.model) == {
        "upsampling": upsampling,
        "levels": 3,
        "blocks": 9,
        "filters": 64,
        "kernel_size": 5,
        "global_skip": False,
    }
    training = experiment.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.clip) == (1000, 2, 5e-5, 0.5)
    assert (training.decay.epochs, training.decay.factor) == ([400, 500, 600, 700, 800, 900], 0.5)
    assert (experiment.data.patch_size, experiment.data.blur, experiment.data.layout) == (256, "blur", "gopro")


def test_flags_win_over_the_file():
    experiment = parse("--training.learning_rate", "1e-4", "--training.decay.epochs=[2, 3]", "--data.root", "7")
    assert experiment.training.learning_rate == 1e-4
    assert experiment.training.decay.epochs == [2, 3]
    assert experiment.data.root == "7"


def test_a_flag_before_the_file_wins_too():
    for config in (["--config", str(QUICKSTART)], [f"--config={QUICKSTART}"]):
        experiment, _ = parse_experiment(experiment_parser(), ["--training.epochs", "3", *config, "--seed=4"])
        assert (experiment.training.epochs, experiment.seed, experiment.model.filters) == (3, 4, 32)


def test_overrides_may_be_paths(tmp_path):
    assert load_experiment(QUICKSTART, {"data.root": tmp_path}).data.root == str(tmp_path)


def test_overrides_win_over_the_file():
    experiment = load_experiment(
        QUICKSTART, {"data.root": "GOPRO_Large", "model.global_skip": False, "training.decay.epochs": []}
    )
    assert experiment.data.root == "GOPRO_Large"
    assert experiment.model.global_skip is False
    assert experiment.training.decay.epochs == []


def test_yaml_round_trip(tmp_path):
    experiment = parse("--seed", "3", "--model.filters", "7")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(experiment), encoding="utf-8")
    assert load_experiment(path) == experiment
    flat = yaml.safe_load(path.read_text())
    for key in SETTINGS:
        value = flat
        for part in key.split("."):
            value = value[part]


def test_differences_name_the_keys():
    assert differences(parse(), parse("--seed=9", "--model.blocks=5")) == ["seed: 0 / 9", "model.blocks: 4 / 5"]
    # What changes nothing of the result is no difference.
    assert not differences(parse(), parse("--data.cache=none", "--training.checkpoint_minutes=3"))


@pytest.mark.parametrize(
    "words, key, allowed",
    [
        (["--data.patch_size", "abc"], "data.patch_size: received 'abc'", "a whole number above 0"),
        (["--data.patch_size", "-4"], "data.patch_size: received '-4'", "a whole number above 0"),
        (["--data.patch_size", "30"], "data.patch_size: received 30", "a multiple of 4"),
        (["--data.patch_size", "512"], "data.patch_size: received 512", "at most 256 with data.root: scenes"),
        (["--data.layout", "gopr"], "data.layout: received 'gopr'", "Did you mean gopro?"),
        (["--data.cache", "ram"], "data.cache: received 'ram'", "none, memory, disk"),
        (["--model.levels", "4"], "model.levels: received '4'", "one of 1, 2, 3"),
        (["--model.kernel_size", "4"], "model.kernel_size: received 4", "an odd number"),
        (["--model.global_skip", "maybe"], "model.global_skip: received 'maybe'", "true or false"),
        (["--training.learning_rate", "fast"], "training.learning_rate: received 'fast'", "a number above 0"),
        (["--training.learning_rate", "inf"], "training.learning_rate: received inf", "a finite number"),
        (["--training.decay.factor", "2"], "training.decay.factor: received '2'", "between 0 and 1"),
        (["--training.decay.epochs", "5"], "training.decay.epochs: received '5'", "a list"),
        (["--training.decay.epochs", "[5, 3]"], "training.decay.epochs: received [5, 3]", "rising"),
        (["--training.decay.epochs", "[0]"], "training.decay.epochs: received [0]", "above 0"),
        (["--name", "a/b"], "name: received 'a/b'", "it names a folder"),
        (["--seed", "1.5"], "seed: received '1.5'", "a whole number"),
        (["--training.batchsize", "3"], "training.batchsize", "Did you mean training.batch_size?"),
        (["--filters", "3"], "filters", "Did you mean model.filters?"),
        (["--training.epoch", "3"], "training.epoch", "Did you mean training.epochs?"),
        (["--epochs", "3"], "epochs", "Did you mean training.epochs?"),
        (["--training.decay.epoch", "3"], "training.decay.epoch", "Did you mean training.decay.epochs?"),
        (["--data.cache", "disk"], "data.cache: received 'disk'", "none or memory"),
    ],
)
def test_wrong_values_and_keys_are_named(words, key, allowed):
    with pytest.raises(ConfigError) as error:
        parse(*words)
    assert key in str(error.value) and allowed in str(error.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: x\ndata: {patchsize: 3}", ["data.patchsize", "Did you mean data.patch_size?"]),
        ("name: x\nbatch_size: 3", ["batch_size", "Did you mean training.batch_size?"]),
        ("name: x\ndata: scenes", ["data is a section", "'scenes'"]),
        ("name: x\nmodel: {filters: many}", ["model.filters: received 'many'", "a whole number above 0"]),
        ("seed: 3", ["name: received nothing"]),
        ("- 1\n- 2", ["holds no settings"]),
        ("", ["holds no settings"]),
        ("name: [", ["is not valid YAML"]),
    ],
)
def test_wrong_files_are_named(tmp_path, text, words):
    path = tmp_path / "wrong.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_experiment(path)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        load_experiment(tmp_path / "nowhere.yaml")


def test_numbers_with_exponents_are_numbers_in_yaml(tmp_path):
    # YAML 1.1 reads 5e-5 as a text.
    path = tmp_path / "x.yaml"
    path.write_text("name: x\ntraining: {learning_rate: 5e-5}", encoding="utf-8")
    assert load_experiment(path).training.learning_rate == 5e-5
