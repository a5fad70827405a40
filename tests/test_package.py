"""What an import of the package gives: its names, and the devices."""

import ast
import re

import pytest

import deepdeblur_tf
from deepdeblur_tf.compat import tf
from deepdeblur_tf.errors import UserError, need
from deepdeblur_tf.memory import memory_budget
from tests.helpers import ROOT


def test_editors_see_the_names_that_are_loaded_at_their_first_use():
    source = (ROOT / "deepdeblur_tf" / "__init__.py").read_text(encoding="utf-8")
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {alias.asname: f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    homes = {name: f"deepdeblur_tf.{home}.{name}" for name, home in deepdeblur_tf._HOMES.items()}
    assert seen == {**homes, "metrics": "deepdeblur_tf.metrics"}


def test_a_missing_package_is_named_with_what_installs_it():
    need("numpy", "cluster", "this")
    words = re.escape(f"this needs no_such_package. Install it: pip install -e '{ROOT}[synthesis]'")
    with pytest.raises(UserError, match=f"{words}$"):
        need("no_such_package", "synthesis", "this")
    with pytest.raises(UserError, match=r"\[demo\]' \(Python 3.10 or later\)$"):
        need("no_such_package", "demo", "the page")


def test_a_gpu_counts_while_it_is_visible(monkeypatch):
    visible = [tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")]
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: visible)
    assert memory_budget() == 4 * 2**30
    visible.clear()
    assert memory_budget() != 4 * 2**30
