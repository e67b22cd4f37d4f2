"""Judge an encoder by its frozen features: neighbours, a linear probe, how they lie."""

import dataclasses
import warnings

import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler, normalize

from sogclr_tf.linear_head import LinearHead

REGULARISATION = (1e-3, 1e-2, 1e-1)
SIMILARITIES_PER_BLOCK = 2**24


@dataclasses.dataclass(frozen=True)
class Classified:
    """What a classifier made of the test images.

    Attributes:
        top1: how often the highest score is that of the true class, in percent 0..100.
        top5: how often it is among the five highest; None where there are at most five classes.
        predictions: int32 [M], the class of the highest score.
        head: `sogclr_tf.linear_head.LinearHead` of a linear classifier that is to be kept; None
            of others.
    """

    top1: float
    top5: float | None
    predictions: np.ndarray = dataclasses.field(repr=False, compare=False)
    head: LinearHead | None = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class Scores:
    """How good frozen features are, with the features themselves for further use.

    Attributes:
        knn_top1: {k: accuracy of `knn_predict` with k neighbours on the test images}, in percent
            0..100.
        linear_top1: accuracy of `linear_probe` on the test images, in percent 0..100; None where
            it was left out.
        linear_top5: how often the true class is among its five highest scores, in percent; None
            where there are at most five classes, too.
        predictions: int32 [M], the classes that it predicts; None where it was left out.
        head: `sogclr_tf.linear_head.LinearHead`, the classifier itself; None where it was left out.
        train_features: float32 [N, C], the encoder's output for the training images.
        test_features: float32 [M, C], the same for the test images.
    """

    knn_top1: dict[int, float]
    linear_top1: float | None
    linear_top5: float | None
    predictions: np.ndarray | None = dataclasses.field(repr=False, compare=False)
    head: LinearHead | None = dataclasses.field(repr=False, compare=False)
    train_features: np.ndarray = dataclasses.field(repr=False, compare=False)
    test_features: np.ndarray = dataclasses.field(repr=False, compare=False)


def judge(
    encoder,
    train_images,
    train_labels,
    test_images,
    test_labels,
    *,
    k=(20, 200),
    temperature=0.07,
    linear="lbfgs",
    seed=0,
    batch_size=256,
):
    """Scores an encoder on labelled images it need not have seen labels of.

    The encoder sees every image once. A class that the training images lack counts as wrong.

    Args:
        encoder: images [B, H, W, 3] in 0..1 -> features [B, C]: a Keras model, or what
            `sogclr_tf.encoders.load_encoder` gives.
        train_images: N images, in a form that `extract_features` takes.
        train_labels: integers [N] from 0.
        test_images: M images, in a form that `extract_features` takes.
        test_labels: integers [M] from 0.
        k: neighbours that vote in `knn_predict`, one number or several.
        temperature: of the votes in `knn_predict`, above 0.
        linear: "lbfgs" for `linear_probe`, or None to leave it out, as where
            `sogclr_tf.linear.linear_evaluation` takes its place.
        seed: of the held-out tenth in `linear_probe`.
        batch_size: images that the encoder sees at a time.

    Returns:
        `Scores`.

    Raises:
        ValueError: labels that are missing, not integers from 0, of fewer than two classes or of
            another number than the images; images that `extract_features` refuses; or another
            argument that is not as above.
    """
    train_labels = checked_labels(train_labels, "train_labels", classes=2)
    test_labels = checked_labels(test_labels, "test_labels")
    ks = tuple(np.atleast_1d(k).tolist())
    # Before the minutes that the encoder takes.
    _check_votes(ks, temperature)
    if linear not in ("lbfgs", None):
        raise ValueError(f"linear is {linear!r}: expected 'lbfgs', or None to leave it out.")
    for name, images, labels in (
        ("train", train_images, train_labels),
        ("test", test_images, test_labels),
    ):
        # Of a data set the number is not known beforehand.
        if not isinstance(images, tf.data.Dataset):
            _check_lengths(f"{name}_images", images, f"{name}_labels", labels)
    forward = _inference(encoder)
    train_features = _run(forward, train_images, batch_size)
    test_features = _run(forward, test_images, batch_size)
    _check_lengths("train_images", train_features, "train_labels", train_labels)
    _check_lengths("test_images", test_features, "test_labels", test_labels)
    _checked_features(train_features, train_labels, test_features)

    classes = int(train_labels.max()) + 1
    votes = _knn(train_features, train_labels, test_features, ks, temperature, classes)
    classified, head = Classified(None, None, None), None
    if linear:
        head = linear_head(train_features, train_labels, seed=seed)
        classified = classify(head.scores(test_features), test_labels)
    return Scores(
        knn_top1={k: _percent(predicted == test_labels) for k, predicted in votes.items()},
        linear_top1=classified.top1,
        linear_top5=classified.top5,
        predictions=classified.predictions,
        head=head,
        train_features=train_features,
        test_features=test_features,
    )


