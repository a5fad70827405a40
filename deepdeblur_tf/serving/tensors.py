"""The JSON of TensorFlow Serving's REST: what a request's body means as tensors, and tensors as an answer.

As its page "RESTful API" defines it: "instances" in rows, one a picture, or "inputs" in columns; bytes as
{"b64": "..."}; "signature_name" chooses the signature.
"""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np

from deepdeblur_tf.compat import tf

SIGNATURE = "serving_default"


class BadRequest(ValueError):
    """A body that is no request, or pictures that are refused; the message says what was received, what is allowed."""

    status = 400


class TooLarge(BadRequest):
    """Pictures of more pixels than are allowed."""

    status = 413


class Request(NamedTuple):
    """What a body asks for; `values` are rows or columns, which `tensors_of` makes tensors of."""

    signature: str
    values: Any
    in_rows: bool


def read_request(body: bytes) -> Request:
    """Reads a request's body.

    Raises:
        BadRequest: it is no JSON of this kind.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON ({error})") from error
    if not isinstance(content, dict) or ("instances" in content) == ("inputs" in content):
        raise BadRequest('allowed is a JSON object with either "instances", in rows, or "inputs", in columns')
    signature = content.get("signature_name", SIGNATURE)
    if not isinstance(signature, str):
        raise BadRequest("signature_name: allowed is a string")
    in_rows = "instances" in content
    return Request(signature, content["instances" if in_rows else "inputs"], in_rows)


def tensors_of(request: Request, specs: dict[str, tf.TensorSpec]) -> dict[str, tf.Tensor]:
    """A request's tensors.

    Args:
        request: What was asked for.
        specs: What the signature takes, by name.

    Raises:
        BadRequest: they do not fit the signature.
    """
    if not request.in_rows:
        columns = _named(request.values, specs, "inputs")
    elif not isinstance(request.values, list) or not request.values:
        raise BadRequest("instances: allowed is a list of one or more")
    else:
        rows = [_named(row, specs, f"instances[{number}]") for number, row in enumerate(request.values)]
        columns = {name: [row[name] for row in rows] for name in specs}
    return {name: _tensor(columns[name], spec) for name, spec in specs.items()}


def answer_text(outputs: dict[str, tf.Tensor], in_rows: bool) -> str:
    """The JSON that answers a request in rows, or in columns; of a single output the values without its name."""
    columns = {name: _values(tensor) for name, tensor in outputs.items()}
    (only,) = columns if len(columns) == 1 else (None,)
    if not in_rows:
        return json.dumps({"outputs": columns[only] if only else columns})
    if only:
        return json.dumps({"predictions": columns[only]})
    return json.dumps({"predictions": [dict(zip(columns, row)) for row in zip(*columns.values())]})


def described(spec) -> dict:
    """An input or output of a signature as TensorFlow's SignatureDef has it."""
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
    shape = {"dim": sizes, "unknown_rank": False}
    kind = "FLOAT" if spec.dtype == tf.float32 else spec.dtype.name.upper()
    return {"dtype": f"DT_{kind}", "tensor_shape": shape, "name": spec.name}


def _is_bytes(value) -> bool:
    return isinstance(value, dict) and value.keys() == {"b64"}


def _named(value, specs, where: str) -> dict:
    """A row's values, or the columns, by input; of a single input they may stand there without its name."""
    if isinstance(value, dict) and not _is_bytes(value):
        if value.keys() == specs.keys():
            return value
        raise BadRequest(f"{where}: received {_short(list(value))}; allowed: {', '.join(specs)}")
    if len(specs) != 1:
        raise BadRequest(f"{where}: allowed is an object of {', '.join(specs)}")
    return dict.fromkeys(specs, value)


def _tensor(values, spec: tf.TensorSpec) -> tf.Tensor:
    try:
        if spec.dtype == tf.string:
            array = np.array(_decoded(values), object)
            if any(isinstance(each, list) for each in array.flat):
                raise ValueError("its lists are of different lengths")
        else:
            array = np.array(values)
            if array.dtype.kind not in ("iuf" if spec.dtype.is_floating else "iu"):
                raise ValueError("not all of it are such numbers")
            cast = array.astype(spec.dtype.as_numpy_dtype)
            if spec.dtype.is_integer and not np.array_equal(cast, array):
                raise ValueError(f"not all of it are {spec.dtype.min} to {spec.dtype.max}")
            array = cast
        if not spec.shape.is_compatible_with(array.shape):
            raise ValueError(f"its shape is {list(array.shape)}")
    except (ValueError, OverflowError, RecursionError) as error:
        shape = str([size or "any" for size in spec.shape]).replace("'", "")
        what = 'strings, {"b64": "..."}' if spec.dtype == tf.string else spec.dtype.name
        raise BadRequest(f"{spec.name}: allowed are {what} of shape {shape} ({error})") from error
    return tf.constant(array, spec.dtype)


def _decoded(value):
    """Strings as bytes, in lists as they are."""
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if isinstance(value, str):
        return value.encode()
    if _is_bytes(value) and isinstance(value["b64"], str):
        return base64.b64decode("".join(value["b64"].split()), validate=True)
    raise ValueError(f"received {_short(value)}")


def _values(tensor: tf.Tensor) -> list:
    """Numbers as they are, bytes as objects, as TensorFlow Serving writes outputs whose names end in _bytes."""
    array = tensor.numpy()
    if tensor.dtype != tf.string:
        return array.tolist()
    return [{"b64": base64.b64encode(each).decode()} for each in array]


def _short(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
