"""Makes a data set from one's own videos or photos: python -m deepdeblur_tf.synthesize INPUT [INPUT ...] --output DIR

The data set has GOPRO's layout. The same command goes on after an interruption, and makes the same bytes whatever
--jobs is.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import sys
from pathlib import Path

from deepdeblur_tf.command_line import (
    ProgressBar,
    add_settings,
    answered,
    folder_name,
    given_settings,
    number,
    shortened,
)
from deepdeblur_tf.config import Experiment, set_all
from deepdeblur_tf.creation.inputs import SMALLEST, Scene, find_masks, find_scenes, split_scenes
from deepdeblur_tf.creation.profiles import PROFILES
from deepdeblur_tf.errors import UserError, need
from deepdeblur_tf.files import user_path
from deepdeblur_tf.machine import cores
from deepdeblur_tf.terminal import shown_name

WARNINGS = 10  # of a kind, that are shown
_OF_FRAMES = ("frames",)
_OF_PHOTOS = ("profile", "pairs", "size", "masks")


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        usage="%(prog)s INPUT [INPUT ...] --output DIR [--from frames|photos] [--<flag> VALUE ...]",
        description="Makes pairs of blurry and sharp images for training, in GOPRO's layout. From videos and folders "
        "of frames as GOPRO was made: blur is the mean of consecutive frames, blur_gamma that of their linear light "
        "(gamma 2.2), sharp is the middle frame; it takes footage of many frames a second, such as a phone's slow "
        "motion. From sharp photos: a camera moves over each, and things cut from others move before it. Each video, "
        "folder of frames or photo is a scene, which is for training or for testing as a whole.",
        allow_abbrev=False,
    )
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="Videos, photos, and folders of them or of frames.")
    parser.add_argument("--output", type=folder_name, metavar="DIR", required=True, help="The data set's folder.")
    parser.add_argument(
        "--from",
        dest="kind",
        choices=("frames", "photos"),
        help="What the pictures in folders are: the frames of one scene a folder, in the order of their names, or "
        "sharp photos, each a scene. Needed for folders of pictures only.",
    )
    parser.add_argument(
        "--test",
        type=number(float, lambda value: 0 <= value < 1, "a number from 0, and below 1"),
        default=0.1,
        metavar="SHARE",
        help="The share of scenes to test on (default: 0.1).",
    )
    parser.add_argument("--seed", type=_whole(0), default=0, metavar="SEED", help="Fixes what is drawn (default: 0).")
    parser.add_argument(
        "--jobs", type=_whole(1), metavar="N", help="How many pairs are made at a time (default: one a core)."
    )
    group = parser.add_argument_group("from videos and frames")
    group.add_argument(
        "--frames",
        type=number(int, lambda value: 3 <= value <= 99 and value % 2, "an odd number from 3 to 99"),
        metavar="N",
        help="How many frames make one blurry image, odd (default: 7, 9, 11 or 13, drawn for each scene).",
    )
    group = parser.add_argument_group("from photos")
    group.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        help="What the settings below are unless they are given. gopro: plain averages as GOPRO's blur, no noise, "
        "nothing compressed. camera: as a camera's files; linear light, noise of a sensor, some with lights, half of "
        "them sharpened, half compressed, a tenth not blurred (default: camera).",
    )
    group.add_argument("--pairs", type=_whole(1), metavar="N", help="Pairs a photo (default: 10).")
    group.add_argument(
        "--size",
        type=_size,
        metavar="WIDTHxHEIGHT",
        help="Of a pair, turned for upright photos; smaller photos give pairs of their own size (default: 1280x720). "
        "Photos whose shorter side has 1620 pixels or more are shrunk to a half or a third first.",
    )
    group.add_argument(
        "--masks",
        metavar="DIR",
        help="Pictures of the photos' names and sizes. What is white in them is cut out, and moves on its own before "
        "other photos (default: random outlines).",
    )
    add_settings(parser, ["synthesis."], Experiment("", synthesis=PROFILES["camera"]))
    return parser


def _whole(least: int):
    return number(int, lambda value: least <= value < 10**9, f"a whole number from {least}")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    size = (int(found[2]), int(found[1])) if found else (0, 0)
    if min(size) < SMALLEST:
        raise argparse.ArgumentTypeError(
            f"received {text!r}; allowed: width and height of at least {SMALLEST} pixels, such as 1280x720"
        )
    return size


def main(arguments=None, prog="python -m deepdeblur_tf.synthesize") -> int:
    """The command; returns the exit status: 0, 1 when inputs failed, 2 for wrong inputs, 130 when stopped."""
    flags = _parser(prog).parse_args(arguments)
    stopped = f"stopped. The same command goes on; what is done is in {shown_name(flags.output)}."
    return answered(lambda: _synthesize(flags), stopped)


def _synthesize(flags) -> int:
    left_out = [user_path(folder) for folder in (flags.output, flags.masks) if folder]
    kind, found = find_scenes(flags.inputs, flags.kind, left_out)
    given = {name: getattr(flags, name) for name in (*_OF_FRAMES, *_OF_PHOTOS)}
    given.update((key, value) for key, value in given_settings(flags).items() if key.startswith("synthesis."))
    for name, value in given.items():
        if value is not None and (name in _OF_FRAMES) != (kind == "frames"):
            raise UserError(f"--{name}: this data set is made from {kind}, for which there is no such flag.")
    need("cv2", "synthesis", "synthesize")
    failed: dict[str, None] = {}  # messages, each once, in the order of their coming
    scenes = split_scenes(found, flags.test, flags.seed)
    maker, settings = (_from_frames if kind == "frames" else _from_photos)(flags, scenes, failed)
    counts = {}
    for scene in scenes:
        try:
            counts[scene] = maker.count(scene)
        except UserError as error:
            failed[str(error)] = None
    status = _make(flags, maker, settings, scenes, counts, failed)
    if failed:
        print(f"failed: {len(failed)}", *map(shown_name, failed), sep="\n  ", file=sys.stderr)
    return status or (1 if failed else 0)


def _from_frames(flags, scenes: list[Scene], failed: dict[str, None]):
    """(what makes the pairs, the settings that they depend on)."""
    from deepdeblur_tf.creation.from_frames import FromFrames

    return FromFrames(flags.frames, flags.seed), {"from": "frames", "frames": flags.frames}


def _from_photos(flags, scenes: list[Scene], failed: dict[str, None]):
    """The same, for photos."""
    from deepdeblur_tf.creation.from_photos import FromPhotos

    experiment = Experiment("", synthesis=dataclasses.replace(PROFILES[flags.profile or "camera"]))
    set_all(experiment, given_settings(flags))
    size, pairs = flags.size or (720, 1280), flags.pairs or 10
    masks: dict[str, Path] = {}
    if flags.masks:
        masks, wrong = find_masks(flags.masks, scenes)
        failed.update(dict.fromkeys(wrong))
    settings = {
        "from": "photos",
        "pairs": pairs,
        "size": f"{size[1]}x{size[0]}",
        "masks": {key: path.stat().st_size for key, path in masks.items()},
        **{f"synthesis.{name}": value for name, value in vars(experiment.synthesis).items()},
    }
    return FromPhotos(scenes, experiment.synthesis, size, pairs, flags.seed, masks), settings


def _make(flags, maker, settings: dict, scenes: list[Scene], counts: dict[Scene, int], failed: dict[str, None]) -> int:
    """Makes the pairs, and says what there is."""
    from deepdeblur_tf.creation.folder import DataSetFolder
    from deepdeblur_tf.creation.making import make_all

    settings = {**settings, "test": flags.test, "seed": flags.seed}
    data_set = DataSetFolder(Path(flags.output), maker.folders, settings, scenes)
    with data_set.claimed():
        # Of the scenes that can be opened: what is finished of others makes up for nothing that is missing.
        done = sum(len(data_set.done(scene.key)) for scene in counts)
        total = sum(counts.values())
        if data_set.damaged:
            manifest = shown_name(data_set.manifest)
            print(f"left out: {data_set.damaged} lines of {manifest} that cannot be read; made again")
        if done:
            print(f"{done} of {total} pairs are in {shown_name(flags.output)} already.")
        if done < total:
            jobs = flags.jobs or cores()
            with ProgressBar(total=total, initial=done, unit=" pairs") as bar:
                make_all(maker, counts, data_set, jobs, lambda message: failed.setdefault(message), bar.update)
        for pair in data_set.forget_gone():
            failed.setdefault(f"{pair}: was made, and is not there any more; the same command makes it again")
        data_set.finish()
    return _report(flags, data_set)


def _report(flags, data_set) -> int:
    """Says what the data set holds, and what is to be known about it."""
    entries = data_set.entries()
    by_scene: dict[str, list[dict]] = {}
    for entry in entries:
        by_scene.setdefault(entry["pair"].rpartition("/")[0], []).append(entry)
    blurry = sum(entry.get("left_out", False) for entry in entries)
    if blurry:
        print(f"left out: {blurry} of {len(entries)} pairs, whose sharp frames are blurry, unlike those near them")
    if data_set.settings["from"] == "frames":
        from deepdeblur_tf.creation.from_frames import jerkiness

        warnings = [f"warning: {warning}" for warning in map(jerkiness, by_scene.values()) if warning]
        warnings = shortened(warnings, "more scenes; displacement_pixels in manifest.jsonl tells which", WARNINGS)
        print(*map(shown_name, warnings), sep="\n", end="\n" * bool(warnings), file=sys.stderr)
    kept = [entry["pair"] for entry in entries if not entry.get("left_out")]
    if not kept:
        print(f"no pairs were made in {shown_name(flags.output)}.", file=sys.stderr)
        return 1
    tested = sum(name.startswith("test/") for name in kept)
    where = f"of {len(by_scene)} scenes, in {shown_name(flags.output)}"
    print(f"pairs: {len(kept) - tested} to train on and {tested} to test on, {where}")
    print(f"look at some: {shown_name(data_set.contact_sheet)}")
    if tested < len(kept):
        name = re.sub(r"[^\w.-]", "_", Path(flags.output).resolve().name)
        command = [sys.executable, "-m", "deepdeblur_tf.train", "--name", name, "--data.root", flags.output]
        print(f"train on them: {shlex.join(command)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
