import argparse
import dataclasses
import re
from operator import attrgetter
from pathlib import Path

import pytest
import yaml

from deepdeblur_tf import train
from deepdeblur_tf.claims import differing
from deepdeblur_tf.command_line import add_settings, given_settings
from deepdeblur_tf.config import (
    SETTINGS,
    ConfigError,
    effective_settings,
    load_experiment,
    recorded_experiment,
    to_yaml,
)
from tests.helpers import ROOT

EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"


def parse(*words):
    """The quickstart with settings as the command line gives them."""
    parser = argparse.ArgumentParser()
    add_settings(parser)
    return load_experiment(QUICKSTART, given_settings(parser.parse_args(words)))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_experiment_files_load_and_name_themselves(path):
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    header = path.read_text(encoding="utf-8").split("name:")[0]
    assert f"--config {path.stem} " in header or path == QUICKSTART
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
        "shuffle_input": 1,
        "widening": 1,
        "pass_features": False,
        "border": 0,
        "pyramid": "matlab_bicubic",
    }
    training = experiment.training
    assert (training.epochs, training.batch_size, training.learning_rate, training.clip) == (1000, 2, 5e-5, 0.5)
    assert (training.decay.epochs, training.decay.factor) == ([400, 500, 600, 700, 800, 900], 0.5)
    assert (training.precision, training.loss, training.schedule, training.ema) == ("float32", "mse", "piecewise", 0)
    assert (experiment.data.patch_size, experiment.data.blur, experiment.data.layout) == (256, "blur", "gopro")
    assert not any(vars(experiment.augmentation).values())


def test_flags_win_over_the_file():
    experiment = parse("--training.learning_rate", "1e-4", "--training.decay.epochs=[2, 3]", "--data.root", "7")
    assert experiment.training.learning_rate == 1e-4
    assert experiment.training.decay.epochs == [2, 3]
    assert experiment.data.root == "7"


@pytest.mark.parametrize("config", [["--config", str(QUICKSTART)], [f"--config={QUICKSTART}"], []])
def test_a_flag_before_the_file_wins_too(config, capsys):
    assert train.main(["--training.epochs", "3", *config, "--seed=4", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["training"]["epochs"], printed["seed"], printed["model"]["filters"]) == (3, 4, 32)


def test_every_setting_is_explained(capsys):
    with pytest.raises(SystemExit):
        train.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for key, default in [("name", "none, the file gives it"), ("model.global_skip", "false"), ("data.root", "scenes")]:
        assert re.search(rf"--{key} VALUE [A-Z][^()]+\. \([^()]+; default: {default}\)", text), key
    for key in SETTINGS:
        # A sentence, what is allowed, and the default.
        assert re.search(rf"--{key} VALUE [A-Z].+?\. \([^()]+; default: [^()]+\)", text), key


def test_overrides_may_be_paths_and_sections(tmp_path):
    assert load_experiment(QUICKSTART, {"data.root": tmp_path}).data.root == str(tmp_path)
    model = load_experiment(QUICKSTART, {"model": {"filters": 8, "blocks": "2"}}).model
    assert (model.filters, model.blocks, model.kernel_size) == (8, 2, 3)


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
    assert yaml.safe_load(path.read_text()) == dataclasses.asdict(experiment)


def test_differences_name_the_keys():
    one, other = (effective_settings(parse(*flags)) for flags in ((), ("--seed=9", "--model.blocks=5")))
    assert differing(one, other) == ["seed: 0 / 9", "model.blocks: 4 / 5"]
    # What changes nothing of the result is no difference.
    assert effective_settings(parse("--data.cache=none", "--training.checkpoint_minutes=3")) == one


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("data.patch_size", "abc", "a whole number above 0"),
        ("data.patch_size", "-4", "a whole number above 0"),
        ("data.patch_size", "30", "a multiple of 4"),
        ("data.layout", "gopr", "Did you mean gopro?"),
        ("data.cache", "ram", "none, memory, disk"),
        ("model.levels", "4", "one of 1, 2, 3"),
        ("model.levels", "1.0", "one of 1, 2, 3"),
        ("model.kernel_size", "4", "an odd number"),
        ("model.filters", "0x10", "a whole number above 0"),
        ("model.filters", "8.0", "a whole number above 0"),
        ("model.filters", "1e2", "a whole number above 0"),
        ("model.filters", "null", "a whole number above 0"),
        ("model.global_skip", "maybe", "true or false"),
        ("model.global_skip", "1", "true or false"),
        ("model.global_skip", "[", "true or false"),
        ("training.learning_rate", "fast", "a number from 1e-30 to 1e30"),
        ("training.learning_rate", "true", "a number from 1e-30 to 1e30"),
        ("training.learning_rate", "inf", "a number from 1e-30 to 1e30"),
        ("training.learning_rate", "nan", "a number from 1e-30 to 1e30"),
        ("training.learning_rate", "1e999", "a number from 1e-30 to 1e30"),
        ("training.learning_rate", "0", "a number from 1e-30 to 1e30"),
        ("training.decay.factor", "2", "between 0 and 1"),
        ("training.decay.epochs", "5", "a list"),
        ("training.decay.epochs", "[5, 3]", "rising"),
        ("training.decay.epochs", "[0]", "above 0"),
        ("training.decay.epochs", "[2.0]", "whole numbers"),
        ("training.decay.epochs", "[2147483648]", "below 2**31"),
        ("training.learning_rate", "1e300", "from 1e-30 to 1e30"),
        ("training.clip", "1e31", "from 0 to 1e30"),
        ("model.kernel_size", "101", "from 1 to 99"),
        ("model.filters", "10001", "up to 10000"),
        ("training.epochs", "1000001", "a whole number from 1 to 1000000"),
        ("training.steps", "2147483648", "a whole number from 0, below 2**31"),
        ("data.scenes", "1000001", "a whole number from 1 to 1000000"),
        ("training.decay.epochs", "[true]", "whole numbers"),
        ("training.decay.epochs", "[2", "a list"),
        ("name", "a/b", "it names a folder"),
        ("name", "..", "it names a folder"),
        ("seed", "1.5", "a whole number"),
        ("seed", "4294967296", "a whole number from 0 to 2**32 - 1"),
    ],
)
def test_wrong_values_are_named(key, value, allowed):
    with pytest.raises(ConfigError) as error:
        parse(f"--{key}={value}")
    assert f"{key}: received {value!r}; allowed: " in str(error.value) and allowed in str(error.value)


