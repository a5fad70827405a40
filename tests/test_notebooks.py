"""Every notebook runs from top to bottom."""

import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def replace(path, **values):
    """Changes the numbers in `name: 4` (YAML) or `name = 4` (a notebook), each of which must be there once."""
    text = path.read_text(encoding="utf-8")
    for name, value in values.items():
        text, count = re.subn(rf"({name}(?:: | = ))\d+", rf"\g<1>{value}", text)
        assert count == 1, name
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of what the notebooks need, for they write into `runs`. The later ones use the second one's network.

    The network and its training are smaller than a reader's, for the cells are tested here and not the results.
    """
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("experiments", "notebooks"):
        shutil.copytree(ROOT / name, folder / name)
    replace(folder / "experiments" / "quickstart.yaml", blocks=1, filters=8, images=4)
    replace(folder / "notebooks" / "2_training.ipynb", SCENES=16, EPOCHS=3)
    replace(folder / "notebooks" / "5_change_one_thing.ipynb", SCENES=16, EPOCHS=1, FILTERS=4, BLOCKS=1)
    return folder / "notebooks"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # as Jupyter does
    notebook = nbformat.read(folder / path.name, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = [output.get("data", {}).get("text/plain", "") for output in outputs]
    assert [text for text in printed if text.startswith("ERROR")] == []  # so TensorBoard says that it did not begin


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_its_outputs_in_order_and_without_errors(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert any(kind.startswith("image/") for output in outputs for kind in output.get("data", {}))
    assert path.stat().st_size < 1_000_000
    assert str(ROOT.parent) not in path.read_text(encoding="utf-8")  # no paths of the machine that ran it
