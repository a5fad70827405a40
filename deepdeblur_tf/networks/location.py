"""Where a network's file lies: in a run folder, by itself, or in the package. Loads no TensorFlow."""

from __future__ import annotations

from pathlib import Path

from deepdeblur_tf.errors import UserError
from deepdeblur_tf.files import user_path
from deepdeblur_tf.runs.folder import Run

# The networks that come with the package, each NAME.keras with its card NAME.md.
TRAINED = Path(__file__).parents[1] / "trained"


class NetworkError(UserError):
    """A network that is not there or cannot be loaded; the message names the file and says why."""


def _path(model) -> Path:
    """Where a MODEL lies: a name stands for the network that comes with the package, whatever the folder holds."""
    trained = TRAINED / f"{model}.keras"
    return trained if Path(str(model)).name == str(model) and trained.is_file() else user_path(model)


def model_file(model) -> Path:
    """The file of a network, from what a command's MODEL or `load_model` may be given.

    Another kind of MODEL belongs here: all commands ask this function, and go on with the file.

    Args:
        model: The folder of a finished run, a `.keras` file such as RUN/checkpoints/best.keras, or photographs, the
            network that comes with the package; a folder of that name is ./photographs.

    Raises:
        NetworkError: names what is missing, and for an unfinished run what there is instead.
    """
    path = _path(model)
    file = Run(path).model if path.is_dir() else path
    if not file.is_file():
        best = Run(path).best
        hint = f" The run is not finished; its best network so far is {best}." if best.is_file() else ""
        missing = "no such file" if path.is_dir() or path.suffix else "no such run"
        raise NetworkError(
            f"{file}: {missing}. Give the folder of a finished run, a .keras file, or photographs, the network that "
            f"comes with the package.{hint}"
        )
    return file


def run_of(model) -> Run | None:
    """The run folder that a network lies in; None for a file outside of one. `model` is as `model_file` has it."""
    path = _path(model).resolve()
    folder = path if path.is_dir() else path.parent.parent if path.parent.name == "checkpoints" else path.parent
    return Run(folder) if Run(folder).config.is_file() and Run(folder).logs.is_dir() else None