@pytest.mark.parametrize(
    "key, value, allowed",
    [
        ("data.patch_size", 512, "at most 256 with data.root: scenes"),
        ("data.cache", "disk", "none or memory"),
        ("data.root", None, "a text"),
        ("data.root", False, "a text"),
        ("data.on_error", None, "one of stop, skip"),
        ("model.filters", True, "a whole number above 0"),
        ("model.filters", 8.0, "a whole number above 0"),
        ("model.filters", None, "a whole number above 0"),
        ("model.levels", True, "one of 1, 2, 3"),
        ("model.global_skip", 1, "true or false"),
        ("training.learning_rate", float("nan"), "a number from 1e-30 to 1e30"),
        ("training.learning_rate", 10**400, "a number from 1e-30 to 1e30"),
        ("training.decay.epochs", None, "a list"),
        ("training.decay.epochs", {2: 3}, "a list"),
    ],
)
def test_values_of_wrong_types_are_named(key, value, allowed):
    with pytest.raises(ConfigError) as error:
        load_experiment(QUICKSTART, {key: value})
    assert f"{key}: received {value!r}; allowed: " in str(error.value) and allowed in str(error.value)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--training.batchsize", "3"], "no setting training.batchsize. Did you mean training.batch_size?"),
        (["--filters=3"], "no setting filters. Did you mean model.filters?"),
        (["--training.epoch", "3"], "no setting training.epoch. Did you mean training.epochs?"),
        (["--epochs", "3"], "no setting epochs. Did you mean training.epochs?"),
        (["--training.decay.epoch", "3"], "no setting training.decay.epoch. Did you mean training.decay.epochs?"),
        (["--outptu", "x"], "no setting outptu. Did you mean output?"),
        (["experiments/quickstart.yaml"], "'experiments/quickstart.yaml', which belongs to no flag"),
    ],
)
def test_unknown_flags_are_named(words, message, capsys):
    assert train.main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: x\ndata: {patchsize: 3}", ["data.patchsize", "Did you mean data.patch_size?"]),
        ("name: x\nbatch_size: 3", ["batch_size", "Did you mean training.batch_size?"]),
        ("name: x\ndata: scenes", ["data is a section", "'scenes'"]),
        ("name: x\nmodel: {filters: many}", ["model.filters: received 'many'", "a whole number above 0"]),
        ("name: x\ntraining:", ["training is a section", "None"]),
        ("name: x\ntraining: {clip: .inf}", ["training.clip: received inf", "a finite number from 0 to 1e30"]),
        ("seed: 3", ["name: received None"]),
        ("- 1\n- 2", ["holds no settings"]),
        ("", ["holds no settings"]),
        ("name: [", ["cannot read the experiment file"]),
        ("name: 2024-13-01", ["cannot read the experiment file"]),
    ],
)
def test_wrong_files_are_named(tmp_path, text, words):
    said = refused(tmp_path, text)
    assert all(word in said for word in words), said


def test_the_packages_experiments_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()  # a run, say
    assert load_experiment("quickstart") == load_experiment(QUICKSTART)
    Path("fine_tune").write_text("name: mine", encoding="utf-8")
    assert [load_experiment(name).name for name in ("fine_tune", "./fine_tune")] == ["fine_tune", "mine"]
    assert train.main(["--config", "fine_tune", "--print_config"]) == 0


