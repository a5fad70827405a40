"""The rooms: imports point one way, what mypy checks loads no TensorFlow, CONTRIBUTING.md's tree shows every file."""

import ast
import configparser
import re
import subprocess
import sys
from importlib.util import find_spec

import deepdeblur_tf.__main__
from tests.helpers import ROOT

PACKAGE = ROOT / "deepdeblur_tf"
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"
}
COMMANDS = {"__main__", *(module for module, _, _ in deepdeblur_tf.__main__.COMMANDS.values())}
# A room imports from itself and from those before it.
ROOMS = (
    *("files", "images", "synthesis", "creation", "data", "runs", "networks", "restoration"),
    *("cluster", "training", "evaluation", "serving", "commands"),
)


def room(module):
    """The rank of a module's room in ROOMS; the files at the top of the package are one room."""
    name = "commands" if module in COMMANDS else module.split(".")[0] if "." in module else "files"
    return ROOMS.index(name)


def imported(path):
    """The package's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name.partition(".")[2] for name in names if name.startswith("deepdeblur_tf."))


def test_imports_point_one_way():
    imports = [(module, other) for module, path in MODULES.items() for other in MODULES.keys() & set(imported(path))]
    assert len(imports) > len(MODULES)
    assert [(module, other) for module, other in imports if room(other) > room(module) or other in COMMANDS] == []


def test_no_modules_import_each_other_in_a_circle():
    left = {module: MODULES.keys() & set(imported(path)) for module, path in MODULES.items()}
    while free := {module for module, others in left.items() if not others & left.keys()}:
        left = {module: others for module, others in left.items() if module not in free}
    assert left == {}  # each of these is in a circle, or imports one that is


def test_no_test_imports_from_a_test():
    files = (ROOT / "tests").rglob("*.py")
    lines = {f"{file.name}: {line}" for file in files for line in file.read_text(encoding="utf-8").splitlines()}
    assert [line for line in lines if re.match(r"\S+ \s*(from|import) \S*\btest_\w+", line)] == []


def test_what_mypy_checks_loads_no_tensorflow():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    checked = [ROOT / name.strip() for name in setup["mypy"]["files"].split(",")]
    light = [module for module, path in MODULES.items() if {path, path.parent} & set(checked)]
    if find_spec("ray") is None:  # the extra `cluster`
        light = [module for module in light if not module.startswith("cluster.")]
    assert COMMANDS < set(light)
    code = "".join(f"import deepdeblur_tf.{module}\n" for module in light)
    code += "import sys; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_command_is_in_the_list_of_commands():
    begun_by_name = {module for module, path in MODULES.items() if '__name__ == "__main__"' in path.read_text("utf-8")}
    assert begun_by_name == COMMANDS


def test_no_module_at_the_top_shadows_a_public_function():
    functions = set(deepdeblur_tf.__all__) - {"metrics"}  # that one is a module
    assert not functions & {name.partition(".")[0] for name in MODULES}


def test_the_tree_shows_every_module():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tree = re.search(r"^## Where things are\n.*?^```\n(.*?)^```", page, re.M | re.S)[1]
    shown = []
    for folder, names in re.findall(r"^  (?:(\w+)/ +)?(\w+(?: \w+)*)  ", tree, re.M):
        shown += [f"{folder}.{name}" if folder else name for name in names.split()]
    assert sorted(shown) == sorted(MODULES)
