"""FastCLIP-v3 on CC3M: ResNet-50 and CLIP's text transformer, batch 1024, 37 epochs.

    python -m sogclr_tf.run --config=configs/cc3m_fastclip.py --strategy=mirrored \\
        --workdir=runs/cc3m

The folder ./cc3m has tar shards as img2dataset writes them (output_format=webdataset), those of the
training pairs in ./cc3m/train and those of the validation pairs in ./cc3m/validation. The file of
merges is CLIP's, from github.com/openai/CLIP (clip/); --config.text_encoder.tokenizer=bpe trains
one on the captions instead.

Expected: no figure; it has not been run here, and the authors' figures (arXiv 2407.01445) are of
other benchmarks: DataComp's, and ImageNet with its variants. Cost: 98,420 steps, in the authors'
script on 8 GPUs.

The numbers are those of the authors' command (github.com/Optimization-AI/fast_clip, README.md) for
their 2,723,840 pairs. Its warm-up takes 10,000 batches, which are given in epochs here: set them
anew if you have fewer or more pairs. Different here: the image tower is a plain ResNet-50 with a
mean over places, where theirs is CLIP's, with attention; AdamW's epsilon is Keras's, 1e-7; weights
start from Keras's distributions; the normalizations of the text tower have an epsilon of 1e-6.
"""

from sogclr_tf.experiment.config import default_config


def get_config():
    config = default_config()

    config.data.name = "./cc3m/{split}/*.tar"
    config.data.text = "txt"
    config.data.test_split = "validation"
    config.data.image_size = 224

    # OpenCLIP's: a crop of nearly all of the image, and nothing else.
    config.augment.min_area = 0.9
    config.augment.flip = 0.0
    config.augment.jitter = 0.0
    config.augment.grayscale = 0.0

    config.encoder.name = "resnet50"
    config.encoder.input_normalization = (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    )

    config.text_encoder.tokenizer = "./bpe_simple_vocab_16e6.txt.gz"
    config.text_encoder.max_tokens = 49_408
    config.text_encoder.length = 77
    config.text_encoder.width = 512
    config.text_encoder.blocks = 12
    config.text_encoder.heads = 8
    config.text_encoder.causal = True
    config.text_encoder.pooling = "last"

    config.projector.output = 1024

    config.loss.name = "two_way"
    config.loss.temperature = 0.07
    config.loss.temperature_scheme = "global"
    config.loss.temperature_optimizer = "adam"
    config.loss.min_temperature = 0.01
    config.loss.rho = 6.5
    config.loss.eta = 2e-4
    config.loss.gamma = 0.2
    config.loss.gamma_decay = 18 / 37
    config.loss.epsilon = 1e-14

    config.batch_size = 1024
    config.epochs = 37
    config.precision = "mixed_bfloat16"

    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.scaling = "constant"
    config.optimizer.weight_decay = 0.1
    config.optimizer.warmup_epochs = 10_000 / 2660

    config.checkpoint.every_epochs = 1
    config.checkpoint.every_steps = 1000
    return config