def classify(scores, labels):
    """`Classified` from the scores of every class.

    Args:
        scores: float [M, K], -inf for classes that were never trained.
        labels: integers [M] from 0.

    Raises:
        ValueError: as `top_k`.
    """
    return Classified(
        top1=top_k(scores, labels, 1),
        top5=top_k(scores, labels, 5) if scores.shape[1] > 5 else None,
        predictions=scores.argmax(axis=1).astype(np.int32),
    )


def top_k(scores, labels, k):
    """How often the true class is among the k highest scores: float, in percent 0..100.

    Of equal scores the lowest class comes first, as in argmax. A label from K up, and one whose
    score is -inf, counts as wrong.

    Args:
        scores: float [M, K], not NaN.
        labels: integers [M] from 0.
        k: int >= 1.

    Raises:
        ValueError: scores of another shape or with NaN, labels that are not as above, or k < 1.
    """
    scores, labels = np.asarray(scores), checked_labels(labels, "labels")
    if scores.ndim != 2 or np.isnan(scores).any():
        raise ValueError(
            f"scores must be [M, K] without NaN, got shape {scores.shape} with "
            f"{np.count_nonzero(np.isnan(scores))} NaN."
        )
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")
    _check_lengths("scores", scores, "labels", labels)
    classes = scores.shape[1]
    known = labels < classes
    column = np.where(known, labels, 0)[:, None]
    own = np.take_along_axis(scores, column, axis=1)
    ahead = (scores > own) | ((scores == own) & (np.arange(classes) < column))
    return _percent(known & (own[:, 0] > -np.inf) & (ahead.sum(axis=1) < k))


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
    train_labels = checked_labels(train_labels, "train_labels")
    train_features, test_features = _checked_features(train_features, train_labels, test_features)
    if train_labels.max() >= num_classes:
        raise ValueError(
            f"train_labels hold class {train_labels.max()}, but num_classes is {num_classes}: "
            "pass a num_classes above the highest label."
        )
    _check_votes((k,), temperature)
    votes = _knn(
        train_features, train_labels, test_features, (k,), temperature, num_classes, block_size
    )
    return votes[k]


def nearest(queries, features, k, *, own_rows=None, block_size=None):
    """The rows of `features` of highest cosine similarity to each query, the nearest first.

        features = extract_features(encoder, images)
        nearest(features[:8], features, 5, own_rows=range(8))

    Args:
        queries: float [Q, C]; normalised here.
        features: float [N, C]; normalised here.
        k: how many to find, 1..N, or 1..N - 1 with `own_rows`.
        own_rows: integers [Q] in 0..N - 1, a row for each query that is not to be found, as it is
            the query itself.
        block_size: queries compared at a time, by default as in `knn_predict`.

    Returns:
        int64 [Q, k].

    Raises:
        ValueError: arguments outside what is stated above, or features that are not finite.
    """
    queries, features = _checked_pair(queries, features, "queries", "features")
    most = len(features) - (own_rows is not None)
    if not 1 <= k <= most:
        raise ValueError(f"k must be in 1..{most} for {len(features)} features, got {k}.")
    if own_rows is not None:
        own_rows = checked_labels(list(own_rows), "own_rows")
        _check_lengths("queries", queries, "own_rows", own_rows)
        if own_rows.max() >= len(features):
            raise ValueError(
                f"own_rows hold {own_rows.max()}, but there are {len(features)} features: pass "
                "rows of features."
            )
    return np.concatenate(
        [rows for rows, _ in _nearest(queries, features, k, block_size, own_rows)]
    )


