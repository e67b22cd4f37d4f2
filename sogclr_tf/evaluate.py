"""Judge an encoder by its frozen features: nearest neighbours and a linear probe."""

import dataclasses
import warnings

import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize

REGULARISATION = (1e-3, 1e-2, 1e-1)
SIMILARITIES_PER_BLOCK = 2**24


@dataclasses.dataclass(frozen=True)
class Scores:
    """How good frozen features are, with the features themselves for further use.

    Attributes:
        knn_top1: accuracy of `knn_predict` on the test images, in percent 0..100.
        linear_top1: accuracy of `linear_probe` on the test images, in percent 0..100.
        train_features: float32 [N, C], the encoder's output for the training images.
        test_features: float32 [M, C], the same for the test images.
    """

    knn_top1: float
    linear_top1: float
    train_features: np.ndarray = dataclasses.field(repr=False, compare=False)
    test_features: np.ndarray = dataclasses.field(repr=False, compare=False)


def judge(
    encoder,
    train_images,
    train_labels,
    test_images,
    test_labels,
    *,
    k=200,
    temperature=0.07,
    seed=0,
    batch_size=256,
):
    """Scores an encoder on labelled images it need not have seen labels of.

    Args:
        encoder: Keras model, images [B, H, W, 3] in 0..1 -> features [B, C].
        train_images: N images, in a form that `extract_features` takes.
        train_labels: integers [N] from 0.
        test_images: M images, in a form that `extract_features` takes.
        test_labels: integers [M] from 0.
        k: neighbours that vote in `knn_predict`.
        temperature: of the votes in `knn_predict`, above 0.
        seed: of the held-out tenth in `linear_probe`.
        batch_size: images that the encoder sees at a time.

    Returns:
        `Scores`.

    Raises:
        ValueError: labels that are missing, not integers from 0, of fewer than two classes or of
            another number than the images; or images that `extract_features` refuses.
    """
    train_labels = _checked_labels(train_labels, "train_labels", classes=2)
    test_labels = _checked_labels(test_labels, "test_labels")
    for name, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        # Before the minutes that the encoder takes, where the number is known beforehand.
        if not isinstance(images, tf.data.Dataset):
            _check_lengths(f"{name}_images", images, f"{name}_labels", labels)
    forward = _inference(encoder)
    train_features = _run(forward, train_images, batch_size)
    test_features = _run(forward, test_images, batch_size)
    _check_lengths("train_images", train_features, "train_labels", train_labels)
    _check_lengths("test_images", test_features, "test_labels", test_labels)

    neighbours = knn_predict(
        train_features,
        train_labels,
        test_features,
        k=k,
        temperature=temperature,
        num_classes=int(train_labels.max()) + 1,
    )
    linear = linear_probe(train_features, train_labels, test_features, seed=seed)
    return Scores(
        knn_top1=_percent(neighbours == test_labels),
        linear_top1=_percent(linear == test_labels),
        train_features=train_features,
        test_features=test_features,
    )


def extract_features(encoder, images, batch_size=256):
    """Runs a frozen encoder over images, in inference mode.

    The encoder is compiled once: the last batch is padded to the size of the others, and the
    padding's features are dropped.

    Args:
        encoder: Keras model, float32 images [B, H, W, C] in 0..1 -> features [B, D].
        images: array [N, H, W, C] of uint8 (divided by 255 here) or of floats in 0..1; or a
            `tf.data.Dataset` whose elements are single images [H, W, C] of either kind.
        batch_size: images that the encoder sees at a time.

    Returns:
        float32 [N, D], in the order of the images.

    Raises:
        ValueError: no images; images of another shape, dtype or range; `batch_size` below 1;
            features that are not [B, D].
    """
    return _run(_inference(encoder), images, batch_size)


