"""What a release brings: a wheel with every module, experiment and trained network, and one version everywhere."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import imageio.v3 as iio
import numpy as np
import pytest
import yaml

import deepdeblur_tf
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for name in ("deepdeblur_tf", "experiments"):  # building writes beside what it reads
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", folder / "wheel", folder], check=True)
    (wheel,) = (folder / "wheel").iterdir()
    return wheel


@pytest.mark.slow
def test_a_wheel_holds_every_module_experiment_and_trained_network(wheel):
    files = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "deepdeblur_tf").rglob("*.py")}
    trained, examples = (
        {path.relative_to(ROOT).as_posix() for path in (ROOT / "deepdeblur_tf" / folder).iterdir()}
        for folder in ("trained", "examples")
    )
    experiments = {f"deepdeblur_tf/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.yaml")}
    assert "deepdeblur_tf/trained/photographs.keras" in trained
    assert files == modules | trained | examples | experiments | {"deepdeblur_tf/py.typed"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs what a wheel installs, in an environment with the dependencies and nothing of the clone."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([*install, "--prefix", folder, wheel], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # As a path alone, so that what the tests' environment adds to it, such as the clone, is not added here.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments):
        return subprocess.run(
            [folder / "bin" / "python", *arguments], cwd=folder, env=environment, capture_output=True, text=True
        )

    run.folder = folder
    return run


@pytest.mark.slow
def test_what_a_wheel_installs_restores_a_photo(installed, scenes):
    printed = installed("-c", "import sys, deepdeblur_tf; print(*sys.path, deepdeblur_tf.__file__)").stdout
    assert str(ROOT) not in printed.split() and str(installed.folder / "lib") in printed.split()[-1]
    iio.imwrite(installed.folder / "holiday.png", scenes[0][0])
    result = installed("bin/deepdeblur", "restore", "holiday.png")
    assert (result.returncode, result.stdout) == (0, "restored: 1 of 1 files are in restored\n"), result.stderr
    restored = iio.imread(installed.folder / "restored" / "holiday.png")
    np.testing.assert_array_equal(
        restored, deepdeblur_tf.restore(deepdeblur_tf.load_model("photographs"), scenes[0][0])
    )


@pytest.mark.slow
def test_what_a_wheel_installs_finds_its_experiments(installed):
    result = installed("bin/deepdeblur", "train", "--config", "fine_tune", "--print_config")
    assert (result.returncode, yaml.safe_load(result.stdout)["name"]) == (0, "fine_tune"), result.stderr


@pytest.mark.slow
def test_what_a_wheel_lacks_is_added_to_the_wheel(installed, wheel):
    code = "from deepdeblur_tf.errors import need; need('no_such_package', 'synthesis', 'this')"
    said = installed("-c", code).stderr.splitlines()[-1]
    assert said.endswith(f"Install it: pip install 'deepdeblur_tf[synthesis] @ {wheel.as_uri()}'")
    pip = [sys.executable, "-m", *shlex.split(said.partition("Install it: ")[2])]
    result = subprocess.run([*pip, "--dry-run", "--no-deps", "--no-index"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_citation_and_changelog_name_the_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert citation["version"] == deepdeblur_tf.__version__
    assert f"\n## {citation['version']} - {citation['date-released']}\n" in changelog
