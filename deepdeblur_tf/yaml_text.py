"""YAML as users write it: nothing twice, and no more than fits into a message."""

from __future__ import annotations

import reprlib
from typing import Any

import yaml

MOST = 100_000  # characters of a file, of which the largest experiment takes a twentieth
_MOST_NESTED = 100  # lists in lists, in one line

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict = 2, 20, 20, 20
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 500


def shown(value: Any) -> str:
    """A value as Python writes it, shortened: nine lists, each nine times the one before, would be pages upon pages."""
    return _REPR.repr(value)


class _Loader(yaml.SafeLoader):
    def fetch_flow_collection_start(self, kind):
        if self.flow_level == _MOST_NESTED:  # each takes as long as all before
            raise yaml.YAMLError("it is nested too deeply")
        super().fetch_flow_collection_start(kind)

    def compose_mapping_node(self, anchor):
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise yaml.YAMLError(f"{shown(key.value)} is there twice, in lines {lines[key.value]} and {line}")
                lines[key.value] = line
        return node


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int | str:
    """A number, or its text where that is no decimal one: YAML 1.1 would silently take 010 for 8 and 12:30 for 750."""
    number = loader.construct_yaml_int(node)
    return number if str(number) == node.value else node.value


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def load_yaml(text: str) -> Any:
    """What a YAML text says, without Python's own objects.

    Raises:
        yaml.YAMLError: it is no YAML, says something twice, or is nested without end.
        ValueError: it holds a date such as 2024-13-01.
    """
    try:
        return yaml.load(text, _Loader)
    except RecursionError as error:
        raise yaml.YAMLError("it is nested too deeply") from error