def knn_predict(
    train_features,
    train_labels,
    test_features,
    *,
    k=200,
    temperature=0.07,
    num_classes,
    block_size=None,
):
    """Classifies by a weighted vote of the nearest training examples.

    The k training examples of highest cosine similarity s to a test example each vote for their
    class with weight exp(s / temperature); the class of the largest sum wins, the lowest such
    class where sums are equal. k = 200 and temperature 0.07 are the values of Wu et al. 2018
    (arXiv 1805.01978, section 3.4).

    Args:
        train_features: float [N, C]; normalised here.
        train_labels: integers [N] in 0..num_classes - 1.
        test_features: float [M, C]; normalised here.
        k: how many neighbours vote; N where k is larger.
        temperature: above 0.
        num_classes: how many classes there are.
        block_size: test examples compared at a time. By default as many as keep the block of
            similarities at 2**24 numbers (64 MiB), whatever N is.

    Returns:
        int32 [M], the class of each test example.

    Raises:
        ValueError: arguments outside what is stated above, or features that are not finite.
    """
    train_labels = _checked_labels(train_labels, "train_labels")
    train_features, test_features = _checked_features(train_features, train_labels, test_features)
    if train_labels.max() >= num_classes:
        raise ValueError(
            f"train_labels hold class {train_labels.max()}, but num_classes is {num_classes}: "
            "pass a num_classes above the highest label."
        )
    for name, value in (("k", k), ("temperature", temperature)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}.")
    if block_size is None:
        block_size = max(1, SIMILARITIES_PER_BLOCK // len(train_features))
    elif block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}.")

    keys = normalize(train_features).T
    queries = normalize(test_features)
    k = min(k, len(train_labels))
    blocks = [
        _vote(queries[start : start + block_size] @ keys, train_labels, k, temperature, num_classes)
        for start in range(0, len(queries), block_size)
    ]
    return np.concatenate(blocks)


def linear_probe(
    train_features,
    train_labels,
    test_features,
    *,
    seed=0,
    regularisation=REGULARISATION,
    max_iterations=100,
):
    """Classifies by multinomial logistic regression on standardised frozen features.

    The features are shifted and scaled to mean 0 and variance 1 by the training examples, so
    that one grid of strengths suits every encoder. The strength is chosen by accuracy on a
    held-out tenth of the training examples and the regression is then fitted to all of them.
    L-BFGS is stopped early for the choice (tolerance 1e-3), for the ranking of strengths
    settles long before the weights do, and run to 1e-4 for the final fit. An optimum not reached
    within `max_iterations` is taken as it stands, for its accuracy is within noise by then.

    Args:
        train_features: float [N, C].
        train_labels: integers [N] from 0, of at least two classes.
        test_features: float [M, C].
        seed: which examples are held out.
        regularisation: scikit-learn's C, the weight of the summed loss against half the squared
            norm of the weights: one number, used as it is, or several to choose from. On the 512
            features of a random convolutional network 1e-2 was best for 1,000 and 5,000 CIFAR-10
            images and 1e-1 for 50,000; 1 was never better and takes the longest.
        max_iterations: L-BFGS iterations per fit.

    Returns:
        int32 [M], the class of each test example.

    Raises:
        ValueError: arguments outside what is stated above, features that are not finite, or no
            class with two examples, so that none can be held out.
    """
    train_labels = _checked_labels(train_labels, "train_labels", classes=2)
    train_features, test_features = _checked_features(train_features, train_labels, test_features)
    strengths = np.atleast_1d(regularisation)
    if strengths.size == 0 or not np.all(strengths > 0):
        raise ValueError(f"regularisation must be numbers above 0, got {regularisation}.")
    scaler = StandardScaler().fit(train_features)
    train_features = scaler.transform(train_features)
    strength = strengths[0]
    if strengths.size > 1:
        strength = _best_strength(train_features, train_labels, strengths, seed, max_iterations)
    regression = _fit(train_features, train_labels, strength, 1e-4, max_iterations)
    return regression.predict(scaler.transform(test_features)).astype(np.int32)


def _inference(encoder):
    return tf.function(lambda images: tf.cast(encoder(images, training=False), tf.float32))


def _run(forward, images, batch_size):
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    features = []
    for batch in _batches(images, batch_size):
        padding = [(0, batch_size - len(batch))] + [(0, 0)] * 3
        output = forward(tf.constant(np.pad(batch, padding)))
        if output.shape.rank != 2:
            raise ValueError(
                f"The encoder must return features [B, D], got shape {output.shape}: "
                "end it with a pooling or a flatten layer."
            )
        features.append(output.numpy()[: len(batch)])
    if not features:
        raise ValueError("There are no images to extract features from: pass at least one.")
    return np.concatenate(features)


def _batches(images, batch_size):
    """Yields float32 [B, H, W, C] in 0..1; the last may hold fewer than `batch_size`."""
    if isinstance(images, tf.data.Dataset):
        shape = getattr(images.element_spec, "shape", None)
        if shape is None or shape.rank not in (None, 3):
            raise ValueError(
                "A dataset must yield single images [H, W, C], "
                f"got elements {images.element_spec}: map it to the image, unbatched."
            )
        chunks = images.batch(batch_size).prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    else:
        images = np.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"images must be [N, H, W, C], got shape {images.shape}.")
        chunks = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return map(_unit_range, chunks)