def alignment(features_a, features_b):
    """How far apart the two views of an example lie: mean ||a - b||^2, a float in 0..4.

    Wang and Isola 2020 (arXiv 2005.10242), with alpha = 2. 0 where both are the same, about 2
    where they have nothing in common; lower is better, at equal `uniformity`.

    Args:
        features_a: float [N, C], of one view of each example; L2-normalised here.
        features_b: float [N, C], of the other.

    Raises:
        ValueError: shapes that differ, features that are not finite, or none.
    """
    features_a, features_b = _checked_pair(features_a, features_b, "features_a", "features_b")
    if len(features_a) != len(features_b):
        raise ValueError(
            f"features_a holds {len(features_a)} examples, features_b {len(features_b)}: pass two "
            "views of the same examples."
        )
    differences = normalize(features_a) - normalize(features_b)
    return float(np.square(differences, dtype=np.float64).sum(axis=1).mean())


def uniformity(features, *, t=2.0, block_size=None):
    """How evenly features cover the sphere: log mean_{i<j} exp(-t ||x_i - x_j||^2), a float.

    Wang and Isola 2020 (arXiv 2005.10242), with t = 2. 0 where all are the same, about -2 t where
    they lie evenly in many dimensions; lower is better, at equal `alignment`.

    Args:
        features: float [N, C], N >= 2; L2-normalised here.
        t: above 0.
        block_size: rows compared with all others at a time, by default as in `knn_predict`.

    Raises:
        ValueError: arguments outside what is stated above, or features that are not finite.
    """
    features = np.asarray(features, np.float32)
    _check_finite(features, "features")
    count = len(features)
    if features.ndim != 2 or count < 2:
        raise ValueError(
            f"uniformity compares pairs, got features of shape {features.shape}: pass [N, C] of at "
            "least 2 examples."
        )
    if not t > 0:
        raise ValueError(f"t must be above 0, got {t}.")
    features, total = normalize(features), 0.0
    for block in _blocks(count, count, block_size):
        # Pairs with earlier rows were counted with those.
        similarities = features[block] @ features[block.start :].T
        kernel = np.exp(2 * t * (similarities - 1))
        total += np.triu(kernel, 1).sum(dtype=np.float64)
    return float(np.log(total / (count * (count - 1) / 2)))


def linear_probe(
    train_features,
    train_labels,
    test_features,
    *,
    seed=0,
    regularisation=REGULARISATION,
    max_iterations=100,
):
    """Classifies by the highest of `linear_scores`, whose arguments and errors these are.

    Returns:
        int32 [M], the class of each test example.
    """
    scores = linear_scores(
        train_features,
        train_labels,
        test_features,
        seed=seed,
        regularisation=regularisation,
        max_iterations=max_iterations,
    )
    return scores.argmax(axis=1).astype(np.int32)


def linear_scores(
    train_features,
    train_labels,
    test_features,
    *,
    seed=0,
    regularisation=REGULARISATION,
    max_iterations=100,
):
    """Scores classes by the `linear_head` of the training examples, whose arguments these are.

    Args:
        test_features: float [M, C].

    Returns:
        float32 [M, K]: the linear function of each class, whose softmax is its probability; -inf
        for a class that training lacks.

    Raises:
        ValueError: as `linear_head`, or test features that are not finite or of another width.
    """
    _, test_features = _checked_features(train_features, train_labels, test_features)
    head = linear_head(
        train_features,
        train_labels,
        seed=seed,
        regularisation=regularisation,
        max_iterations=max_iterations,
    )
    return head.scores(test_features)


