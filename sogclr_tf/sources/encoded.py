"""What collections of encoded images, JPEG and others, have in common."""

from sogclr_tf import decoding
from sogclr_tf.sources.base import Source


class EncodedSource(Source):
    """A source whose `read` gives the bytes of an image file: a scalar string.

    Attributes:
        max_pixels: height * width above which an image is refused before it is decoded.
    """

    max_pixels = decoding.MAX_PIXELS

    def fingerprint(self):
        """Text that differs where the images may differ."""
        return f"{self.name} {self.size} {self.num_examples} {self.max_pixels}"

    def decode(self, image):
        return decoding.decode(image, self.max_pixels)

    def shape(self, image):
        return decoding.shape(image)

    def crop(self, image, box):
        return decoding.decode_crop(image, box, self.max_pixels)
