"""Global contrastive learning at small batch: SogCLR for TensorFlow and Keras.

Yuan et al., "Provable Stochastic Optimization for Global Contrastive Learning: Small Batch Does
Not Harm Performance", ICML 2022, arXiv 2202.12387.

The public names are listed in `__init__.pyi`. Each is imported on first use, so that `--help` and a
mistyped flag answer before TensorFlow is loaded.
"""

import importlib.util
import os

import lazy_loader

from sogclr_tf.version import __version__ as __version__

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
        "sogclr_tf needs TensorFlow, which is chosen by an extra: "
        'pip install "sogclr_tf[cpu]", "sogclr_tf[gpu]" or "sogclr_tf[tpu]"'
    )


def __getattr__(name: str) -> object:
    if name in __all__:
        _require_backend()
    return _import(name)


def _require_backend() -> None:
    # Asked before Keras is imported, which fails in its own words where the other backend is
    # missing, and after, because Keras has a settings file too.
    _check_backend(os.environ.get("KERAS_BACKEND", "tensorflow"))
    import keras

    _check_backend(keras.backend.backend())


def _check_backend(backend: str) -> None:
    if backend != "tensorflow":
        raise ImportError(
            f"sogclr_tf needs Keras's TensorFlow backend, but Keras is set to '{backend}': "
            "set KERAS_BACKEND=tensorflow before Python starts"
        )
