"""Makes an encoder of a ResNet or Vision Transformer that was trained elsewhere.

    python tools/import_weights.py WEIGHTS ENCODER.keras [--image_size=224] [--overwrite]
        [--mean R G B --std R G B | --no_normalization] [--heads N]

WEIGHTS is a checkpoint of SogCLR or MoCo in PyTorch, a torchvision state dict (.pth, .pt, .tar or
.safetensors), a ResNet50, 101 or 152 of keras.applications (.keras, .weights.h5 or .h5), or the
folder of a SavedModel of google-research/simclr (tf2). Depth, width and stem are found from it.
Every array is used once or printed as left out, or the command stops with a line of what does not
fit. Nothing of a file is executed.

Vision Transformers are those of MoCo v3, DINO and timm (vit_tiny, vit_small, vit_base and others of
these widths). Files do not say how many heads their attention has; what is taken is printed, and
--heads says another number.

The encoder takes images in 0..1 and normalizes them as the published weights of each library
expect; other ones are said by --mean and --std, of red, green and blue in 0..1.
--image_size=32,96 is for images 32 pixels high and 96 wide, --image_size=any leaves both open.
"""

import argparse
import os
import pathlib
import sys

# Keras and PyTorch print nothing that matters here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=pathlib.Path, help="file or folder to read")
    parser.add_argument("encoder", type=pathlib.Path, help="file to write, ENCODER.keras")
    parser.add_argument(
        "--image_size", type=_size, default="224", help="a number, HEIGHT,WIDTH or any"
    )
    parser.add_argument("--mean", type=float, nargs=3, metavar=("R", "G", "B"))
    parser.add_argument("--std", type=float, nargs=3, metavar=("R", "G", "B"))
    parser.add_argument("--no_normalization", action="store_true", help="images are taken as 0..1")
    parser.add_argument("--heads", type=int, help="of a Vision Transformer's attention")
    parser.add_argument("--overwrite", action="store_true")
    options = parser.parse_args()
    try:
        normalization = _normalization(options)
        check_target(options.encoder, options.overwrite)
        # Here, so that a missing TensorFlow is an error of one line too.
        import sogclr_tf

        encoder, report = _imported(
            options, input_shape=(*options.image_size, 3), input_normalization=normalization
        )
        sogclr_tf.export_keras(encoder, options.encoder)
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{report}\nwrote     {options.encoder}: images {_shape(encoder)}\n{_next(options)}")


def _imported(options, **arguments):
    """(encoder, report), by the kind of network that the arrays are of."""
    import sogclr_tf
    from sogclr_tf.networks import pretrained_vit, weight_files

    stored = weight_files.read(options.weights)
    if pretrained_vit.holds_vit(stored):
        return sogclr_tf.import_vit(stored, heads=options.heads, **arguments)
    if options.heads is not None:
        raise ValueError(f"--heads is for a Vision Transformer, which {options.weights} is not")
    return sogclr_tf.import_resnet(stored, **arguments)


def check_target(path, overwrite):
    """Raises ValueError unless an encoder can be written to `path`."""
    if path.suffix != ".keras":
        raise ValueError(f"{path} is to be the encoder: give a name that ends in .keras")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: give another name, or --overwrite")


def _size(text):
    """(height, width) of "224", "32,96" and "any"."""
    if text == "any":
        return None, None
    sides = text.split(",")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size: give a number of pixels >= 1, HEIGHT,WIDTH or any"
        )
    return int(sides[0]), int(sides[-1])


def _normalization(options):
    if options.no_normalization and (options.mean or options.std):
        raise ValueError("--no_normalization goes with neither --mean nor --std: leave one out")
    if bool(options.mean) != bool(options.std):
        raise ValueError("--mean and --std go together: give both, or neither for the usual ones")
    if options.no_normalization:
        return None
    return (options.mean, options.std) if options.mean else "published"


def _shape(encoder):
    sides = " x ".join("any" if side is None else str(side) for side in encoder.input_shape[1:3])
    return f"of {sides} in 0..1 to {encoder.output_shape[-1]} features"


def _next(options):
    path, (height, width) = options.encoder, options.image_size
    size = 224 if height is None else height if height == width else f"{height},{width}"
    return f"""\
evaluate  python -m sogclr_tf.run --mode=evaluate --encoder={path} --config=configs/NAME.py \\
              --config.data.image_size={size} --workdir=DIR
read it   encoder = sogclr_tf.load_encoder({str(path)!r})
train it  model = sogclr_tf.SogCLR(encoder, loss)
serve it  sogclr_tf.export_encoder(encoder, "saved_model")"""


if __name__ == "__main__":
    main()
