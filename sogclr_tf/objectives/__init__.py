"""Contrastive objectives, each `loss(a, b, index)` on the projections of two sides."""

from sogclr_tf.objectives.base import ContrastiveLoss
from sogclr_tf.objectives.clip import CLIPLoss
from sogclr_tf.objectives.decoupled import DecoupledContrastiveLoss
from sogclr_tf.objectives.global_contrastive import GlobalContrastiveLoss
from sogclr_tf.objectives.nt_xent import NTXentLoss
from sogclr_tf.objectives.robust import RobustGlobalContrastiveLoss
from sogclr_tf.objectives.two_way import TwoWayGlobalContrastiveLoss

__all__ = [
    "CLIPLoss",
    "ContrastiveLoss",
    "DecoupledContrastiveLoss",
    "GlobalContrastiveLoss",
    "NTXentLoss",
    "RobustGlobalContrastiveLoss",
    "TwoWayGlobalContrastiveLoss",
    "build_objective",
    "objective_names",
    "objective_options",
]

_NAMES = {
    "simclr": NTXentLoss,
    "dcl": DecoupledContrastiveLoss,
    "sogclr": GlobalContrastiveLoss,
    "isogclr": RobustGlobalContrastiveLoss,
    "clip": CLIPLoss,
    "two_way": TwoWayGlobalContrastiveLoss,
}


def objective_names():
    """The names that `build_objective` knows."""
    return sorted(_NAMES)


def objective_options(name):
    """The names of the arguments of the objective called `name`."""
    return _objective(name).options


def build_objective(name, num_examples, **options):
    """The objective called `name` for a training set of `num_examples` examples.

    Args:
        name: one of `objective_names()`.
        num_examples: the size of the training set; objectives without a table do not need it.
        **options: the objective's own arguments, such as `temperature` and `gamma`.

    Raises:
        ValueError: the name or an option is unknown, or an option is out of range.
    """
    objective = _objective(name)
    unknown = sorted(set(options) - set(objective.options))
    if unknown:
        raise ValueError(
            f"loss '{name}' has no option '{unknown[0]}': it takes {', '.join(objective.options)}"
        )
    if objective.has_table:
        options["num_examples"] = num_examples
    return objective(**options)


def _objective(name):
    if name not in _NAMES:
        raise ValueError(f"unknown loss '{name}': choose one of {', '.join(objective_names())}")
    return _NAMES[name]
