"""How a view is drawn: the parameters of augmentation, and published methods by name."""

import dataclasses
import math
import numbers


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a view is drawn: SimCLR's augmentation (arXiv 2002.05709, appendix A), or BYOL's.

    Attributes:
        size: side of the square view, in pixels.
        min_area: least share of the image's area that a crop keeps, in (0, 1]. 1 with
            `max_aspect` 1 and square images turns cropping off.
        max_aspect: a crop's width : height lies between its inverse and it, before the image's
            borders; 1 or more.
        flip: probability of a left-right flip.
        jitter: probability of color jitter.
        strength: of the jitter. Brightness, contrast and saturation are scaled by factors within
            1 +- 0.8 * strength and the hue is turned by up to 0.2 * strength of the circle.
            SimCLR: 1.0 for ImageNet, 0.5 for CIFAR-10.
        saturation: what takes the place of 0.8 for saturation (BYOL: 0.4 at strength 0.5).
        grayscale: probability of losing color.
        blur: probability of a Gaussian blur over a tenth of the side, sigma in 0.1..2.0 pixels.
            SimCLR: 0.5 for ImageNet, none for CIFAR-10.
        solarize: probability that values from 0.5 up are inverted (BYOL's second view: 0.2).

    Raises:
        ValueError: a value is out of range.
    """

    size: int
    min_area: float = 0.08
    max_aspect: float = 4 / 3
    flip: float = 0.5
    jitter: float = 0.8
    strength: float = 1.0
    saturation: float = 0.8
    grayscale: float = 0.2
    blur: float = 0.0
    solarize: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.size, numbers.Integral) and self.size >= 1):
            raise ValueError(f"size is {self.size}: a view's side is a whole number of pixels >= 1")
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area is {self.min_area}: it must lie in (0, 1]")
        if not 1 <= self.max_aspect < math.inf:
            raise ValueError(f"max_aspect is {self.max_aspect}: it must be a number >= 1")
        for name in ("strength", "saturation"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be a number >= 0")
        for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: a probability is in [0, 1]")


def simclr(size: int) -> tuple[Policy, Policy]:
    """SimCLR's for ImageNet (arXiv 2002.05709, appendix A): a pair of equal `Policy`s.

    Args:
        size: side of the square views, in pixels.
    """
    policy = Policy(size, blur=0.5)
    return policy, policy


def simclr_cifar(size: int) -> tuple[Policy, Policy]:
    """SimCLR's for CIFAR-10 (appendix B.9): jitter of half the strength, no blur.

    Args:
        size: side of the square views, in pixels.
    """
    policy = Policy(size, strength=0.5)
    return policy, policy


def byol(size: int) -> tuple[Policy, Policy]:
    """BYOL's (arXiv 2006.07733, appendix B): the views differ in blur and solarization.

    Brightness and contrast within 1 +- 0.4, saturation within 1 +- 0.2, hue by up to 0.1 of the
    circle; the first view is always blurred, of the second a tenth is blurred and a fifth
    solarized.

    Args:
        size: side of the square views, in pixels.
    """
    policy = Policy(size, strength=0.5, saturation=0.4, blur=1.0)
    return policy, dataclasses.replace(policy, blur=0.1, solarize=0.2)


_NAMES = {"simclr": simclr, "simclr-cifar": simclr_cifar, "byol": byol}


def by_name(name: str, size: int) -> tuple[Policy, Policy]:
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
