"""The augmentations of published methods, by name: a policy for each of the two views."""

import dataclasses

from sogclr_tf.augment import Policy


def simclr(size):
    """SimCLR's for ImageNet (arXiv 2002.05709, appendix A): a pair of equal `Policy`s.

    Args:
        size: side of the square views, in pixels.
    """
    policy = Policy(size, blur=0.5)
    return policy, policy


def simclr_cifar(size):
    """SimCLR's for CIFAR-10 (appendix B.9): jitter of half the strength, no blur.

    Args:
        size: side of the square views, in pixels.
    """
    policy = Policy(size, strength=0.5)
    return policy, policy


def byol(size):
    """BYOL's (arXiv 2006.07733, appendix B): the views differ in blur and solarisation.

    Brightness and contrast within 1 +- 0.4, saturation within 1 +- 0.2, hue by up to 0.1 of the
    circle; the first view is always blurred, of the second a tenth is blurred and a fifth
    solarised.

    Args:
        size: side of the square views, in pixels.
    """
    policy = Policy(size, strength=0.5, saturation=0.4, blur=1.0)
    return policy, dataclasses.replace(policy, blur=0.1, solarise=0.2)


_NAMES = {"simclr": simclr, "simclr-cifar": simclr_cifar, "byol": byol}


def by_name(name, size):
    """The (first view's, second view's) `Policy` of "simclr", "simclr-cifar" or "byol".

    Args:
        name: of the method.
        size: side of the square views, in pixels.

    Raises:
        ValueError: an unknown name, or a size that is none.
    """
    if name not in _NAMES:
        raise ValueError(f"unknown policy '{name}': choose one of {', '.join(_NAMES)}")
    return _NAMES[name](size)
