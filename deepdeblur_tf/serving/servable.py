"""What a server of ours answers with: the signatures of a network, or of the newest version of an export."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from deepdeblur_tf.compat import tf
from deepdeblur_tf.errors import UserError, quiet_libraries
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.serving.formats import version_number
from deepdeblur_tf.serving.signatures import SIGNATURES, Service
from deepdeblur_tf.serving.tensors import BadRequest, TooLarge


class Servable(NamedTuple):
    """A version of a model, as TensorFlow Serving calls it.

    Attributes:
        version: Its number.
        signatures: By their names, functions from tensors to {name: tensor}.
        owner: What holds their variables, which functions alone do not keep.
    """

    version: int
    signatures: dict[str, tf.types.experimental.ConcreteFunction]
    owner: Any


def of_network(file: Path, max_pixels: int, scale: float | str = "auto") -> Servable:
    """A network's signatures as its export has them, version 1; `max_pixels` and `scale` as `Service` has them."""
    service = Service(load_model(file), max_pixels, scale)
    signatures = {name: getattr(service, name).get_concrete_function() for name in SIGNATURES}
    _set_up(signatures)
    return Servable(1, signatures, service)


def of_export(version: Path) -> Servable:
    """The signatures of an export's version folder.

    Raises:
        UserError: it holds no SavedModel that can be loaded.
    """
    try:
        with quiet_libraries():
            loaded = tf.saved_model.load(str(version))
        signatures = dict(loaded.signatures)
        _set_up(signatures)
    except (OSError, KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{version}: cannot be served ({reason}). Export the network once more.") from error
    return Servable(version_number(version) or 1, signatures, loaded)


def _set_up(signatures) -> None:
    """Calls each signature once, for nobody is to wait while it is optimised, nor read what libraries say meanwhile."""
    image = tf.zeros((1, 4, 4, 3), tf.uint8)
    tensors = {"image_bytes": tf.io.encode_png(image[0])[None], "image": image, "scale": tf.ones(1)}
    for signature in signatures.values():
        with quiet_libraries(), contextlib.suppress(tf.errors.InvalidArgumentError):  # a bound below 16 pixels
            signature(**{name: tensors[name] for name in inputs_of(signature)})


def inputs_of(signature) -> dict[str, tf.TensorSpec]:
    """What a signature takes, by name."""
    return {spec.name: spec for spec in tf.nest.flatten(signature.structured_input_signature)}


def answer_of(signature, tensors: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Calls a signature.

    Raises:
        BadRequest: says in a line what is wrong with the tensors.
    """
    try:
        return signature(**tensors)
    except tf.errors.InvalidArgumentError as error:
        message = _reason(error.message)
        # In the words of `signatures` and `decoding`; an empty picture is none that is too large.
        is_too_large = re.search(r"\b[1-9]\d*x[1-9]\d* pixels; allowed are ", message)
        raise (TooLarge if is_too_large else BadRequest)(message) from error


def _reason(message: str) -> str:
    """The line that says what went wrong, out of where in which file of this machine it did."""
    lines = re.findall(r"^(.+)\n\t \[\[\{\{node", message, re.M) or message.splitlines() or ["refused"]
    return re.sub(r"^assertion failed: \[(.*)\]$", r"\1", lines[-1])
