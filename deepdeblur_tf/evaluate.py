"""Measures networks: python -m deepdeblur_tf.evaluate MODEL [MODEL ...] --data DIR [--output DIR]

And finished pictures of any program: python -m deepdeblur_tf.evaluate --restored DIR --data DIR

An interrupted evaluation is continued by the same command; what is measured is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from deepdeblur_tf.command_line import MODEL, add_restoration_arguments, answered, folder_name, restoration_options
from deepdeblur_tf.config import SCENES, Data, checked_names, recorded_experiment
from deepdeblur_tf.data.kinds import find_test_set
from deepdeblur_tf.errors import UserError, did_you_mean
from deepdeblur_tf.files import user_path
from deepdeblur_tf.images.formats import SUFFIXES
from deepdeblur_tf.networks.location import model_file, run_of
from deepdeblur_tf.terminal import shown_name

_LONGEST = 200  # bytes of a folder's name; file systems take 255


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Measures one or more networks, or pictures that any program restored, on pairs of blurry and "
        "sharp images: loss, PSNR, SSIM (both conventions) and MS-SSIM of every image, the report's table, and "
        "pictures. The same command continues an interrupted evaluation.",
    )
    parser.add_argument("models", nargs="*", **MODEL)
    parser.add_argument(
        "--restored",
        metavar="DIR",
        nargs="+",
        action="extend",
        default=[],
        help="Folders of finished pictures of any program, to be measured with the networks or without any; named and "
        "in sub-folders as the data set's, in any format that is read.",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="The data set: GOPRO's, REDS's or a paired layout, of which the test or validation set is measured; or "
        f"one split of it; or {SCENES} for the embedded scenes. Defaults to what the run was trained on.",
    )
    parser.add_argument(
        "--blurry",
        metavar="NAME",
        default="",
        help="What the data set's folder of blurry images is called, or their files' names end with, beside --sharp; "
        "for names that are not recognised.",
    )
    parser.add_argument("--sharp", metavar="NAME", default="", help="See --blurry.")
    parser.add_argument("--blur", choices=("blur", "blur_gamma"), help="GOPRO's kind of blur. Defaults to blur.")
    parser.add_argument(
        "--output",
        type=folder_name,
        metavar="DIR",
        help="The folder for the results. Of several networks each has its own folder in it, and the comparison lies "
        "in compared/ONE_and_OTHER. Defaults to evaluation/DATA_BLUR/RUN.",
    )
    parser.add_argument(
        "--images",
        type=int,
        metavar="N",
        help="Measure N images only, evenly spread; what the results' folder holds already stays in its tables. "
        "Defaults to all of them.",
    )
    parser.add_argument(
        "--pictures",
        nargs="+",
        metavar="IMAGE[@X,Y]",
        help="The images to show and measure, such as GOPR0384_11_00/000001, with the corner of a detail to enlarge; "
        "name an image again for a second detail. Defaults to three images (the report's, where they are) and the two "
        "details where the error is largest.",
    )
    add_restoration_arguments(parser, scale="1")
    return parser


def main(arguments=None, prog="python -m deepdeblur_tf.evaluate") -> int:
    """The command; returns the exit status: 0, 1 for results that were removed meanwhile, 2 for wrong inputs, 130."""
    flags = _parser(prog).parse_args(arguments)
    return answered(lambda: _evaluate(flags), "stopped. The same command continues.")


def _evaluate(flags) -> int:
    if flags.images is not None and flags.images < 1:
        raise UserError(f"--images: received {flags.images}; allowed: a whole number above 0.")
    if not flags.models and not flags.restored:
        raise UserError("name what is to be measured: a MODEL, or a folder of finished pictures with --restored.")
    data = _data(flags)
    name = data.folder.resolve().name if data.folder else data.root
    output = Path(flags.output or Path("evaluation", f"{name}_{data.blur}"))
    labels = _labels(flags.models, flags.restored)
    files = [model_file(model) for model in flags.models]
    seen = [recorded_experiment(run.config).data.folder for run in map(run_of, flags.models) if run]
    is_known = data.folder is not None and data.folder.resolve() in [folder.resolve() for folder in seen if folder]
    test_set = find_test_set(data, was_trained_on=is_known or not flags.data)
    print(test_set.description)
    pictures = _pictures(flags, test_set.source.names)

    from deepdeblur_tf.evaluation.comparison import Candidate, evaluate_all
    from deepdeblur_tf.evaluation.finished import FinishedPictures
    from deepdeblur_tf.evaluation.folder import EvaluationLost
    from deepdeblur_tf.evaluation.tables import terminal_table

    if len(labels) == 1:
        joint = output if flags.output else output / labels[0]
        folders = [joint]
    else:
        joined = "_and_".join(labels)
        if len(os.fsencode(joined)) > _LONGEST:
            joined = f"{joined[:60]}_{hashlib.sha256(os.fsencode(joined)).hexdigest()[:8]}"
        joint = output / "compared" / joined
        folders = [output / label for label in labels]
    # The networks come first: of finished pictures there is no loss for the line of the blurry images.
    subjects: list[Path | FinishedPictures] = [*files]
    subjects += [FinishedPictures(user_path(folder).resolve(), test_set) for folder in flags.restored]
    candidates = [Candidate(*row) for row in zip(labels, subjects, folders)]
    try:
        results = evaluate_all(candidates, test_set, flags.images, pictures, restoration_options(flags), joint)
    except EvaluationLost as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(terminal_table(results))
    print(f"tables and pictures: {shown_name(joint / 'report.md')}")
    return 0


def _labels(models: list[str], restored: list[str]) -> list[str]:
    """Short and different names: the run's, with the file's where it is not the run's last network, or the folder's."""
    names = []
    for model in models:
        path, run = user_path(model).resolve(), run_of(model)
        name = run.folder.resolve().name if run else path.stem
        if run and path not in (run.folder.resolve(), run.model.resolve()):
            name = f"{name}_{path.stem}"
        names.append(name)
    names += [user_path(folder).resolve().name for folder in restored]
    labels: list[str] = []
    for name in names:
        label, number = name, len(labels) + 1
        while label in labels:
            label, number = f"{name}_{number}", number + 1
        labels.append(label)
    return labels


def _data(flags) -> Data:
    """What is measured on."""
    if flags.data:
        return checked_names(Data(flags.data, blur=flags.blur or "blur", blurry=flags.blurry, sharp=flags.sharp))
    if not flags.models:
        raise UserError("name the data set of the finished pictures with --data.")
    datas = []
    for model in flags.models:
        run = run_of(model)
        if run is None:
            raise UserError(f"{model} lies in no run folder; name the data set with --data.")
        data = recorded_experiment(run.config).data
        names = {name: getattr(flags, name) or getattr(data, name) for name in ("blur", "blurry", "sharp")}
        datas.append(Data(data.root, data.layout, **names))
    if any(data != datas[0] for data in datas):
        shown = ", ".join(sorted({f"{data.root} ({data.blur})" for data in datas}))
        raise UserError(f"the runs were trained on different data ({shown}); name one with --data and --blur.")
    return checked_names(datas[0])


def _pictures(flags, names: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """The images of --pictures, with the corners of their details where they are given."""
    pictures: dict[str, list] = {}
    for text in flags.pictures or ():
        found = re.fullmatch(r"(.*)@(\d+),(\d+)", text)
        name = found[1] if found else text
        name = name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
        if name not in names:
            allowed = f"allowed are IMAGE and IMAGE@X,Y.{did_you_mean(name, names)}"
            raise UserError(f"--pictures {text}: there is no such image; {allowed}")
        pictures.setdefault(name, []).extend([(int(found[2]), int(found[3]))] if found else [])
    return pictures


if __name__ == "__main__":
    sys.exit(main())
