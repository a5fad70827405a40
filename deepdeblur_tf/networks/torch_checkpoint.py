"""Checkpoints as PyTorch's `torch.save({"G": network.state_dict()}, path)` writes them, read and written without it.

Since PyTorch 1.6 such a file is a zip file of

    NAME/data.pkl       a pickle: each tensor's name, shape, and place in one of the storages
    NAME/data/0, 1, ... the storages, bare numbers

and before that, as the authors' first networks may be, the same in a row: five pickles, then the storages.

A pickle is a program for a small machine that can import and call anything. None of it is run here: `pickletools` lists
its instructions, and those few that a state dict needs are followed on dicts, lists, tuples, numbers and texts. What
else it asks for is refused by name. Whatever a file claims, it takes no more memory than its own size justifies.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import write_whole

_MOST_PICKLE = 1_000_000  # bytes; the largest network that `build_model` builds takes a fifth of it
_MOST_SIDES = 8  # of a tensor; kernels have four
_OLD_START = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)  # two of the five pickles

_DICT = "collections OrderedDict"  # as pickles name it
_TENSOR = "torch._utils _rebuild_tensor_v2"
_STORAGES: dict[str, np.dtype] = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),  # of counters, beside the network
}


class CheckpointError(UserError):
    """A checkpoint that cannot be read or written; the message names the file and says why."""


class _Storage(NamedTuple):
    """Numbers in a file: their type, and the name of their storage."""

    dtype: np.dtype
    key: str


class _Tensor(NamedTuple):
    """A part of a storage; the offset and the strides count numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_checkpoint(path: Path, check: Callable[[Mapping[str, tuple]], None]) -> tuple[dict[str, np.ndarray], set[str]]:
    """Reads the tensors of a checkpoint's "G", the network that restores.

    Args:
        path: The file.
        check: Called with the tensors' shapes by name before any of them is read; raises ValueError where they are not
            the wanted ones.

    Returns:
        (float32 arrays by name, the names of what the file holds beside "G").

    Raises:
        CheckpointError: the file is damaged, none of PyTorch's, asks for code to be run, or failed the check.
    """
    with open(path, "rb") as file:
        try:
            is_archive = file.read(2) == b"PK"
            file.seek(0)
            content, read = _opened_archive(zipfile.ZipFile(file)) if is_archive else _opened_old_format(file)
            return _arrays(content, read, check, os.path.getsize(path)), content.keys() - {"G"}
        except MemoryError:
            raise
        except Exception as error:  # damaged files raise nearly anything
            reason = str(error)[:300] or type(error).__name__
            raise CheckpointError(f"{path}: is not a checkpoint of DeepDeblur-PyTorch: {reason}") from error


def _opened_archive(archive: zipfile.ZipFile):
    """What a zip file describes, and a function from a storage to its bytes."""
    roots = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("it holds no data.pkl. If it is an archive that was downloaded, give a .pt file out of it")

    def read(name: str) -> bytes:
        entry = archive.getinfo(roots[0] + name)
        if entry.compress_type != zipfile.ZIP_STORED:  # PyTorch's are not, and a small file unpacks to a large one
            raise ValueError(f"its {name} is compressed")
        return archive.read(entry)

    if f"{roots[0]}byteorder" in archive.namelist() and read("byteorder") != b"little":
        raise ValueError("it was written on a big-endian machine")
    return _unpickled(io.BytesIO(read("data.pkl"))), lambda storage: read(f"data/{storage.key}")


def _opened_old_format(file):
    """The same of a file in the format before PyTorch 1.6."""
    if file.read(len(_OLD_START)) != _OLD_START:
        raise ValueError("it does not begin as PyTorch's files do")
    if _unpickled(file)["little_endian"] is not True:
        raise ValueError("it was written on a big-endian machine")
    content, keys = _unpickled(file), _unpickled(file)
    if not all(isinstance(key, str) for key in keys):  # hashing a tuple of tuples, each twice in the next, has no end
        raise ValueError("its pickle describes no storages")
    networks = [network for network in content.values() if isinstance(network, dict)]
    tensors = [tensor for network in networks for tensor in network.values() if isinstance(tensor, _Tensor)]
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors}
    places = {}
    for key in keys:  # each storage is the count of its numbers, then the numbers
        size = int.from_bytes(file.read(8), "little") * dtypes[key].itemsize
        places[key] = file.tell(), size
        if file.seek(size, os.SEEK_CUR) > os.fstat(file.fileno()).st_size:
            raise ValueError("it is cut off")

    def read(storage: _Storage) -> bytes:
        begin, size = places[storage.key]
        file.seek(begin)
        return file.read(size)

    return content, read


def _arrays(content, read: Callable[[_Storage], bytes], check, room: int) -> dict[str, np.ndarray]:
    """The tensors of "G"; together they may take `room` bytes in the file."""
    tensors = content.get("G") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, _Tensor) for tensor in tensors.values()):
        raise ValueError('it holds no tensors by the name of "G"')
    check({name: tensor.shape for name, tensor in tensors.items()})
    arrays = {}
    for name, (storage, offset, shape, strides) in tensors.items():
        room -= math.prod(shape) * storage.dtype.itemsize
        if storage.dtype.kind != "f" or min(offset, *shape, *strides) < 0 or room < 0:
            raise ValueError(f"its {name} is no tensor of floating-point numbers, or larger than the file")
        numbers = np.frombuffer(read(storage), storage.dtype)
        last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides))
        if last >= len(numbers):
            raise ValueError(f"its {name} is larger than what is stored of it")
        steps = [stride * storage.dtype.itemsize for stride in strides]
        with np.errstate(over="ignore"):
            arrays[name] = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps).astype(np.float32)
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"its {name} holds NaN or infinity")
    return arrays