def _unit_range(images):
    if images.dtype == np.uint8:
        return images.astype(np.float32) / 255
    if not np.issubdtype(images.dtype, np.floating):
        raise ValueError(f"images must be uint8 or floats in 0..1, got dtype {images.dtype}.")
    # The margin forgives the rounding of a resize, and still catches floats in 0..255 or -1..1.
    if not (images.min() >= -1e-3 and images.max() <= 1 + 1e-3):
        raise ValueError(
            f"Float images must lie in 0..1, got {images.min():.4g}..{images.max():.4g}: "
            "rescale them, or pass uint8."
        )
    return images.astype(np.float32)


def _vote(similarities, labels, k, temperature, num_classes):
    """similarities: float32 [B, N] -> int32 [B]."""
    nearest = np.argpartition(similarities, -k, axis=1)[:, -k:]
    similarities = np.take_along_axis(similarities, nearest, axis=1).astype(np.float64)
    # Only ratios of weights count; measured from the nearest, none overflows at low temperature.
    weights = np.exp((similarities - similarities.max(axis=1, keepdims=True)) / temperature)
    rows = np.arange(len(nearest))[:, None]
    votes = np.bincount(
        (rows * num_classes + labels[nearest]).ravel(),
        weights=weights.ravel(),
        minlength=len(nearest) * num_classes,
    )
    return votes.reshape(-1, num_classes).argmax(axis=1).astype(np.int32)


def _best_strength(features, labels, strengths, seed, max_iterations):
    order = np.random.default_rng(seed).permutation(len(labels))
    # One example of every class stays, so that the regression always knows all classes.
    kept = np.unique(labels[order], return_index=True)[1]
    held_out = np.delete(order, kept)[: max(1, len(labels) // 10)]
    if held_out.size == 0:
        raise ValueError(
            f"No class has two of the {len(labels)} training examples, so that none can be held "
            "out to choose the regularisation: pass one number for it."
        )
    fitted = np.setdiff1d(order, held_out)
    accuracies = [
        _fit(features[fitted], labels[fitted], strength, 1e-3, max_iterations).score(
            features[held_out], labels[held_out]
        )
        for strength in strengths
    ]
    return strengths[int(np.argmax(accuracies))]


def _fit(features, labels, strength, tolerance, max_iterations):
    regression = LogisticRegression(C=strength, tol=tolerance, max_iter=max_iterations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return regression.fit(features, labels)


def _percent(correct):
    return 100 * float(np.mean(correct))


def _checked_labels(labels, name, classes=1):
    if labels is None:
        raise ValueError(f"{name} is None: judging features takes a label for every image.")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name} must be integers [N], got dtype {labels.dtype}, shape {labels.shape}."
        )
    if len(np.unique(labels)) < classes:
        raise ValueError(
            f"{name} must hold at least {classes} different classes, got {len(np.unique(labels))}."
        )
    if labels.min() < 0:
        raise ValueError(
            f"{name} must be classes from 0, got {labels.min()}: leave unlabelled images out."
        )
    return labels


def _checked_features(train_features, train_labels, test_features):
    """Both as float32 arrays, for half the memory and twice the speed of float64."""
    train_features = np.asarray(train_features, np.float32)
    test_features = np.asarray(test_features, np.float32)
    shapes = train_features.shape, test_features.shape
    if not (train_features.ndim == test_features.ndim == 2 and shapes[0][1] == shapes[1][1]):
        raise ValueError(
            "train_features and test_features must be [N, C] and [M, C] of one C, "
            f"got shapes {shapes[0]} and {shapes[1]}."
        )
    _check_lengths("train_features", train_features, "train_labels", train_labels)
    for name, features in (("train_features", train_features), ("test_features", test_features)):
        if len(features) == 0 or not np.isfinite(features).all():
            raise ValueError(
                f"{name} must be finite and not empty, got shape {features.shape} with "
                f"{np.count_nonzero(~np.isfinite(features))} numbers that are not finite."
            )
    return train_features, test_features


def _check_lengths(values_name, values, labels_name, labels):
    if len(values) != len(labels):
        raise ValueError(
            f"{values_name} holds {len(values)} examples but {labels_name} {len(labels)}: "
            "pass one label for each."
        )
