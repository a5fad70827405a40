import json
import os
import subprocess
import sys
import time

import pytest

from deepdeblur_tf.files import UNFINISHED, walk, write_json, write_whole
from tests.helpers import ROOT


def test_a_file_is_written_whole_and_its_folder_made(tmp_path):
    path = tmp_path / "new" / "table.csv"

    def write(beside):
        assert beside.suffix == ".csv" and beside.parent == path.parent and not path.exists()
        assert beside.match(UNFINISHED)
        beside.write_text("1, 2")

    write_whole(path, write)
    assert path.read_text() == "1, 2" and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("old")

    def fail(beside):
        beside.write_text("half")
        raise error

    with pytest.raises(error):
        write_whole(path, fail)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_json_holds_names_that_are_no_utf_8(tmp_path):
    write_json(tmp_path / "a.json", {"name": "caf\udce9 – é"})
    content = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(content) == {"name": "caf\udce9 – é"} and "– é" in content


def test_a_second_writer_does_not_touch_what_the_first_is_writing(tmp_path):
    path = tmp_path / "text"

    def write(beside):
        beside.write_text("first half, ")
        write_whole(path, lambda other: other.write_text("another's"))
        assert path.read_text() == "another's"
        with open(beside, "a") as file:
            file.write("second half")

    write_whole(path, write)
    assert path.read_text() == "first half, second half" and list(tmp_path.iterdir()) == [path]


def test_two_processes_write_one_file_and_every_reader_finds_a_whole_one(tmp_path):
    path = tmp_path / "text"
    script = (
        "import sys, pathlib; from deepdeblur_tf.files import write_whole\n"
        "for _ in range(200): write_whole(pathlib.Path(sys.argv[1]), lambda p: p.write_text(sys.argv[2] * 200_000))"
    )
    command = [sys.executable, "-c", script, str(path)]
    processes = [subprocess.Popen([*command, letter], cwd=ROOT) for letter in "ab"]
    seen = set()
    while any(process.poll() is None for process in processes):
        if path.exists():
            seen.add(path.read_text())
    assert [process.returncode for process in processes] == [0, 0]
    assert seen | {path.read_text()} <= {"a" * 200_000, "b" * 200_000}
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed_after_a_day(tmp_path):
    script = (
        "import os, sys, pathlib; from deepdeblur_tf.files import write_whole\n"
        "write_whole(pathlib.Path(sys.argv[1]), lambda p: (p.write_text('half'), os._exit(9)))"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, str(tmp_path / "text")], cwd=ROOT, check=False)
    old, recent = tmp_path.glob(UNFINISHED)
    os.utime(old, (time.time() - 2 * 24 * 60 * 60,) * 2)
    (tmp_path / ".mine.part").write_text("another program's")
    write_whole(tmp_path / "text", lambda path: path.write_text("whole"))
    assert set(tmp_path.iterdir()) == {tmp_path / "text", tmp_path / ".mine.part", recent}


def test_a_walk_follows_links_but_not_in_circles_and_passes_by_what_is_hidden(tmp_path):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for file in (root / "b" / "2", root / "b" / "10", root / "1", root / ".hidden" / "3", root / "out" / "4"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (root / ".5").touch()
    elsewhere.mkdir()
    (elsewhere / "6").touch()
    (elsewhere / "back").symlink_to(root)
    (root / "a").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere)  # the same once more, and no circle
    found = [file.relative_to(root).as_posix() for _, files in walk(root, [root / "out"]) for file in files]
    assert found == ["1", "a/6", "b/10", "b/2", "c/6"]


def test_folders_that_are_linked_to_each_other_are_looked_through_at_once(tmp_path):
    names = [f"{number:02}" for number in range(9)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
        for other in names:
            if other != name:
                (tmp_path / name / other).symlink_to(tmp_path / other)
    found = [folder for folder, files in walk(tmp_path) if files]
    assert {folder.name for folder in found} == set(names) and len(found) < 9 + 9 * 9 + 9 * 16


def test_one_folder_may_be_linked_any_number_of_times(tmp_path):
    (tmp_path / "sharp").mkdir()
    (tmp_path / "sharp" / "a.png").touch()
    (tmp_path / "target").mkdir()
    for number in range(40):
        (tmp_path / "target" / f"{number:02}").symlink_to(tmp_path / "sharp")
    assert len([folder for folder, files in walk(tmp_path / "target") if files]) == 40
