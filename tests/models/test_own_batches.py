"""Batches of one's own that cannot be used stop a model before they spoil its weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close
from support.small_model import BATCH, IMAGES, N, encoder, model

import sogclr_tf
from sogclr_tf.losses.registry import losses_for
from sogclr_tf.models import own_batches
from sogclr_tf.models.division import Division

AGAIN = pytest.mark.slow(reason="the same on another value")


def arrays(count=N, wrong=None):
    """A dictionary of float arrays, of which the example before the last has a wrong pixel."""
    view = IMAGES[:count] / np.float32(255)
    index = np.arange(count)[::-1]
    batch = {"view_a": view, "view_b": view[:, :, ::-1].copy(), "index": index.copy()}
    if wrong is not None:
        batch["view_b"][-2, 3, 3, 1] = wrong
    return batch


def stream(batch, size=BATCH):
    return tf.data.Dataset.from_tensor_slices(batch).batch(size)


@pytest.fixture(scope="module")
def built():
    return model(jit_compile=False)


@pytest.fixture(scope="module")
def on_two():
    # Without collectives, of which a process has those of one strategy alone.
    exchange = tf.distribute.ReductionToOneDevice()
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], exchange).scope():
        return model(jit_compile=False)


def doors(built):
    """The ways by which data of one's own reach a model."""
    return {
        "fit": lambda x: built.fit(x, verbose=0),
        "validation": lambda x: built.fit(stream(arrays()), validation_data=x, verbose=0),
        "evaluate": lambda x: built.evaluate(x, verbose=0),
    }


def refused(call, x, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(x)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("door", ["fit", "validation", "evaluate"])
class TestEveryDoor:
    @pytest.mark.parametrize("wrong", [255.0, pytest.param(float("nan"), marks=AGAIN)])
    @pytest.mark.parametrize("form", [dict, stream])
    def test_range(self, built, door, wrong, form):
        """The example before the last has index 1."""
        message = f"^example 1 of view_b has the value {wrong:g}, but floats are in 0..1"
        refused(doors(built)[door], form(arrays(wrong=wrong)), message)

    def test_a_last_batch_of_one(self, built, door):
        refused(doors(built)[door], stream(arrays(17)), "^the last batch holds 1 example: .*drop_")

    @pytest.mark.slow(reason="a step on two replicas is traced")
    def test_replicas(self, on_two, door):
        call = doors(on_two)[door]
        refused(call, stream(arrays(wrong=-1.0)), "^example 1 of view_b has the value -1")
        refused(call, stream(arrays(19)), "^the last batch holds 3 examples: .* the 2 replicas, ")


@pytest.mark.parametrize("loss", losses_for("views"))
@pytest.mark.slow(reason="two models of each loss are traced")
def test_a_last_batch_of_one_leaves_the_table_and_the_weights_alone(loss):
    trained, stopped = (model(loss, num_examples=9, jit_compile=False) for _ in range(2))
    batch = arrays(9)
    trained.fit(stream(batch).take(1), verbose=0)
    with pytest.raises(ValueError, match="holds 1 example"):
        stopped.fit(stream(batch), verbose=0)
    for got, want in zip(stopped.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.slow(reason="a step on two replicas is traced")
def test_a_smaller_last_batch_that_divides_trains_as_on_one_device(built, on_two):
    """12 examples: batches of 8 and of 4."""
    start = model(jit_compile=False).get_weights()
    for one in (built, on_two):
        one.set_weights(start)
        one.fit(stream(arrays(12)), epochs=2, verbose=0)
    assert_all_close(on_two.get_weights(), built.get_weights())


def test_views_of_differing_number(built):
    batch = {**arrays(8), "view_a": arrays(6)["view_a"]}
    refused(doors(built)["fit"], tf.data.Dataset.from_tensors(batch), "6 of view_a, but 8 of index")


@pytest.mark.slow(reason="a model of two towers is traced")
def test_pairs_of_image_and_text():
    pairs = {"image": arrays(wrong=255.0)["view_b"], "text": np.array(["a"] * N)}
    pairs["index"] = np.arange(N)
    text_encoder = sogclr_tf.TextEncoder(sogclr_tf.vocabulary(["a"]), length=4, width=8, heads=2)
    built = sogclr_tf.TwoTowerSogCLR(encoder(), text_encoder, sogclr_tf.CLIPLoss())
    built.compile("sgd", jit_compile=False)
    refused(doors(built)["fit"], stream(pairs), f"^example {N - 2} of image has the value 255")


@pytest.mark.parametrize("form", [lambda x: x, lambda x: stream(x, 6), lambda x: stream((x, x), 6)])
def test_predict(built, form):
    images = IMAGES / np.float32(255)
    assert built.predict(form(images), verbose=0).shape[0] == N
    images[2, 0, 0, 0] = 7
    refused(
        lambda x: built.predict(x, verbose=0), form(images), "^example 2 of .* has the value 7, "
    )


def test_a_stream_whose_end_is_not_known_counts_its_own_batches(built):
    """Keras asks for one more, to learn that there is none."""
    before = built.trained_steps, int(built.optimizer.iterations)
    built.fit(stream(arrays()).filter(lambda batch: True), epochs=2, verbose=0)  # noqa: ARG005
    after = built.trained_steps, int(built.optimizer.iterations)
    assert np.subtract(after, before).tolist() == [2 * N // BATCH] * 2


def test_what_is_right_stays_as_it_is():
    batch = {**arrays(), "further": np.arange(N)}
    assert own_batches.checked(batch, Division(1)) is batch
    for got, want in zip(
        own_batches.checked(stream(batch), Division(2)), stream(batch), strict=True
    ):
        assert got.keys() == want.keys()
        for key in want:
            np.testing.assert_array_equal(got[key], want[key])


def test_a_generator_of_keras_reaches_predict():
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, place):
            return (IMAGES[8 * place :][:8],)

    assert own_batches.checked_images(given := Batches()) is given
