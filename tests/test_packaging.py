"""What a release brings: a wheel with every module, experiment and trained network, and one version everywhere."""

import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

import deepdeblur_tf
from tests.helpers import ROOT


@pytest.mark.slow
def test_a_wheel_holds_every_module_experiment_and_trained_network(tmp_path):
    for name in ("deepdeblur_tf", "experiments"):  # building writes beside what it reads
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", tmp_path / "wheel", tmp_path], check=True)
    (wheel,) = (tmp_path / "wheel").iterdir()
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "deepdeblur_tf").rglob("*.py")}
    trained = {path.relative_to(ROOT).as_posix() for path in (ROOT / "deepdeblur_tf" / "trained").iterdir()}
    experiments = {f"deepdeblur_tf/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.yaml")}
    assert "deepdeblur_tf/trained/photographs.keras" in trained
    assert files == modules | trained | experiments


def test_citation_and_changelog_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == deepdeblur_tf.__version__
    assert f"\n## {citation['version']} - {citation['date-released']}\n" in changelog