def test_a_misspelt_name_is_told_the_right_one():
    with pytest.raises(ConfigError, match=r"^fine-tune: no such file\. .* quickstart.* Did you mean fine_tune\?$"):
        load_experiment("fine-tune")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.yaml"):
        load_experiment(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    "line, key, value",
    [
        ("training: {learning_rate: 5e-5}", "training.learning_rate", 5e-5),  # to YAML 1.1 a text
        ("training: {learning_rate: 1}", "training.learning_rate", 1.0),
        ("training: {epochs: '7'}", "training.epochs", 7),
        ("training: {decay: {epochs: [4, '5']}}", "training.decay.epochs", [4, 5]),
        ("training.decay.epochs: []", "training.decay.epochs", []),
        ("seed: 010", "seed", 10),  # YAML 1.1 means 8
        ("training: {epochs: 1_000}", "training.epochs", 1000),
        ("data: {root: 0123}", "data.root", "0123"),
        ("data: {root: 12:30}", "data.root", "12:30"),
        ("model: {global_skip: yes}", "model.global_skip", True),
        ("model: {levels: 2}", "model.levels", 2),
        ("data: {root: 2024}", "data.root", "2024"),
    ],
)
def test_what_yaml_writes_is_read_as_the_settings_type(tmp_path, line, key, value):
    path = tmp_path / "x.yaml"
    path.write_text(f"name: x\n{line}", encoding="utf-8")
    found = attrgetter(key)(load_experiment(path))
    assert found == value and type(found) is type(value)


def refused(tmp_path, text):
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_experiment(path)
    assert len(str(raised.value)) < 5000
    return str(raised.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("name: a\nseed: 1\nmodel:\n  levels: 2\nseed: 2\n", "'seed' is there twice, in lines 2 and 5"),
        ("name: a\nmodel:\n  levels: 2\nmodel:\n  blocks: 2\n", "'model' is there twice, in lines 2 and 4"),
        ("name: a\nmodel: {levels: 2, 'levels': 3}\n", "'levels' is there twice, in lines 2 and 2"),
        ("name: a\nmodel:\n  levels: 2\nmodel.levels: 3\n", "model.levels is there twice"),
    ],
)
def test_what_is_there_twice_is_refused_by_name(tmp_path, text, words):
    assert words in refused(tmp_path, text)


def test_anchors_and_merges_are_taken(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text("name: &a one\nmodel: &m {levels: 2, blocks: 3}\ntraining:\n  pretrained: *a\n")
    assert load_experiment(path).training.pretrained == "one"
    path.write_text("name: a\nmodel:\n  <<: {levels: 2, blocks: 3}\n  blocks: 4\n")
    assert vars(load_experiment(path).model).items() >= {"levels": 2, "blocks": 4}.items()


def test_small_files_are_answered_at_once(tmp_path):
    nine = "".join(f"- &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]\n" for level in range(1, 12))
    for key in ("seed", "model", "data.root", "training.decay.epochs", "model.levels"):
        assert "received" in refused(tmp_path, f"name: a\n{key}:\n- &l0 x\n{nine}").lower()
    refused(tmp_path, f"- &l0 x\n{nine}")
    assert "nested too deeply" in refused(tmp_path, "name: " + "[" * 50_000)
    assert "nested too deeply" in refused(tmp_path, "".join(" " * level + "a:\n" for level in range(400)))
    assert "too large" in refused(tmp_path, "name: a\n" + "#" * 200_000)
    refused(tmp_path, f"? {'a' * 90_000}\n: 1")
    with pytest.raises(ConfigError, match="received"):
        load_experiment(ROOT / "experiments" / "quickstart.yaml", {"training.decay.epochs": "[" * 50_000})


@pytest.mark.parametrize(
    "overrides, said",
    [
        ({"data.layout": "photos", "data.root": "p", "data.cache": "disk"}, "data.cache: received 'disk'"),
        ({"data.layout": "photos", "data.root": "p", "data.blur": "blur_gamma"}, "data.blur: received 'blur_gamma'"),
        ({"training.warmup": 10}, "training.warmup: received 10; allowed: 0 unless training.schedule is cosine"),
        (
            {"training.schedule": "cosine"},  # the file's own decay
            "training.decay.epochs: received [8, 12, 14]; allowed: [] where training.schedule is cosine",
        ),
        (
            {"training.schedule": "cosine", "training.decay": {"epochs": [], "factor": 0.25}},
            "training.decay.factor: received 0.25; allowed: 0.5, the default, where training.schedule is cosine",
        ),
    ],
)
def test_settings_that_would_do_nothing_are_refused(overrides, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        load_experiment(QUICKSTART, overrides)


def test_a_decay_that_says_nothing_may_stand_beside_a_cosine(tmp_path):
    recipe = load_experiment("photographs")
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")  # as a run records it, with the defaults of decay
    assert load_experiment(path) == recorded_experiment(path) == recipe
    overrides = {"training.schedule": "cosine", "training.decay.epochs": []}
    assert load_experiment(QUICKSTART, overrides).training.decay.epochs == []


def test_what_a_run_of_an_earlier_version_recorded_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(load_experiment(QUICKSTART)).replace("piecewise", "cosine"), encoding="utf-8")
    assert recorded_experiment(path).training.decay.epochs == [8, 12, 14]
    with pytest.raises(ConfigError, match="decay"):
        load_experiment(path)
