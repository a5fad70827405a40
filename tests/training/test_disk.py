"""Full and read-only disks, for real: a small tmpfs."""

import os
import resource
import subprocess

import numpy as np
import pytest

from deepdeblur_tf import export
from deepdeblur_tf.compat import tf
from deepdeblur_tf.data.paired_files import find_pairs
from deepdeblur_tf.data.protocol import PairsError
from deepdeblur_tf.data.sources import Files, OnDisk
from deepdeblur_tf.files import UNFINISHED, disk_fault
from deepdeblur_tf.model import build_model
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.train import main
from tests.helpers import SMALL_FLAGS, read_csv


@pytest.fixture
def disk(tmp_path):
    """A file system of 600 kB that can be made larger or read-only: disk("size=50m")."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )

    if not hasattr(os, "geteuid") or os.geteuid() != 0 or mount("size=600k").returncode != 0:
        pytest.skip("a tmpfs can be mounted by root only")
    try:
        yield folder, lambda options: mount(f"remount,{options}").check_returncode()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_named_and_the_run_continues_when_there_is_room(tmp_path, disk, capfd):
    folder, remount = disk
    flags = [*SMALL_FLAGS, "--model.levels=1", "--training.epochs=6"]
    assert main(["--output", str(tmp_path / "whole"), *flags]) == 0
    capfd.readouterr()
    assert main(["--output", str(folder / "run"), *flags]) == 2
    error = capfd.readouterr().err
    assert f"{folder / 'run'} cannot be written any more: No space left on device" in error
    assert "the same command continues the run" in error and "Traceback" not in error
    assert not list((folder / "run").rglob(UNFINISHED))  # nothing half-written that takes up room or is trusted later
    remount("size=50m")
    assert main(["--output", str(folder / "run"), *flags]) == 0
    for one, other in zip(load_model(folder / "run").get_weights(), load_model(tmp_path / "whole").get_weights()):
        np.testing.assert_array_equal(one, other)
    rows, others = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in read_csv(run / "history.csv")]
        for run in (folder / "run", tmp_path / "whole")
    )
    assert rows == others


def test_a_read_only_disk_is_named(disk, capfd):
    folder, remount = disk
    remount("ro,size=600k")
    assert main(["--output", str(folder / "run"), *SMALL_FLAGS]) == 2
    error = capfd.readouterr().err
    assert "cannot be written" in error and "Read-only file system" in error and "Traceback" not in error


@pytest.mark.slow
def test_an_export_that_finds_no_room_leaves_no_version(tmp_path, disk, capfd):
    folder, remount = disk
    build_model(blocks=1, filters=4, kernel_size=3).save(tmp_path / "small.keras")
    assert export.main([str(tmp_path / "small.keras"), str(folder / "exported")]) == 2
    error = capfd.readouterr().err
    assert "cannot be written: No space left on device. Nothing was exported." in error and "Traceback" not in error
    assert [path.name for path in (folder / "exported").iterdir()] == [".lock"]
    remount("size=50m")
    assert export.main([str(tmp_path / "small.keras"), str(folder / "exported")]) == 0


def test_the_room_for_a_cache_is_checked_before(disk, gopro, write_pairs, tmp_path):
    folder, _ = disk
    pairs = find_pairs(gopro, "train").pairs
    OnDisk(Files(pairs), folder / "cache")  # 4 pairs of 40x48: 46 kB
    large = write_pairs([("input", "target")], size=(300, 400), root=tmp_path / "large")
    with pytest.raises(PairsError, match="has 0.0 GB free, and the decoded images need"):
        OnDisk(Files(find_pairs(large, "train").pairs), folder / "cache")


def test_a_cache_that_fills_the_disk_is_named(disk, gopro):
    folder, _ = disk
    source = OnDisk(Files(find_pairs(gopro, "train").pairs), folder / "cache")
    with pytest.raises(OSError, match="No space left"), open(folder / "other", "wb") as other:
        other.write(bytes(10**6))
    with pytest.raises(PairsError, match="data.cache_folder: cannot write to .*No space left on device"):
        source.read(0)
    assert not list((folder / "cache").iterdir())


def test_a_limit_of_files_sizes_is_a_fault_of_the_disk(tmp_path):
    """As `ulimit -f` sets one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        for write in (
            lambda path: path.write_bytes(bytes(2000)),
            lambda path: tf.io.write_file(str(path), bytes(2000)),
        ):
            with pytest.raises(Exception) as error:
                write(tmp_path / "file")
            assert disk_fault(error.value) == "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