def linear_head(
    train_features,
    train_labels,
    *,
    seed=0,
    regularisation=REGULARISATION,
    max_iterations=100,
):
    """Fits multinomial logistic regression to standardised frozen features.

    The features are shifted and scaled to mean 0 and variance 1 by the training examples, so
    that one grid of strengths suits every encoder. The strength is chosen by accuracy on a
    held-out tenth of the training examples and the regression is then fitted to all of them.
    L-BFGS is stopped early for the choice (tolerance 1e-3), for the ranking of strengths
    settles long before the weights do, and run to 1e-4 for the final fit. An optimum not reached
    within `max_iterations` is taken as it stands, for its accuracy is within noise by then.

    Args:
        train_features: float [N, C].
        train_labels: integers [N] from 0, of at least two classes.
        seed: which examples are held out.
        regularisation: scikit-learn's C, the weight of the summed loss against half the squared
            norm of the weights: one number, used as it is, or several to choose from. On the 512
            features of a random convolutional network 1e-2 was best for 1,000 and 5,000 CIFAR-10
            images and 1e-1 for 50,000; 1 was never better and takes the longest.
        max_iterations: L-BFGS iterations per fit.

    Returns:
        `sogclr_tf.linear_head.LinearHead` of features as they are, for K classes, K one above the
        highest training label.

    Raises:
        ValueError: arguments outside what is stated above, features that are not finite, or no
            class with two examples, so that none can be held out.
    """
    train_labels = checked_labels(train_labels, "train_labels", classes=2)
    train_features, _ = _checked_features(train_features, train_labels, train_features)
    strengths = np.atleast_1d(regularisation)
    if strengths.size == 0 or not np.all(strengths > 0):
        raise ValueError(f"regularisation must be numbers above 0, got {regularisation}.")
    scaler = StandardScaler().fit(train_features)
    train_features = scaler.transform(train_features)
    strength = strengths[0]
    if strengths.size > 1:
        strength = _best_strength(train_features, train_labels, strengths, seed, max_iterations)
    regression = _fit(train_features, train_labels, strength, 1e-4, max_iterations)
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(coefficients) == 1:
        # Of two classes scikit-learn gives the difference alone.
        coefficients, intercepts = (np.concatenate([0 * x, x]) for x in (coefficients, intercepts))
    kernel = np.zeros((train_features.shape[1], train_labels.max() + 1))
    bias = np.full(kernel.shape[1], -np.inf)
    kernel[:, regression.classes_], bias[regression.classes_] = coefficients.T, intercepts
    return LinearHead.of_standardised(scaler.mean_, scaler.scale_, kernel, bias)


def checked_labels(labels, name, classes=1):
    """Labels as an array, if they are integers [N] from 0 of at least `classes` classes.

    Raises:
        ValueError: they are not; the message calls them `name`.
    """
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


def check_output(features):
    """Raises ValueError unless what an encoder returned is features [B, D]."""
    if features.shape.rank != 2:
        raise ValueError(
            f"The encoder must return features [B, D], got shape {features.shape}: "
            "end it with a pooling or a flatten layer."
        )


class Compiled:
    """An encoder in inference mode, traced once however often it is handed to this module.

    Args:
        encoder: images [B, H, W, 3] in 0..1 -> features [B, C], called with training=False.
    """

    def __init__(self, encoder):
        self._features = tf.function(
            lambda images: tf.cast(encoder(images, training=False), tf.float32)
        )

    def __call__(self, images, training=False):  # noqa: ARG002
        """Features float32 [B, C]."""
        return self._features(images)


def _inference(encoder):
    return encoder if isinstance(encoder, Compiled) else Compiled(encoder)


