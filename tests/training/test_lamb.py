import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close, assert_close

from sogclr_tf import LAMB
from sogclr_tf.training.optimizers import build_optimizer


def kernel(values=(3.0, 4.0)):
    return keras.Variable(np.array(values, "float32"), name="kernel")


def moved(optimizer, weight, *gradients):
    """The weight after steps along the gradients."""
    for gradient in gradients:
        optimizer.apply([tf.convert_to_tensor(gradient)], [weight])
    return np.asarray(weight, "float32")


def trained(strategy=None):
    """Averages of weights after four steps."""
    with (strategy or tf.distribute.get_strategy()).scope():
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6), keras.layers.Dense(2)])
        model.compile(LAMB(0.1, weight_decay=0.01, use_ema=True), "mse")
    generator = np.random.default_rng(0)
    images, targets = (generator.normal(size=(32, n)).astype("float32") for n in (4, 2))
    model.fit(images, targets, batch_size=8, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize(
    ("build", "compiled"), [(LAMB, False), (functools.partial(build_optimizer, "lamb"), True)]
)
def test_equals_tensorflow_addons(golden, build, compiled):
    """By its defaults: what does not decay is not scaled either."""
    expected = golden("tensorflow_addons")
    names = ("kernel", "bias")
    weights = [keras.Variable(expected[f"lamb_{name}"][0], name=name) for name in names]
    optimizer = build(float(expected["lamb_lr"]), weight_decay=float(expected["lamb_wd"]))
    optimizer.build(weights)

    def apply(*gradients):
        optimizer.apply(gradients, weights)

    apply = tf.function(apply, jit_compile=True) if compiled else apply
    for step in range(6):
        apply(*(tf.constant(expected[f"lamb_grad_{name}"][step]) for name in names))
        for name, weight in zip(names, weights, strict=True):
            assert_close(weight, expected[f"lamb_{name}"][step + 1])


def test_a_step_by_hand():
    # The first step of Adam is the sign of the gradient: s = [1, 1] + 0.5 * [3, 4], |w| = 5.
    step = np.array([2.5, 3.0])
    expected = [3.0, 4.0] - 0.1 * 5 / np.linalg.norm(step) * step
    assert_close(moved(LAMB(0.1, weight_decay=0.5), kernel(), [6.0, 8.0]), expected)


@pytest.mark.parametrize("name", ["bias", "beta", "gamma", "log_temperature"])
def test_excluded_weights_take_the_step_of_adam(name):
    weight = keras.Variable([3.0, 4.0], name=name)
    assert_close(moved(LAMB(0.5, weight_decay=0.1), weight, [6.0, -8.0]), [2.5, 4.5])


def test_decay_and_adaptation_are_excluded_apart():
    undecayed = LAMB(0.1, weight_decay=0.5, exclude=["kernel"], exclude_from_adaptation=[])
    ratio = 5 / np.sqrt(2)
    assert_close(moved(undecayed, kernel(), [6.0, 8.0]), [3 - 0.1 * ratio, 4 - 0.1 * ratio])
    unscaled = LAMB(0.1, weight_decay=0.5, exclude_from_adaptation=["kernel"])
    assert_close(moved(unscaled, kernel(), [6.0, 8.0]), [3 - 0.25, 4 - 0.3])


@pytest.mark.parametrize(
    ("weight", "gradient", "expected"),
    [([0.0, 0.0], [1.0, 2.0], [-0.5, -0.5]), ([1.0, 2.0], [0.0, 0.0], [1.0, 2.0])],
)
def test_ratio_is_one_where_a_norm_is_zero(weight, gradient, expected):
    assert_close(moved(LAMB(0.5), kernel(weight), gradient), expected)


def test_sparse_gradients_equal_dense_ones():
    """Twice, so that rows without a gradient move by their moments."""
    slices = tf.IndexedSlices(tf.constant([[1.0, 2.0]]), tf.constant([1]), tf.constant([3, 2]))
    none = tf.zeros((3, 2))
    dense, sparse = (LAMB(1.0, weight_decay=0.1) for _ in range(2))
    weights = [kernel(np.ones((3, 2))) for _ in range(2)]
    sparse.apply([slices], [weights[1]])
    expected = moved(dense, weights[0], tf.convert_to_tensor(slices), none)
    np.testing.assert_array_equal(moved(sparse, weights[1], none), expected)


def test_half_precision_weights_keep_a_finite_norm():
    # The sum of squares, 4e6, is beyond float16.
    weight = keras.Variable(np.full(400, 100.0), dtype="float16", name="kernel")
    gradient = np.full(400, 1.0, "float16")
    assert_close(moved(LAMB(0.5), weight, gradient), np.full(400, 50.0), dtype="float16")


def test_inside_a_loss_scale_optimizer():
    weight = kernel()
    expected = moved(LAMB(0.1, weight_decay=0.1), kernel(), [1.0, 2.0])
    inner = LAMB(0.1, weight_decay=0.1)
    scaled = keras.optimizers.LossScaleOptimizer(inner, initial_scale=8.0)
    assert_close(moved(scaled, weight, [8.0, 16.0]), expected)
    assert_close(moved(scaled, weight, [np.inf, 1.0]), expected)


def test_accumulated_gradients_are_averaged():
    weight = kernel()
    accumulating = LAMB(0.1, gradient_accumulation_steps=2)
    np.testing.assert_array_equal(moved(accumulating, weight, [1.0, 2.0]), [3.0, 4.0])
    expected = moved(LAMB(0.1), kernel(), [2.0, 3.0])
    assert_close(moved(accumulating, weight, [3.0, 4.0]), expected)


def test_a_schedule_gives_each_step_its_rate():
    weight = keras.Variable([0.0], name="bias")
    optimizer = LAMB(keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 10.0]))
    for expected in (-1.0, -11.0):
        assert_close(moved(optimizer, weight, [1.0]), [expected])


