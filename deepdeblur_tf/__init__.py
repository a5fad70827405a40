"""deepdeblur_tf: the multi-scale network for dynamic scene deblurring (Nah et al., CVPR 2017) in TensorFlow.

Commands: `deepdeblur --help` lists them, as `python -m deepdeblur_tf` does; each is also a module of its own, such as
`python -m deepdeblur_tf.train`.

Functions:
    load_experiment(yaml_path, overrides)    settings from a file
    make_datasets(experiment)                training and validation batches
    build_model(upsampling, ...)             the network
    Trainer(network)                         the custom training step, for `fit`
    make_optimizer(training, steps)          clipped Adam with the report's schedule
    load_model(run_folder_or_keras_file)     a trained network
    restore(model, image)                    a sharp image from a blurry one of any size
    imresize(image, ...)                     MATLAB's bicubic imresize
    metrics.psnr, ssim, ms_ssim (a, b)       image quality as the report measured it
    metrics.ssim_matlab(a, b)                SSIM as most GOPRO tables show it

Importing the package loads no TensorFlow; the first use of a name that needs it does.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors see; tests/test_package.py holds it equal to _HOMES
    from deepdeblur_tf import metrics as metrics
    from deepdeblur_tf.config import load_experiment as load_experiment
    from deepdeblur_tf.data.pipeline import make_datasets as make_datasets
    from deepdeblur_tf.model import build_model as build_model
    from deepdeblur_tf.networks.archive import load_model as load_model
    from deepdeblur_tf.resizing import imresize as imresize
    from deepdeblur_tf.restoration.restorer import restore as restore
    from deepdeblur_tf.training.optimizer import make_optimizer as make_optimizer
    from deepdeblur_tf.training.trainer import Trainer as Trainer

__version__ = "0.1.0"

_HOMES = {
    "Trainer": "training.trainer",
    "build_model": "model",
    "imresize": "resizing",
    "load_experiment": "config",
    "load_model": "networks.archive",
    "make_datasets": "data.pipeline",
    "make_optimizer": "training.optimizer",
    "restore": "restoration.restorer",
}

__all__ = sorted([*_HOMES, "metrics"])


def __getattr__(name):
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name == "metrics":
        value = import_module(f"{__name__}.metrics")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted([*globals(), *__all__])
