"""Global contrastive learning at small batch: SogCLR for TensorFlow and Keras.

Yuan et al., "Provable Stochastic Optimization for Global Contrastive Learning: Small Batch Does
Not Harm Performance", ICML 2022, arXiv 2202.12387.
"""

import importlib
import importlib.util
import os

__version__ = "0.1.0"

# name -> the module that defines it. Names are looked up on first use, so that a command's --help
# and a mistyped flag answer before TensorFlow is loaded.
_PUBLIC = {
    "SogCLR": "model",
    "OnlineProbe": "probe",
    "TwoTowerSogCLR": "two_tower",
    "TextEncoder": "text",
    "NTXentLoss": "objectives",
    "DecoupledContrastiveLoss": "objectives",
    "GlobalContrastiveLoss": "objectives",
    "RobustGlobalContrastiveLoss": "objectives",
    "TwoWayGlobalContrastiveLoss": "objectives",
    "CLIPLoss": "objectives",
    "exact_global_objective": "exact",
    "LARS": "lars",
    "ResNet": "resnet",
    "small_resnet": "resnet",
    "projection_head": "projector",
    "training_views": "data",
    "training_pairs": "image_text",
    "export_encoder": "export",
    "export_keras": "export",
    "export_tflite": "export",
    "export_towers": "export",
    "import_resnet": "weights",
}
_MODULES = (
    "augment",
    "callbacks",
    "checkpoint",
    "data",
    "encoders",
    "evaluate",
    "evaluation_run",
    "exact",
    "export",
    "export_run",
    "fine_tune",
    "image_text",
    "image_ops",
    "lars",
    "linear_head",
    "metrics",
    "model",
    "monitors",
    "objectives",
    "optimizers",
    "plots",
    "policies",
    "probe",
    "probe_stream",
    "projector",
    "report",
    "resnet",
    "retrieval",
    "run_folder",
    "schedules",
    "sources",
    "strategy",
    "text",
    "two_tower",
    "warmup",
    "weight_files",
    "weights",
)

__all__ = ["__version__", *_PUBLIC, *_MODULES]  # noqa: PLE0604

if importlib.util.find_spec("tensorflow") is None:
    raise ImportError(
        "sogclr_tf needs TensorFlow, which is chosen by an extra: "
        'pip install "sogclr_tf[cpu]", "sogclr_tf[gpu]" or "sogclr_tf[tpu]"'
    )


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(_load(_PUBLIC[name]), name)
    if name in _MODULES:
        return _load(name)
    raise AttributeError(f"module 'sogclr_tf' has no attribute '{name}'")


def __dir__():
    return sorted(__all__)


def _load(module):
    # Asked before Keras is imported, which fails in its own words where the other backend is
    # missing, and after, because Keras has a settings file too.
    _require_backend(os.environ.get("KERAS_BACKEND", "tensorflow"))
    import keras

    _require_backend(keras.backend.backend())
    return importlib.import_module(f"sogclr_tf.{module}")


def _require_backend(backend):
    if backend != "tensorflow":
        raise ImportError(
            f"sogclr_tf needs Keras's TensorFlow backend, but Keras is set to '{backend}': "
            "set KERAS_BACKEND=tensorflow before Python starts"
        )
