"""The trainings of the studies on emoji: towers, losses by name, recalls, and cells of tables."""

import statistics

import sogclr_tf

SIDE = 32
# The batch at which the base of a learning rate is that rate.
RATE_BATCH = 32
KS = (1, 5, 10)
WAYS = ("image_to_text", "text_to_image")
# gamma falls as FastCLIP (arXiv 2407.01445) recommends. By the proximal rule it is the least weight
# of a batch, low enough for the rule to be what counts. No gamma is tuned.
CONSTANT, FALLING, DECAY, LEAST = 0.9, 0.2, 0.5, 0.1
LEARNED = {"temperature_scheme": "global", "rho": 3.0}
# {method: (loss, its options)}
METHODS = {
    "clip": ("clip", {}),
    "siglip": ("siglip", {}),
    "two_way": ("two_way", {**LEARNED, "gamma": CONSTANT}),
    "two_way, gamma falling": ("two_way", {**LEARNED, "gamma": FALLING, "decay": DECAY}),
    "two_way, proximal": ("two_way", {**LEARNED, "gamma": LEAST, "gamma_rule": "proximal"}),
}


def contrastive_loss(method, temperature, steps, num_examples, num_captions=None):
    """The loss that a method names, for a training of so many steps."""
    name, options = METHODS[method]
    options = {**options, "temperature": temperature}
    decay = options.pop("decay", None)
    if decay:
        options["gamma_decay_steps"] = round(decay * steps)
    return sogclr_tf.build_loss(name, num_examples, num_captions, **options)


def fit(source, method, *, batch, rate, temperature, seed, epochs, length):
    """Two towers trained on a source with texts: AdamW, whose rate falls along a cosine.

    Args:
        rate: base of the learning rate, which is rate * sqrt(batch / RATE_BATCH).
        temperature: the first.
        seed: of the first weights, the views, their order and which captions are drawn.
        length: how many words of a text are read.

    Returns:
        (the model, its last temperature).
    """
    import keras

    from sogclr_tf.data.image_text import mild
    from sogclr_tf.training.optimizers import build_optimizer

    keras.utils.clear_session()
    pairs = sogclr_tf.training_pairs(source, batch_size=batch, policy=mild(SIDE), seed=seed)
    steps = epochs * pairs.steps_per_epoch
    keras.utils.set_random_seed(seed)
    image_encoder = sogclr_tf.small_resnet(
        input_shape=(SIDE, SIDE, 3), widths=(16, 32, 64), stem_stride=2
    )
    words = sogclr_tf.vocabulary(source.texts())
    text_encoder = sogclr_tf.TextEncoder(words, length=length, width=64)
    loss = contrastive_loss(method, temperature, steps, source.num_examples, source.num_captions)
    model = sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, loss)
    schedule = sogclr_tf.warmup_cosine(
        rate * (batch / RATE_BATCH) ** 0.5, total_steps=steps, warmup_steps=steps // 20
    )
    model.compile(build_optimizer("adamw", schedule, 1e-2))
    history = model.fit(pairs, epochs=epochs, verbose=0).history
    return model, history.get("temperature", [temperature])[-1]


def recalls(embedder, source):
    """{"image_to_text_at_1": ...} in percent, of all images and texts of a source.

    Args:
        embedder: `PairEmbedder` of a trained model.
    """
    from sogclr_tf.data.sources.text_owners import image_of_text

    images, _ = sogclr_tf.evaluation_set(source, SIDE)
    found = sogclr_tf.recall(
        embedder.images(images),
        embedder.texts(source.texts()),
        KS,
        image_of_text=image_of_text(source),
    )
    return {
        recall_at(way, k): 100 * share for way in WAYS for k, share in getattr(found, way).items()
    }


def recall_at(way, k):
    return f"{way}_at_{k}"


def mean_recall(found, prefix=""):
    """The mean of the six recalls."""
    return statistics.mean(found[prefix + recall_at(way, k)] for way in WAYS for k in KS)


def columns(found, prefix=""):
    """Mean and, in brackets, lowest and highest of the seeds: of each recall, then of the six.

    Args:
        found: list of dictionaries of recalls, of a run of each seed.
    """
    values = [[one[prefix + recall_at(way, k)] for one in found] for way in WAYS for k in KS]
    values.append([mean_recall(one, prefix) for one in found])
    return [spread(column) for column in values]


def header():
    """The names of `columns`."""
    return [*(f"{way.replace('_', ' ')} @{k}" for way in WAYS for k in KS), "mean of the six"]


def spread(values):
    return f"{statistics.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})"
