"""What all commands do alike: errors that a user can mend are answered in a sentence, others show their traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import pytest

from deepdeblur_tf.command_line import answered, folder_name
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import user_path
from deepdeblur_tf.restoration.jobs import find_jobs
from tests.helpers import ROOT, SMALL_FLAGS


@pytest.mark.parametrize(
    "error, status, said",
    [
        (UserError("data.root: not there"), 2, "error: data.root: not there"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "error: /x: Permission denied"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/.part", None, "/x"), 2, "error: /x: Is a directory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "error: No space left on device"),
        (MemoryError(), 2, "error: the memory is full"),
        (MemoryError("Unable to allocate 5 GiB"), 2, "error: Unable to allocate 5 GiB"),
        (KeyboardInterrupt(), 130, "\nstopped. Nothing was done."),
    ],
)
def test_what_a_user_can_mend_is_a_sentence(error, status, said, capsys):
    def command():
        raise error

    assert answered(command, "stopped. Nothing was done.") == status
    assert capsys.readouterr().err == f"{said}\n"


@pytest.mark.parametrize(
    "error", [ValueError("wrong"), FileNotFoundError("wrong"), ConnectionResetError(), KeyError(1)]
)
def test_a_defect_is_no_sentence(error):
    def command():
        raise error

    with pytest.raises(type(error)):
        answered(command, "stopped")


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_files_to_write_to(streams, model, scenes, tmp_path):
    iio.imwrite(tmp_path / "photo.png", scenes[0][0])
    command = f"{sys.executable} -m deepdeblur_tf.predict {model} photo.png --output out {streams}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(command, shell=True, cwd=tmp_path, env=environment, timeout=300).returncode == 0
    assert iio.imread(tmp_path / "out" / "photo.png").shape == scenes[0][0].shape


def test_who_reads_the_beginning_only_sees_no_traceback():
    command = f"set -o pipefail; {sys.executable} -m deepdeblur_tf.train --print_config | true"
    result = subprocess.run(["bash", "-c", command], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=300)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_name_that_begins_with_a_tilde_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("~nobody_of_this_name.txt", "~nobody_of_this_name/photo.jpg"):
        assert user_path(name) == Path(name)
    monkeypatch.setenv("HOME", "/home/someone")
    assert user_path("~/photo.jpg") == Path("/home/someone/photo.jpg")
    assert folder_name("~/out") == "/home/someone/out" and folder_name("s3://bucket/out") == "s3://bucket/out"
    with pytest.raises(UserError, match="no such file"):
        find_jobs(["~nobody_of_this_name.jpg"], tmp_path / "out")


def without_privileges(*arguments):
    """Runs Python in a process that file permissions hold for, which for root they do not."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    try:
        return subprocess.run(
            [*drop, sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
    except FileNotFoundError:
        pytest.skip("permissions do not hold for root, and there is no setpriv")


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A folder that nobody may enter, or write into."""
    folder = tmp_path_factory.mktemp("closed")
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "predict",
        pytest.param("evaluate", marks=pytest.mark.slow),
        pytest.param("export", marks=pytest.mark.slow),
    ],
)
def test_a_closed_output_folder_is_a_sentence(command, closed, model, scenes, tmp_path):
    iio.imwrite(tmp_path / "photo.png", scenes[0][0])
    for folder in (closed, closed / "new"):
        arguments = {
            "train": [*SMALL_FLAGS, "--output", folder],
            "predict": [model, tmp_path / "photo.png", "--output", folder],
            "evaluate": [model, "--data", "scenes", "--images", "1", "--output", folder],
            "export": [model, folder],
        }[command]
        result = without_privileges("-m", f"deepdeblur_tf.{command}", *map(str, arguments))
        assert result.returncode == 2, result.stderr
        assert result.stderr.startswith("error: ") and str(closed) in result.stderr
        assert "Permission denied" in result.stderr and result.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_read_stops_no_other(model, scenes, tmp_path):
    """As the lost+found of a disk."""
    iio.imwrite(tmp_path / "photo.png", scenes[0][0])
    (tmp_path / "lost+found").mkdir(0)
    result = without_privileges("-m", "deepdeblur_tf.predict", str(model), str(tmp_path), "--output", f"{tmp_path}/out")
    assert result.returncode == 0 and (tmp_path / "out" / "photo.png").is_file(), result.stderr
    assert f"cannot be read:\n  {tmp_path}/lost+found/\n" in result.stdout


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Keras 2 knows TensorFlow alone")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_keras_backend_is_a_sentence(backend, scenes, tmp_path):
    iio.imwrite(tmp_path / "photo.png", scenes[0][0])
    (tmp_path / "x.keras").touch()  # refused before it is read
    commands = f"""
import sys
from deepdeblur_tf import demo, evaluate, export, predict, train
x, out = {str(tmp_path / "x.keras")!r}, {str(tmp_path / "out")!r}
assert train.main([*{SMALL_FLAGS}, "--output", out]) == 2
assert predict.main([x, {str(tmp_path / "photo.png")!r}, "--output", out + "2"]) == 2
assert evaluate.main([x, "--data", "scenes", "--output", out + "3"]) == 2
assert export.main([x, out + "4"]) == 2
assert demo.main([x]) == 2
"""
    result = subprocess.run(
        [sys.executable, "-c", commands],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    sentence = f"error: KERAS_BACKEND: received '{backend}'; allowed: tensorflow"
    assert [line[: len(sentence)] for line in result.stderr.splitlines()] == [sentence] * 5