@pytest.mark.slow(reason="a step is traced on two replicas")
def test_same_training_on_two_replicas():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")[:2]]
    # The default collectives number their messages anew in each strategy, so that two strategies in
    # one process read each other's.
    reduction = tf.distribute.ReductionToOneDevice()
    found = trained(tf.distribute.MirroredStrategy(devices, reduction))
    assert_all_close(found, trained())


def test_rebuilt_from_its_config():
    optimizer = LAMB(
        keras.optimizers.schedules.CosineDecay(0.5, 100),
        beta_1=0.8,
        beta_2=0.99,
        epsilon=1e-5,
        weight_decay=1e-4,
        exclude=("bias",),
        exclude_from_adaptation=("bias", "gamma"),
        global_clipnorm=3.0,
        name="layerwise",
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is LAMB
    assert again.get_config() == optimizer.get_config()
    assert (again.exclude, again.decay_in_step) == (("bias",), 1e-4)


def test_goes_on_from_the_moments_of_keras(tmp_path):
    """A run that the Lamb of Keras began, which `build_optimizer` gave before."""
    theirs, ours = keras.optimizers.Lamb(0.1), LAMB(0.1)
    moved(theirs, kernel(), [6.0, 8.0])
    path = tf.train.Checkpoint(optimizer=theirs).write(str(tmp_path / "checkpoint"))
    ours.build([kernel()])
    tf.train.Checkpoint(optimizer=ours).read(path).assert_consumed()
    assert int(ours.iterations) == 1
    for restored, expected in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(restored, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta_1": 1.0}, r"beta_1 is 1\.0; give a number in \[0, 1\)\."),
        ({"beta_2": -0.1}, r"beta_2 is -0\.1; give"),
        ({"epsilon": 0.0}, r"epsilon is 0\.0; give a number > 0\."),
        ({"weight_decay": -1e-6}, r"weight_decay is -1e-06; give a number >= 0\."),
        ({"exclude": "bias"}, r"^exclude is 'bias'; give a sequence of names: \('bias',\)\."),
        ({"exclude_from_adaptation": "b"}, r"^exclude_from_adaptation is 'b'; give a sequence"),
        ({"weight_decay_rate": 0.1}, r"not recognized: .*weight_decay_rate"),
    ],
)
def test_errors_say_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        LAMB(0.1, **arguments)
