"""A network's graph, its layers and what connects them, as Keras 2 and Keras 3 write it down, compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdeblur_tf.compat import tf

# Of a layer's settings, what changes nothing in what it computes once it has its arrays.
_WITHOUT_EFFECT = ("name", "dtype", "trainable")
_WITHOUT_EFFECT_ENDS = ("_initializer", "_regularizer", "_constraint")


def graph_differences(held: dict, network: tf.keras.Model) -> list[str]:
    """What differs between a file's graph and a network's, a text each, "(there / here)".

    Args:
        held: The file's, as the "config" of a config.json.
        network: The network.
    """
    built = network.get_config()
    there, here = _layers(held), _layers(built)
    lines = [f"the layer {name} is there only" for name in there.keys() - here.keys()]
    lines += [f"the layer {name} is here only" for name in here.keys() - there.keys()]
    for name in sorted(there.keys() & here.keys()):
        # One Keras may tell more of a layer than the other.
        shared = [key for key in there[name] if key in here[name] and there[name][key] != here[name][key]]
        lines += [f"{name}: {key} {_told(there[name][key])} / {_told(here[name][key])}" for key in shared]
    for ends in ("input_layers", "output_layers"):
        if _names(held[ends]) != _names(built[ends]):
            lines.append(f"{ends}: {_names(held[ends])} / {_names(built[ends])}")
    return lines


def _layers(config: dict) -> dict[str, dict[str, Any]]:
    """What each layer is, and what it takes, by the layers' names."""
    found = {}
    for layer in config["layers"]:
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in layer["config"].items()
            if key not in _WITHOUT_EFFECT and not key.endswith(_WITHOUT_EFFECT_ENDS)
        }
        found[layer["config"]["name"]] = {
            "class": layer["class_name"],
            "inputs": _names(layer["inbound_nodes"]),
            **settings,
        }
    return found


def _names(nodes: Any, is_node: bool = True) -> list[str]:
    """The layers that inputs come from, in order: ["NAME", 0, 0, ...], which Keras 3 has in its tensors' history."""
    if isinstance(nodes, dict):
        return nodes["keras_history"][:1] if "keras_history" in nodes else _names(list(nodes.values()), False)
    if not isinstance(nodes, (list, tuple)):
        return []
    if is_node and nodes and isinstance(nodes[0], str):
        return [nodes[0]]
    return [name for node in nodes for name in _names(node)]


def _told(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
