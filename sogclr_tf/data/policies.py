"""How a view is drawn: the parameters of augmentation, and published methods by name."""

import dataclasses
import math
import numbers

from sogclr_tf.data.view_size import Size, height_and_width


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a view is drawn: SimCLR's augmentation (arXiv 2002.05709, appendix A), or BYOL's.

    Attributes:
        size: of the view in pixels: the side of a square, or (height, width).
        min_area: least share of the image's area that a crop keeps, in (0, 1]. 1 with
            `max_aspect` 1 and images of the view's proportions turns cropping off.
        max_aspect: 1 or more. A crop's width : height is the view's own, 1 for a square, times a
            factor between the inverse of `max_aspect` and it, before the image's borders.
        flip: probability of a left-right flip.
        jitter: probability of color jitter.
        strength: of the jitter. Brightness and contrast are scaled by factors within
            1 +- 0.8 * strength. SimCLR: 1.0 for ImageNet, 0.5 for CIFAR-10.
        saturation: saturation is scaled by a factor within 1 +- saturation * strength (BYOL: 0.4
            at strength 0.5). Of images with 3 channels, as hue and grayscale.
        hue: the hue is turned by up to hue * strength of the circle.
        grayscale: probability of losing color.
        blur: probability of a Gaussian blur over a tenth of the shorter side, sigma in 0.1..2.0
            pixels. SimCLR: 0.5 for ImageNet, none for CIFAR-10.
        solarize: probability that values from 0.5 up are inverted (BYOL's second view: 0.2). Of
            images with 3 channels or 1.

    Raises:
        ValueError: a value is out of range.

    Examples:
        >>> import numpy as np
        >>> import sogclr_tf
        >>> cifar = sogclr_tf.Policy(size=32, strength=0.5)  # as SimCLR for CIFAR-10
        >>> cifar.image_size
        (32, 32)
        >>> mirror = sogclr_tf.Policy(4, min_area=1, max_aspect=1, flip=1, jitter=0, grayscale=0)
        >>> images = np.tile(np.array([[0], [10], [20], [30]], np.uint8), [2, 4, 1, 3])
        >>> views = sogclr_tf.training_views(images, batch_size=2, policy=mirror)
        >>> next(iter(views.stream()))["view_a"][0, 0, :, 0].numpy().tolist()
        [30, 20, 10, 0]
    """

    size: Size
    min_area: float = 0.08
    max_aspect: float = 4 / 3
    flip: float = 0.5
    jitter: float = 0.8
    strength: float = 1.0
    saturation: float = 0.8
    hue: float = 0.2
    grayscale: float = 0.2
    blur: float = 0.0
    solarize: float = 0.0

    def __post_init__(self) -> None:
        height, width = height_and_width(self.size)
        # A list could be no key of what is compiled for a policy.
        size = height if isinstance(self.size, numbers.Integral) else (height, width)
        object.__setattr__(self, "size", size)
        if not 0 < self.min_area <= 1:
            raise ValueError(f"min_area is {self.min_area}: it must lie in (0, 1]")
        if not 1 <= self.max_aspect < math.inf:
            raise ValueError(f"max_aspect is {self.max_aspect}: it must be a number >= 1")
        for name in ("strength", "saturation", "hue"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be a number >= 0")
        for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: a probability is in [0, 1]")

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the view."""
        return height_and_width(self.size)

    def check_channels(self, channels: int, name: str) -> None:
        """Raises ValueError where the policy changes what images with so many channels have not.

        Args:
            channels: of the images.
            name: what to call them in the message.
        """
        jitters = self.jitter and self.strength
        asked = {
            "saturation": jitters and self.saturation,
            "hue": jitters and self.hue,
            "grayscale": self.grayscale,
            "solarize": self.solarize and channels != 1,
        }
        wrong = [key for key, value in asked.items() if value and channels != 3]
        if wrong:
            raise ValueError(
                f"the policy has {', '.join(wrong)}, which images of {name} with {channels} "
                f"channels have not: leave them out with {', '.join(f'{key}=0' for key in wrong)}, "
                "or take both policies of sogclr_tf.data.policies.bands(size)"
            )


def simclr(size: Size) -> tuple[Policy, Policy]:
    """SimCLR's for ImageNet (arXiv 2002.05709, appendix A): a pair of equal `Policy`s.

    Args:
        size: of the views in pixels: the side of a square, or (height, width).
    """
    policy = Policy(size, blur=0.5)
    return policy, policy


def simclr_cifar(size: Size) -> tuple[Policy, Policy]:
    """SimCLR's for CIFAR-10 (appendix B.9): jitter of half the strength, no blur.

    Args:
        size: of the views in pixels: the side of a square, or (height, width).
    """
    policy = Policy(size, strength=0.5)
    return policy, policy


def byol(size: Size) -> tuple[Policy, Policy]:
    """BYOL's (arXiv 2006.07733, appendix B): the views differ in blur and solarization.

    Brightness and contrast within 1 +- 0.4, saturation within 1 +- 0.2, hue by up to 0.1 of the
    circle; the first view is always blurred, of the second a tenth is blurred and a fifth
    solarized.

    Args:
        size: of the views in pixels: the side of a square, or (height, width).
    """
    policy = Policy(size, strength=0.5, saturation=0.4, blur=1.0)
    return policy, dataclasses.replace(policy, blur=0.1, solarize=0.2)


def bands(size: Size) -> tuple[Policy, Policy]:
    """For images of any number of channels: SimCLR's without what needs colors.

    Crops, flips, brightness and contrast, which change all channels alike.

    Args:
        size: of the views in pixels: the side of a square, or (height, width).
    """
    policy = Policy(size, saturation=0.0, hue=0.0, grayscale=0.0)
    return policy, policy


_NAMES = {"simclr": simclr, "simclr-cifar": simclr_cifar, "byol": byol, "bands": bands}


def by_name(name: str, size: Size) -> tuple[Policy, Policy]:
    """The (first view's, second view's) `Policy` of "simclr", "simclr-cifar", "byol" or "bands".

    Args:
        name: of the method.
        size: of the views in pixels: the side of a square, or (height, width).

    Raises:
        ValueError: an unknown name, or a size that is none.
    """
    if name not in _NAMES:
        raise ValueError(f"unknown policy '{name}': choose one of {', '.join(_NAMES)}")
    return _NAMES[name](size)