def _run(forward, images, batch_size):
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    features = []
    for batch in _batches(images, batch_size):
        padding = [(0, batch_size - len(batch))] + [(0, 0)] * 3
        output = forward(tf.constant(np.pad(batch, padding)))
        check_output(output)
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


def _knn(features, labels, queries, ks, temperature, num_classes, block_size=None):
    """{k: the class of each query by the votes of its k nearest, int32 [Q]}."""
    votes = {k: [] for k in ks}
    for rows, similarities in _nearest(queries, features, max(ks), block_size):
        for k, blocks in votes.items():
            voters = labels[rows[:, :k]]
            blocks.append(_vote(similarities[:, :k], voters, temperature, num_classes))
    return {k: np.concatenate(blocks) for k, blocks in votes.items()}


def _nearest(queries, features, k, block_size, own_rows=None):
    """Yields rows of `features`, int64 [B, k], and their cosines, for one block of queries each.

    The nearest first; all N where k is larger.
    """
    k = min(k, len(features))
    keys, queries = normalize(features).T, normalize(queries)
    for block in _blocks(len(queries), len(features), block_size):
        similarities = queries[block] @ keys
        if own_rows is not None:
            np.put_along_axis(similarities, own_rows[block, None], -np.inf, axis=1)
        rows = np.argpartition(similarities, -k, axis=1)[:, -k:]
        similarities = np.take_along_axis(similarities, rows, axis=1)
        order = np.argsort(-similarities, axis=1, kind="stable")
        yield tuple(np.take_along_axis(x, order, axis=1) for x in (rows, similarities))


def _blocks(rows, columns, block_size):
    """Slices of the rows of a matrix of which one block is held at a time."""
    if block_size is None:
        block_size = max(1, SIMILARITIES_PER_BLOCK // columns)
    elif block_size < 1:
        raise ValueError(f"block_size must be at least 1, got {block_size}.")
    return [slice(start, start + block_size) for start in range(0, rows, block_size)]


def _vote(similarities, voters, temperature, num_classes):
    """similarities float32 [B, k] of voters of classes int [B, k] -> int32 [B]."""
    similarities = similarities.astype(np.float64)
    # Only ratios of weights count; measured from the nearest, none overflows at low temperature.
    weights = np.exp((similarities - similarities.max(axis=1, keepdims=True)) / temperature)
    rows = np.arange(len(voters))[:, None]
    votes = np.bincount(
        (rows * num_classes + voters).ravel(),
        weights=weights.ravel(),
        minlength=len(voters) * num_classes,
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


def _checked_features(train_features, train_labels, test_features):
    pair = _checked_pair(train_features, test_features, "train_features", "test_features")
    _check_lengths("train_features", pair[0], "train_labels", train_labels)
    return pair


def _checked_pair(first, second, first_name, second_name):
    """Both as float32 arrays, for half the memory and twice the speed of float64."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    if not (first.ndim == second.ndim == 2 and first.shape[1] == second.shape[1]):
        raise ValueError(
            f"{first_name} and {second_name} must be [N, C] and [M, C] of one C, "
            f"got shapes {first.shape} and {second.shape}."
        )
    _check_finite(first, first_name)
    _check_finite(second, second_name)
    return first, second


def _check_finite(features, name):
    if len(features) == 0 or not np.isfinite(features).all():
        raise ValueError(
            f"{name} must be finite and not empty, got shape {features.shape} with "
            f"{np.count_nonzero(~np.isfinite(features))} numbers that are not finite."
        )


def _check_votes(ks, temperature):
    if not ks:
        raise ValueError("k is empty: give at least one number of neighbours.")
    for name, value in (*(("k", k) for k in ks), ("temperature", temperature)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}.")


def _check_lengths(values_name, values, labels_name, labels):
    if len(values) != len(labels):
        raise ValueError(
            f"{values_name} holds {len(values)} examples but {labels_name} {len(labels)}: "
            "pass one label for each."
        )