def _unpickled(file) -> Any:
    """What the pickle at a file's position describes. Calls and imports nothing.

    Raises:
        ValueError, IndexError, KeyError, TypeError: it is damaged, or holds what no state dict needs.
    """
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks below the marks
    memo: dict[Any, Any] = {}
    for opcode, argument, position in pickletools.genops(file):
        name = opcode.name
        if (position or 0) > _MOST_PICKLE:
            raise ValueError("its pickle is too long")
        if isinstance(argument, str) and not argument.isprintable():
            raise ValueError("its pickle holds a text that cannot be printed")
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            below.append(stack)
            stack = []
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _STEPS:
            operands, count = [], len(opcode.stack_before)
            if pickletools.markobject in opcode.stack_before:
                operands, stack, count = [stack], below.pop(), count - 2  # all that lies above the mark
            operands = [stack.pop() for _ in range(count)][::-1] + operands
            stack.append(_STEPS[name](argument, *operands))
        elif name != "PROTO":
            raise ValueError(f"its pickle holds the instruction {name}, which no checkpoint needs")
    raise ValueError("its pickle has no end")


def _named(name: str) -> str:
    if name not in (_DICT, _TENSOR, *_STORAGES):
        raise ValueError(f"it asks for {name.replace(' ', '.')}, which is code. Nothing of it was run")
    return name


def _called(name, arguments):
    if name == _DICT and arguments == ():
        return {}
    storage, offset, shape, strides = arguments[:4]
    # Before they are looked through: thousands of tensors may share one shape of a million sides.
    if name != _TENSOR or not isinstance(storage, _Storage) or not len(shape) == len(strides) <= _MOST_SIDES:
        raise ValueError("its pickle describes no tensors")
    if not all(isinstance(count, int) for count in (offset, *shape, *strides)):
        raise ValueError("its pickle describes no tensors")
    return _Tensor(storage, offset, shape, strides)


def _stored(place) -> _Storage:
    kind, name, key, _, _, *view = place if len(place) in (5, 6) else [None] * 5
    if kind != "storage" or not isinstance(name, str) or not isinstance(key, str) or view not in ([], [None]):
        raise ValueError("its pickle describes no storages")
    return _Storage(_STORAGES[name], key)


def _filled(table, items):
    # Only texts are hashed: a tuple of tuples, each twice in the next, would take forever.
    if not isinstance(table, dict) or not all(isinstance(key, str) for key in items[::2]):
        raise ValueError("its pickle describes no tables of texts")
    table.update(zip(items[::2], items[1::2]))
    return table


def _extended(entries, more):
    if not isinstance(entries, list):
        raise ValueError("its pickle describes no lists")
    entries.extend(more)
    return entries


# What is made of an instruction's argument and of what it takes from the stack.
_STEPS: dict[str, Callable] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"), lambda argument: argument),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "TUPLE": lambda _, items: tuple(items),
    **dict.fromkeys(("TUPLE1", "TUPLE2", "TUPLE3"), lambda _, *items: items),
    "SETITEM": lambda _, table, *item: _filled(table, item),
    "SETITEMS": lambda _, table, items: _filled(table, items),
    "APPEND": lambda _, entries, entry: _extended(entries, [entry]),
    "APPENDS": lambda _, entries, more: _extended(entries, more),
    "GLOBAL": _named,
    "REDUCE": lambda _, name, arguments: _called(name, arguments),
    "BINPERSID": lambda _, place: _stored(place),
    "BUILD": lambda _, made, attributes: made,  # an OrderedDict's, such as the layers' versions
}


def write_checkpoint(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors as the "G" of a checkpoint, whole or not at all; PyTorch 1.6 and later load it.

    Args:
        path: The file.
        tensors: float32 arrays by name.
    """
    tensors = {name: np.ascontiguousarray(tensor, "<f4") for name, tensor in tensors.items()}

    def write(beside: Path) -> None:
        with zipfile.ZipFile(beside, "w") as archive:
            archive.writestr("archive/data.pkl", _pickled(tensors))
            archive.writestr("archive/byteorder", "little")
            archive.writestr("archive/version", "3\n")
            for number, tensor in enumerate(tensors.values()):
                archive.writestr(f"archive/data/{number}", tensor.tobytes())

    write_whole(path, write)


def _pickled(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The data.pkl of such tensors; Python's pickler would have to import PyTorch for it."""

    def text(value: str) -> bytes:
        return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()

    def named(name: str) -> bytes:
        return pickle.GLOBAL + name.replace(" ", "\n").encode() + b"\n"

    def counts(*values: int) -> bytes:
        return b"".join(pickle.BININT + struct.pack("<i", value) for value in values)

    def items(*parts: bytes) -> bytes:
        return pickle.MARK + b"".join(parts) + pickle.TUPLE

    empty = named(_DICT) + pickle.EMPTY_TUPLE + pickle.REDUCE
    entries = b""
    for number, (name, tensor) in enumerate(tensors.items()):
        place = [text("storage"), named("torch FloatStorage"), text(str(number)), text("cpu"), counts(tensor.size)]
        arguments = [
            items(*place) + pickle.BINPERSID,
            counts(0),
            items(counts(*tensor.shape)),
            items(counts(*(stride // tensor.itemsize for stride in tensor.strides))),
            pickle.NEWFALSE,
            empty,
        ]
        entries += text(name) + named(_TENSOR) + items(*arguments) + pickle.REDUCE
    network = empty + pickle.MARK + entries + pickle.SETITEMS
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + text("G") + network + pickle.SETITEM + pickle.STOP
