"""The record of what results were made of. Loads no TensorFlow."""

import json
import os

import pytest

from deepdeblur_tf.restoration.results import Results

HOW = {"network": "0a1b", "options": {"tile": None}}


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "photos" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"blurry")
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def opened(folder, how=HOW):
    results = Results(folder, how)
    results.read()
    return results


def write(folder, source, name="a.png", content=b"sharp", how=HOW, kind="restored"):
    results = Results(folder, how)
    results.write(folder / name, results.recipe(source, kind), lambda path: path.write_bytes(content))


def state(folder, source, name="a.png", how=HOW, kind="restored"):
    results = opened(folder, how)
    return results.state(folder / name, results.recipe(source, kind))


def test_the_states_of_a_result(folder, source):
    assert state(folder, source) == "missing"
    write(folder, source)
    assert state(folder, source) == "done"
    assert state(folder, source, how={**HOW, "network": "ffff"}) == "outdated"
    assert state(folder, source, how={**HOW, "options": {"tile": 256}}) == "outdated"
    assert state(folder, source, kind="comparison") == "outdated"
    source.write_bytes(b"another photo")
    assert state(folder, source) == "outdated"
    write(folder, source)
    assert state(folder, source) == "done"
    (folder / "a.png").write_bytes(b"mine")
    assert state(folder, source) == "foreign"
    (folder / "a.png").unlink()
    assert state(folder, source) == "missing"


def test_a_link_to_nowhere_is_foreign(folder, source):
    (folder / "a.png").symlink_to(folder / "none")
    assert state(folder, source) == "foreign"


def test_another_source_of_the_same_name_is_no_reason_to_replace(tmp_path, folder, source):
    write(folder, source)
    other = tmp_path / "a.png"
    other.write_bytes(b"another")
    assert state(folder, other) == "foreign"
    os.replace(source, other)  # moved
    assert state(folder, other) == "done"


def test_names_of_any_kind(folder, source):
    for name in ("Jürgen \u202e.png", os.fsdecode(b"\xff.png"), "a\nb.png"):
        write(folder, source, name)
        assert state(folder, source, name) == "done"


def test_a_failed_write_leaves_the_old_result_done(folder, source):
    write(folder, source)
    results = opened(folder, {**HOW, "network": "ffff"})

    def fail(path):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        results.write(folder / "a.png", results.recipe(source, "restored"), fail)
    assert state(folder, source) == "done" and (folder / "a.png").read_bytes() == b"sharp"


def test_of_two_processes_the_one_whose_file_is_there_counts(folder, source):
    """Whichever of their lines is the last: both write their line before their file gets its name."""
    one, other = ({**HOW, "network": network} for network in ("1111", "2222"))
    first = Results(folder, one)

    def overtaken(path):
        path.write_bytes(b"by one")
        write(folder, source, how=other, content=b"by the other")
        assert state(folder, source, how=other) == "done"

    first.write(folder / "a.png", first.recipe(source, "restored"), overtaken)
    assert (folder / "a.png").read_bytes() == b"by one"
    assert state(folder, source, how=one) == "done" and state(folder, source, how=other) == "outdated"


def test_lines_that_were_cut_off_are_passed_over(folder, source):
    write(folder, source)
    results = opened(folder)
    with open(folder / "restored.jsonl", "a") as file:
        file.write('{"name": "b.png", "si')
    results.read()
    write(folder, source, "c.png")
    results.read()
    for name in ("a.png", "c.png"):
        assert results.state(folder / name, results.recipe(source, "restored")) == "done"
        assert state(folder, source, name) == "done"


@pytest.mark.parametrize("content", ["", "no JSON\n", "[]\n", "null\n", '{"name": []}\n', "\n\n"])
def test_another_programs_record_is_no_record(folder, source, content):
    (folder / "restored.jsonl").write_text(content)
    assert state(folder, source) == "missing"
    write(folder, source)
    assert state(folder, source) == "done"
    assert (folder / "restored.jsonl").read_text().startswith(content)


def test_a_line_says_what_a_person_wants_to_know(folder, source):
    write(folder, source, "2024/a.png")
    (line,) = (folder / "restored.jsonl").read_text().splitlines()
    made_of = json.loads(line)["made_of"]
    assert json.loads(line)["name"] == "2024/a.png" and made_of["source"]["path"] == str(source)
    assert made_of["kind"] == "restored" and made_of["network"] == HOW["network"]
