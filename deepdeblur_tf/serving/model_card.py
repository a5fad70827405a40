"""The model card of an export: what a network was trained on, what it reaches, and where its limits are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from deepdeblur_tf.config import Experiment, recorded_experiment, to_yaml
from deepdeblur_tf.data.kinds import in_words
from deepdeblur_tf.evaluation.measurement import CONVENTION
from deepdeblur_tf.evaluation.tables import table, way
from deepdeblur_tf.metrics import METRICS
from deepdeblur_tf.networks.location import TRAINED, run_of
from deepdeblur_tf.restoration.scale import SCALES
from deepdeblur_tf.restoration.tiling import GRID, MAX_SIDE
from deepdeblur_tf.runs.folder import Run
from deepdeblur_tf.serving.formats import FORMATS

_LIMITS = """\
- It removes the blur of motion: of the camera, and of things that move. It does not bring back what is out of focus,
  and heavy noise, darkness, strong compression and drawn pictures are mostly unlike what it was trained on.
- What it restores is likely, not certain: lettering, number plates and faces may come out wrong. Do not use it as
  evidence.
- Pictures unlike those of its training come out worse; far from them they may become worse than they were."""


def gather(file: Path, evaluations: Sequence[dict]) -> dict[str, str]:
    """What is known of a network: the card's sections in Markdown, by their headings.

    Args:
        file: Its `.keras` file; what is known of its training lies in the run's folder around it.
        evaluations: Summaries of its evaluations.

    Raises:
        UserError: another program has changed the run's files.
    """
    run = run_of(file)
    experiment, row = (recorded_experiment(run.config), _row_of(run, file)) if run else (None, {})
    known = {"Training": _training(file, experiment, row), "Figures": _figures(file, row, evaluations)}
    known["Limits"] = _LIMITS
    if experiment:
        # Its name without the path, which says more of the machine than of the data.
        data = dataclasses.replace(experiment.data, root=Path(experiment.data.root).name)
        known["Experiment"] = f"```yaml\n{to_yaml(dataclasses.replace(experiment, data=data))}```"
    return known


def write_card(
    known: dict[str, str], parameters: int, max_pixels: int, memory: float, files: Sequence[str], scale: float | str
) -> str:
    """The card in Markdown.

    Args:
        known: What `gather` gave.
        parameters: Of the network.
        max_pixels: Pixels that are restored at once.
        memory: GiB that so many take.
        files: The export's files, relative to its folder.
        scale: As `serving.Service` has it.
    """
    about = (
        "# Motion deblurring with deepdeblur_tf\n\n"
        "The multi-scale network of S. Nah, T. H. Kim, K. M. Lee: Deep Multi-scale Convolutional Neural Network for "
        f"Dynamic Scene Deblurring, CVPR 2017; {parameters:,} parameters. A blurry picture in, a sharp one of the same "
        "size out."
    )
    sections = {"Signatures": _signatures(max_pixels, memory, scale), "Files": _files(files), **known}
    return "\n\n".join([about, *(f"## {heading}\n\n{text}" for heading, text in sections.items())]) + "\n"


def _signatures(max_pixels: int, memory: float, scale: float | str) -> str:
    scales = ", ".join(f"{known:g}" for known in SCALES)
    at = "the scale at which most of a picture is changed" if scale == "auto" else f"scale {scale:g}"
    return (
        "| signature | in | out |\n|---|---|---|\n"
        "| `serving_default` | `image_bytes`, string [N]: PNG, JPEG, BMP (8, 24, 32 bits) or GIF (first frame), "
        "sizes mixed | `restored_bytes`, string [N]: PNG, upright, grey and transparency kept |\n"
        "| `restore_uint8` | `image`, uint8 [N, H, W, 3], RGB | `restored`, the same |\n"
        f"| `restore_at_scale` | `image_bytes` as above; `scale`, float32 [N]: {scales}, or 0 for the best | "
        "`restored_bytes` as above; `scale`, float32 [N]: what was taken |\n\n"
        f"The first two restore at {at}. What changes in the picture shrunk is added, enlarged, to the picture.\n\n"
        f"Up to {max_pixels:,} pixels an image (of `restore_uint8`, a request), which take about {memory:.1f} GiB; "
        f"sides count as multiples of {GRID}, and none is above {MAX_SIDE:,}. Larger ones, and bytes that are no "
        "image, fail with INVALID_ARGUMENT."
    )


def _files(files: Sequence[str]) -> str:
    words = {
        **{form.file: form.about for form in FORMATS.values()},
        "assets.extra/tf_serving_warmup_requests": "warm-up requests for TensorFlow Serving",
        "manifest.json": "versions, settings, checks, and the hash of every file",
    }
    return "\n".join(f"- `{name}`: {text}" for name, text in words.items() if name in files)


def _training(file: Path, experiment: Experiment | None, row: dict[str, str]) -> str:
    if file.parent == TRAINED:  # its own card, one heading deeper
        _, _, body = file.with_suffix(".md").read_text(encoding="utf-8").partition("\n")
        return body.strip().replace("\n## ", "\n### ")
    if experiment is None:
        return "Not known: the network was exported from a file outside of its run's folder."
    data, training = experiment.data, experiment.training
    epochs = row.get("epoch", "an unknown number")  # as without history.csv
    return (
        f"Experiment `{experiment.name}`: {in_words(data)}, crops of {data.patch_size}x{data.patch_size}, {epochs} of "
        f"{training.epochs} epochs in batches of {training.batch_size}."
    )


def _figures(file: Path, row: dict[str, str], evaluations: Sequence[dict]) -> str:
    if evaluations:
        metrics = {name: metric for name, metric in METRICS.items() if metric.of}
        head = ["data", "images", "restored", *(metric.title for metric in metrics.values())]
        lines = []
        for summary in evaluations:
            data, overall = summary["data"], summary["overall"]
            line = [f"{data['root'].rstrip('/').rpartition('/')[2]} (`{data['blur']}`)", str(overall["images"])]
            line.append(way(summary["restoration"]))
            for name, metric in metrics.items():
                figures = (overall[side].get(name) for side in ("blurry", "restored"))
                line.append(" → ".join("–" if it is None else f"{float(it):.{metric.digits}f}" for it in figures))
            lines.append(line)
        notes = "\n".join(f"- {name}: {CONVENTION[name]}" for name in ("images", *metrics))
        return f"{table(head, lines, left=len(head))}\n\nBlurry → restored.\n{notes}"
    if row.get("val_psnr"):
        return (
            f"PSNR on the validation images after epoch {row['epoch']}: {float(row['val_psnr']):.2f} dB (RGB, whole "
            "images, 8 bits, each image measured alone, then averaged)."
        )
    return "Those above." if file.parent == TRAINED else "None measured."


def _row_of(run: Run, file: Path) -> dict[str, str]:
    """The row of history.csv for checkpoints/best.keras, or the last one; {} where there is none."""
    history = run.read_history()
    if file.resolve() == run.best.resolve():
        return max(history, key=lambda row: float(row["val_psnr"] or "-inf"), default={})
    return history[-1] if history else {}
