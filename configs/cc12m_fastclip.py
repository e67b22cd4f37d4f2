"""FastCLIP-v3 on CC12M: ViT-B/32 and CLIP's text transformer, batch 2048, 33 epochs.

    python -m sogclr_tf.run --config=configs/cc12m_fastclip.py --strategy=mirrored \\
        --workdir=runs/cc12m

Data, file of merges and what differs from the authors' code are as in configs/cc3m_fastclip.py, of
which this is the larger sibling; ./cc12m takes the place of ./cc3m.

Expected: no figure; it has not been run here. Cost: 148,038 steps, in the authors' script on 8
GPUs.

The numbers are those of the authors' command for their 9,187,328 pairs. It has a ViT-B/32; for the
ViT-B/16, which they train on LAION-400M, say --config.encoder.patch_size=16: an image has four
times as many patches then. Different here: the ViT has no normalization before its first block, and
AdamW's beta_2 is 0.999, where OpenCLIP, on which theirs is built, has 0.98 for ViTs.
"""

import pathlib
import runpy


def get_config():
    sibling = pathlib.Path(__file__).with_name("cc3m_fastclip.py")
    config = runpy.run_path(str(sibling))["get_config"]()

    config.data.name = "./cc12m/{split}/*.tar"

    config.encoder.name = "vit_base"
    config.encoder.patch_size = 32
    config.encoder.positions = "learned"

    config.projector.output = 512

    config.loss.rho = 8.5
    config.loss.eta = 1e-4
    config.loss.gamma_decay = 16 / 33

    config.batch_size = 2048
    config.epochs = 33

    config.optimizer.learning_rate = 4e-4
    config.optimizer.warmup_epochs = 10_000 / 4486
    return config
