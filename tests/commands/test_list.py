"""`deepdeblur COMMAND`: the list of commands, and `restore`."""

import subprocess
import sys

import imageio.v3 as iio
import pytest

import deepdeblur_tf
from deepdeblur_tf.__main__ import COMMANDS, main


def test_without_a_command_it_lists_them(capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("usage: deepdeblur COMMAND ...\n")
    assert all(f"\n  {name} " in printed and line in printed for name, (_, _, line) in COMMANDS.items())


def test_it_tells_its_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert (end.value.code, capsys.readouterr().out) == (0, f"deepdeblur_tf {deepdeblur_tf.__version__}\n")


def test_the_list_loads_no_command():
    code = "import sys, deepdeblur_tf.__main__ as list\nlist.main([])\nprint(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = printed.splitlines()[-1].split()
    assert [name for name in loaded if name.startswith("deepdeblur_tf")] == ["deepdeblur_tf", "deepdeblur_tf.__main__"]
    assert "numpy" not in loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_a_command_as_it_was_called(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith((f"usage: deepdeblur {name} [", f"usage: deepdeblur {name} INPUT "))


def test_help_loads_no_tensorflow():
    code = "import contextlib, sys\nfrom deepdeblur_tf.__main__ import COMMANDS, main\nfor name in COMMANDS:\n"
    code += "    with contextlib.suppress(SystemExit): main([name, '--help'])\nsys.exit('tensorflow' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.count("usage: ") == len(COMMANDS)


def test_python_m_names_itself():
    run = [sys.executable, "-m", "deepdeblur_tf"]
    printed = subprocess.run([*run, "train", "--help"], capture_output=True, text=True, check=True).stdout
    assert printed.startswith("usage: python -m deepdeblur_tf train [")
    printed = subprocess.run([*run[:2], "deepdeblur_tf.train", "--help"], capture_output=True, text=True).stdout
    assert printed.startswith("usage: python -m deepdeblur_tf.train [")


@pytest.mark.parametrize("given, meant", [("trian", "train"), ("predict-many", "predict_many"), ("Restore", "restore")])
def test_a_misspelt_command_is_told_the_right_one(given, meant, capsys):
    assert main([given, "--help"]) == 2
    sentence = f"error: there is no command {given}. Did you mean {meant}? The commands are: {', '.join(COMMANDS)}.\n"
    assert capsys.readouterr().err == sentence


def test_a_photo_in_the_place_of_a_command_is_told_how_it_is_restored(tmp_path, capsys):
    photo = tmp_path / "holiday.jpg"
    photo.touch()
    assert main([str(photo)]) == 2
    assert f"Did you mean deepdeblur restore {photo}?" in capsys.readouterr().err


@pytest.mark.slow
def test_restore_takes_photographs_and_writes_into_restored(scenes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    iio.imwrite("holiday.png", scenes[0][0])
    assert main(["restore", "holiday.png"]) == 0
    assert capsys.readouterr().out == "restored: 1 of 1 files are in restored\n"
    restored = iio.imread("restored/holiday.png")
    network = deepdeblur_tf.load_model("photographs")
    assert (restored == deepdeblur_tf.restore(network, scenes[0][0])).all()
    # The folder of its results is no input, and another one and another network may be named.
    assert main(["restore", ".", "--output", "elsewhere", "--model", "nothing"]) == 2
    assert "nothing: no such run" in capsys.readouterr().err
    assert main(["restore", "."]) == 0
    assert "1 of 1 files are in restored already" in capsys.readouterr().out
