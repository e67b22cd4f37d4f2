"""What a run of images and texts does where it differs from one of images alone.

`run.py` reads the flags and tells the story; it calls these where a config has a text encoder.
"""

import logging

import numpy as np

import sogclr_tf

_LOG = logging.getLogger("sogclr_tf")

KS = (1, 5, 10)


def source(config, split):
    """The images and texts of a split of the config's data set."""
    data = config.data
    return sogclr_tf.sources.TfdsSource(data.name, split, data.data_dir, text=data.text)


def stream(config):
    """The training stream."""
    policy = sogclr_tf.augment.Policy(size=config.data.image_size, **config.augment)
    return sogclr_tf.training_pairs(
        source(config, config.data.train_split),
        batch_size=config.batch_size,
        policy=policy,
        seed=config.seed,
    )


def model(config, pairs, image_encoder, objective):
    """The two towers, not compiled; the vocabulary is that of the training texts."""
    options = config.text_encoder.to_dict()
    words = sogclr_tf.text.vocabulary(pairs.source.texts(), options.pop("max_tokens"))
    projectors = (
        sogclr_tf.two_tower.linear_projector(config.projector.output, name)
        for name in ("image_projector", "text_projector")
    )
    text_encoder = sogclr_tf.TextEncoder(words, **options)
    return sogclr_tf.TwoTowerSogCLR(image_encoder, text_encoder, objective, *projectors)


def draw_tables(objective, folder):
    """The tables of both sides."""
    for side, name in (("a", "images"), ("b", "texts")):
        log_u = getattr(objective, f"log_u_{side}", None)
        if log_u is not None:
            sogclr_tf.plots.log_u_histogram(log_u.numpy(), folder.plot(f"log_u_{name}.png"))


def evaluate(config, folder, trained, _pairs):
    """Recall both ways on the test pairs, and zero-shot classification by the classes' names."""
    test = source(config, config.data.test_split)
    images, labels = sogclr_tf.data.evaluation_set(test, config.data.image_size)
    texts = test.texts()
    of_images = sogclr_tf.evaluate.extract_features(
        lambda batch, training: trained.embed_images(batch),  # noqa: ARG005
        images,
    )
    of_texts = trained.embed_texts(texts).numpy()
    found = sogclr_tf.retrieval.recall(of_images, of_texts, KS)
    sogclr_tf.plots.retrieval_sheet(
        texts,
        list(images.as_numpy_iterator()),
        of_texts @ of_images.T,
        folder.plot("retrieval.png"),
    )
    scores = {"test_pairs": len(texts)}
    for way, recalls in found._asdict().items():
        scores |= {f"{way}_recall{k}": round(value, 2) for k, value in recalls.items()}
    if test.class_names:
        names = trained.embed_texts(test.class_names).numpy()
        guessed = sogclr_tf.retrieval.zero_shot(of_images, names)
        scores["zero_shot_top1"] = round(100 * float(np.mean(guessed == labels)), 2)
        scores["largest_class"] = round(100 * float(np.bincount(labels).max() / len(labels)), 2)
    folder.update_result(**scores)


def export(config, folder, trained):
    """Exports both towers as saved_model/image/<step> and saved_model/text/<step>."""
    step = trained.trained_steps
    if (folder.saved_model / "text" / str(step)).exists():
        _LOG.info("%s holds version %d already: it is kept", folder.saved_model, step)
        return
    keep = config.export.keep or None
    sogclr_tf.export_towers(trained, folder.saved_model, version=step, keep=keep)


def scores(result):
    """Lines of the closing table; none where nothing was evaluated."""
    if "test_pairs" not in result:
        return []
    pairs = result["test_pairs"]
    heads = "".join(f"{f'@{k}':>9}" for k in KS)
    lines = [f"{f'recall on {pairs} test pairs':28}{heads}"]
    for name, way in (("image to text", "image_to_text"), ("text to image", "text_to_image")):
        values = "".join(f"{result[f'{way}_recall{k}']:>8.1f}%" for k in KS)
        lines.append(f"{name:28}{values}")
    lines.append(f"{'by chance':28}" + "".join(f"{100 * k / pairs:>8.1f}%" for k in KS))
    if "zero_shot_top1" in result:
        lines += [
            "",
            f"zero-shot top-1 by the classes' names {result['zero_shot_top1']:.1f}% "
            f"(always the largest class {result['largest_class']:.1f}%)",
        ]
    return lines
