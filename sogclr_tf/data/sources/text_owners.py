"""Which image each text of a source is of."""

import numpy as np
import tensorflow as tf

from sogclr_tf.data.autograph import as_it_stands
from sogclr_tf.data.sources.base import Source


@as_it_stands
def image_of_text(source: Source) -> np.ndarray:
    """int64 [number of texts]: of each of `source.texts()` the place of its image.

    Images count in the order of `images_and_labels`, as texts do.
    """
    passing = source.examples().map(lambda example: tf.size(example["text"]))
    return np.repeat(np.arange(source.size), list(passing.as_numpy_iterator()))
