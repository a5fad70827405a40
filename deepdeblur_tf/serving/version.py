"""One export: a version's folder, written whole or not at all, each file of it checked against the network."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepdeblur_tf.claims import claimed
from deepdeblur_tf.compat import tf
from deepdeblur_tf.config import recorded_experiment
from deepdeblur_tf.errors import UserError, install_line
from deepdeblur_tf.files import sha256_of, write_json, write_whole
from deepdeblur_tf.networks.archive import load_model
from deepdeblur_tf.networks.location import run_of
from deepdeblur_tf.restoration.restorer import bytes_per_pixel, restore
from deepdeblur_tf.runs.provenance import git_commit, now, versions
from deepdeblur_tf.serving.formats import FORMATS, version_number, write_quietly
from deepdeblur_tf.serving.model_card import gather, write_card
from deepdeblur_tf.serving.signatures import Service

NAME = "deepdeblur"  # what a server calls the model

# Of 255. Runtimes sum in different orders, so that a value near the middle between two is rounded to the other one.
MOST_DIFFERENCE = 1

MODELS_CONFIG = f"""\
# For tensorflow_model_server --model_config_file, with this folder mounted as /models/{NAME}.
model_config_list {{
  config {{
    name: "{NAME}"
    base_path: "/models/{NAME}"
    model_platform: "tensorflow"
  }}
}}
"""
BATCHING_PARAMETERS = """\
# For tensorflow_model_server --enable_batching --batching_parameters_file. Images are restored one by one, up to
# 1024 of a request: different requests are never merged, so that a bad image (always "image 1 of 1") fails its own
# request alone, and the memory is that of one image. Each further thread restores another image at the same time, in as
# much memory again. Up to 16384 images wait.
num_batch_threads { value: 1 }
max_batch_size { value: 1024 }
enable_large_batch_splitting { value: true }
max_execution_batch_size { value: 1 }
max_enqueued_batches { value: 16384 }
batch_timeout_micros { value: 0 }
"""


class ExportError(UserError):
    """An export that cannot be made, or whose check failed; the message says why and what to do."""


def export_network(
    file: Path,
    sha256: str,
    folder: Path,
    formats: Sequence[str],
    max_pixels: int,
    scale: float | str,
    photo: np.ndarray,
    evaluations: Sequence[dict],
) -> Path:
    """Writes the next version of a network into its folder.

    Args:
        file: The network's `.keras` file.
        sha256: Its hash, by which its evaluations were found to be of this network.
        folder: The folder of its versions.
        formats: Names of `formats.FORMATS` beside "saved_model".
        max_pixels, scale: As `serving.Service` has them.
        photo: uint8 [H, W, 3]. What every file is checked with.
        evaluations: Summaries of the network's evaluations, for the model card.

    Returns:
        The version's folder.

    Raises:
        ExportError: the folder is in use, the network's file was replaced, a format could not be written, or a check
            failed; then nothing is left of the version.
        ValueError: the file holds no network.
        OSError, tf.errors.OpError: it cannot be written.
    """
    known = gather(file, evaluations)
    with claimed(folder, "export", ExportError):
        unfinished = folder / f".{NAME}.part"  # servers look at numbers only
        try:
            shutil.rmtree(unfinished, ignore_errors=True)  # of an export that was killed
            unfinished.mkdir()
            _write_version(file, sha256, formats, max_pixels, scale, photo, known, unfinished)
            for name, text in (("models.config", MODELS_CONFIG), ("batching_parameters.txt", BATCHING_PARAMETERS)):
                if not (folder / name).exists():  # it may have been adapted
                    write_whole(folder / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))
            version = folder / str(_next_version(folder))
            os.rename(unfinished, version)  # the last step: from now on a server takes it
            return version
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _next_version(folder: Path) -> int:
    return 1 + max(map(version_number, folder.iterdir()), default=0)


def _write_version(file, sha256, formats, max_pixels, scale, photo, known: dict[str, str], folder: Path) -> None:
    network = load_model(file)
    if sha256_of(file) != sha256:
        raise ExportError(f"{file}: was replaced while it was read, as by a training. Nothing was exported; try again.")
    service = Service(network, max_pixels, scale)
    checks = {}
    for name in ("saved_model", *formats):
        begin = time.perf_counter()
        # Whole, as the exported files do it.
        expected = restore(network, photo, memory=sys.maxsize, scale=scale if name == "saved_model" else 1)
        path = folder / FORMATS[name].file
        try:
            write_quietly(name, service, path)
        except (OSError, MemoryError, tf.errors.OpError):
            raise
        except Exception as error:  # converters raise classes of their own, or a bare RuntimeError for a full disk
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ExportError(f"{name}: could not be written ({reason}). Nothing was exported.") from error
        checks[name] = difference = _difference(FORMATS[name].load(path)(photo[None])[0], expected)
        if name == "saved_model":
            difference = checks["serving_default"] = max(difference, _difference(_served(folder, photo), expected))
        if difference > MOST_DIFFERENCE:
            raise ExportError(
                f"{name}: differs from the network by {difference} of 255 on the picture it was checked with; allowed "
                f"is {MOST_DIFFERENCE}. Nothing was exported."
            )
        print(f"{name}: largest difference from the network {difference} of 255 ({time.perf_counter() - begin:.0f} s)")
    print(_write_warm_up(folder))
    _describe(file, sha256, network, max_pixels, scale, known, checks, folder)


def _difference(image: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(image.astype(int) - expected).max())


def _served(folder: Path, photo: np.ndarray) -> np.ndarray:
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    (answer,) = serve(image_bytes=tf.io.encode_png(photo)[None])["restored_bytes"]
    return tf.io.decode_png(answer).numpy()


def _write_warm_up(folder: Path) -> str:
    """Requests that a server answers before it takes others, so that nobody waits for the first one's set-up."""
    try:
        from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
    except ImportError:
        return f"no warm-up requests: they need tensorflow-serving-api ({install_line('serving')})"
    small = tf.fill((1, 64, 64, 3), tf.constant(128, tf.uint8))
    file = tf.io.encode_png(small[0])[None]
    inputs = {
        "serving_default": {"image_bytes": file},
        "restore_uint8": {"image": small},
        "restore_at_scale": {"image_bytes": file, "scale": tf.constant([0.0])},
    }
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, tensors in inputs.items():
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=NAME, signature_name=signature),
                inputs={name: tf.make_tensor_proto(tensor) for name, tensor in tensors.items()},
            )
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return f"warm-up requests: {len(inputs)}"


def _describe(file: Path, sha256: str, network, max_pixels, scale, known: dict[str, str], checks, folder: Path) -> None:
    """The model card and the manifest."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    memory = max_pixels * bytes_per_pixel(network) / 2**30
    run = run_of(file)
    card = write_card(known, network.count_params(), max_pixels, memory, [*files, "manifest.json"], scale)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    manifest = {
        "created": now(),
        "model": {
            "file": file.name,
            "sha256": sha256,
            "experiment": recorded_experiment(run.config).name if run else None,
            "parameters": network.count_params(),
        },
        "max_pixels": max_pixels,
        "scale": scale,
        "largest_difference_of_255": checks,
        "versions": {**versions(tf.__version__), "git_commit": git_commit()},
        "sha256": {name: sha256_of(folder / name) for name in [*files, "model_card.md"]},
    }
    write_json(folder / "manifest.json", manifest)
