"""Every public name says what it takes and gives, and its example runs."""

import doctest
import inspect

import pytest

import deepdeblur_tf
from deepdeblur_tf import metrics
from tests.helpers import ROOT

PUBLIC = {
    **{name: getattr(deepdeblur_tf, name) for name in deepdeblur_tf.__all__ if name != "metrics"},
    **{
        f"metrics.{name}": function
        for name, function in inspect.getmembers(metrics, inspect.isfunction)
        if function.__module__ == metrics.__name__ and not name.startswith("_")
    },
}
WITHOUT_IMAGES = ("load_experiment", "load_model", "make_optimizer")


def test_the_package_lists_its_public_names():
    assert len(PUBLIC) == len(deepdeblur_tf.__all__) + 3  # four measures instead of `metrics`
    assert [name for name in PUBLIC if name.rpartition(".")[2] not in deepdeblur_tf.__doc__] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_its_docstring_has_shapes_and_an_example_that_runs(name, tmp_path, monkeypatch):
    documentation = inspect.getdoc(PUBLIC[name])
    assert name in WITHOUT_IMAGES or "H, W" in documentation
    (example,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    assert example.examples, f"{name} has no example"
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")  # an example may write files
    monkeypatch.chdir(tmp_path)
    failures = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=failures.append)
    assert not failures, "".join(failures)
