"""SogCLR on ImageNet-1K with a ViT-S/16, trained as MoCo v3 trains it: batch 1024, 300 epochs.

    python -m sogclr_tf.run --config=configs/imagenet_vit_small.py --mode=train --strategy=tpu \\
        --tpu=local --config.data.data_dir=gs://BUCKET/tensorflow_datasets --workdir=runs/vit_small

Expected: no figure of SogCLR's is known, and it has not been run here. MoCo v3 itself, with its
momentum encoder, its predictor and batch 4096, has 73.2% linear top-1 (CONFIG.md of
github.com/facebookresearch/moco-v3; Chen et al., arXiv 2104.02057). Cost: 375,300 steps, 769
million views of 224x224, which is days of accelerators.

The network, the optimizer, its schedule and the augmentation are MoCo v3's, whose code decays
biases and normalizations too. Temperature and gamma are SogCLR's; MoCo v3's temperature is 0.2. The
small ViT has 12 heads here, as in MoCo v3.

Linear evaluation is the same command with --mode=evaluate, as in configs/imagenet.py.
"""

from sogclr_tf.experiment.config import default_config


def get_config():
    config = default_config()

    config.data.name = "imagenet2012"
    config.data.test_split = "validation"
    config.data.image_size = 224

    # BYOL's pair of views.
    config.augment.strength = 0.5
    config.augment.saturation = 0.4
    config.augment.blur = 1.0
    config.augment_b.blur = 0.1
    config.augment_b.solarize = 0.2

    config.encoder.name = "vit_small"
    config.encoder.patch_size = 16
    # MoCo v3 was more stable so. A projection that is not trained wants images around 0.
    config.encoder.freeze_patches = True
    config.encoder.input_normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

    config.batch_size = 1024
    config.epochs = 300
    config.precision = "mixed_bfloat16"

    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1.5e-4
    config.optimizer.scaling = "linear"
    config.optimizer.weight_decay = 0.1
    config.optimizer.warmup_epochs = 40.0

    config.checkpoint.every_epochs = 1
    config.checkpoint.every_steps = 1000

    config.monitor.bank = 32_768
    config.monitor.queries = 8192

    config.evaluation.linear = "sgd"
    return config
