"""Files and folders of this machine, and of object stores (s3://, gs://) by pyarrow's file systems.

A place is a string, an absolute path or an address such as s3://bucket/photos/a.jpg. What an object store needs beside
it, such as keys and an endpoint, comes from the environment (AWS_PROFILE, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, ...), so that no secret is passed on or recorded.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyarrow import fs

from deepdeblur_tf import files
from deepdeblur_tf.errors import UserError
from deepdeblur_tf.restoration.inputs import File

SCHEMES = ("s3", "gs")
_ASKED_AT_ONCE = 32


def place(text: str) -> str:
    """A place from what a user gave, a path or an address. Raises UserError for an address of another kind."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return os.path.abspath(os.path.expanduser(text))
    bucket, *folders = rest.split("/")
    folders = [folder for folder in folders if folder]  # an empty one is none
    if scheme not in SCHEMES or not bucket or "@" in bucket or "?" in bucket or {".", ".."} & {*folders}:
        raise UserError(
            f"{text}: no address of an object store; allowed: s3://BUCKET/... and gs://BUCKET/... Keys and endpoints "
            "come from the environment (AWS_PROFILE, AWS_ENDPOINT_URL, ...)."
        )
    return f"{scheme}://{'/'.join([bucket, *folders])}"


def is_local(where: str) -> bool:
    return "://" not in where


class Identity(files.Identity):
    """`files.Identity` for places, of which those in an object store are what they are called."""

    def __call__(self, where: str) -> tuple:
        return super().__call__(where) if is_local(where) else (where,)


def _root(where: str) -> str:
    """What a place's file system is known by: / or s3://BUCKET."""
    return "/" if is_local(where) else "/".join(where.split("/", 3)[:3])


@functools.cache
def _file_system(root: str) -> fs.FileSystem:
    return fs.LocalFileSystem() if root == "/" else fs.FileSystem.from_uri(root)[0]


def _located(where: str) -> tuple[fs.FileSystem, str]:
    """A place's file system, and its path in it."""
    return _file_system(_root(where)), where.partition("://")[2] or where


def _named(where: str, path: str) -> str:
    """The place of a path in the file system of another place."""
    return path if is_local(where) else f"{where.partition('://')[0]}://{path}"


def _file(where: str, info: fs.FileInfo) -> File:
    return File(_named(where, info.path), info.size if info.is_file else -1, info.mtime_ns or 0)


def same(where: str) -> str:
    """As `inputs.Store` has it."""
    return os.path.realpath(where) if is_local(where) else where


def kind(where: str) -> str:
    """What is at a place: "file", "folder" or "nothing"."""
    if is_local(where):
        return "folder" if os.path.isdir(where) else "file" if os.path.exists(where) else "nothing"
    system, path = _located(where)
    found = system.get_file_info(path).type
    return {fs.FileType.NotFound: "nothing", fs.FileType.Directory: "folder"}.get(found, "file")


def described(places: list[str]) -> list[File]:
    """As `inputs.Store` has it."""
    found: dict[str, fs.FileInfo] = {}
    for root, same in itertools.groupby(sorted(places), _root):
        if root == "/":
            continue
        system, paths = _located(root)[0], [_located(where)[1] for where in same]
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as threads:  # asked for all, it asks for one after another
            found.update((_named(root, info.path), info) for info in threads.map(system.get_file_info, paths))
    return [_local_file(where) if is_local(where) else _file(where, found[where]) for where in places]


def _local_file(where: str) -> File:
    """What is known of a file of this machine; not by pyarrow, for which a name is UTF-8."""
    try:
        status = os.stat(where)
    except OSError:
        return File(where, -1, 0)
    return File(where, status.st_size if stat.S_ISREG(status.st_mode) else -1, status.st_mtime_ns)


def walk(folder: str, skipped: str, unreadable: Callable[[str], object]) -> Iterator[File]:
    """As `inputs.Store` has it: folder by folder, in the order of their names."""
    if is_local(folder):
        walked = files.walk(Path(folder), [Path(skipped)], lambda below: unreadable(f"{below}/"))
        found = (path for _, paths in walked for path in paths)
        yield from (file for file in map(_local_file, map(str, found)) if file.size >= 0)
        return
    system, root = _located(folder)
    waiting = [root]
    while waiting:
        folders = []
        for info in sorted(system.get_file_info(fs.FileSelector(waiting.pop())), key=lambda info: info.base_name):
            if info.base_name[:1] == ".":
                continue
            if info.type == fs.FileType.Directory:
                if _named(folder, info.path) != skipped:
                    folders.append(info.path)
            elif info.is_file:
                yield _file(folder, info)
        waiting += reversed(folders)


def names(folder: str) -> list[str]:
    """The names of what lies in a folder; none for one that is not there."""
    if is_local(folder):
        return os.listdir(folder) if os.path.isdir(folder) else []
    system, path = _located(folder)
    return [info.base_name for info in system.get_file_info(fs.FileSelector(path, allow_not_found=True))]


@contextlib.contextmanager
def local_copy(where: str):
    """The path of a file on this machine: its own, or that of a copy, which is removed afterwards."""
    if is_local(where):
        yield Path(where)
        return
    system, path = _located(where)
    with tempfile.TemporaryDirectory(prefix="deepdeblur_tf.") as folder:
        copy = Path(folder, Path(path).name)
        fs.copy_files(path, str(copy), source_filesystem=system, destination_filesystem=fs.LocalFileSystem())
        yield copy


def write_whole(where: str, write: Callable[[Path], None]) -> None:
    """As `files.write_whole`, for a place."""
    if is_local(where):
        files.write_whole(Path(where), write)
        return
    system, path = _located(where)
    with tempfile.TemporaryDirectory(prefix="deepdeblur_tf.") as folder:
        beside = Path(folder, Path(path).name)
        write(beside)
        # An object appears when its last byte has arrived.
        fs.copy_files(str(beside), path, source_filesystem=fs.LocalFileSystem(), destination_filesystem=system)


def move(where: str, to: str) -> None:
    system, path = _located(where)
    system.move(path, _located(to)[1])


def remove(where: str) -> None:
    system, path = _located(where)
    system.delete_file(path)
