import keras
import numpy as np
import pytest
import tensorflow as tf
from support.numerics import assert_all_close, assert_close
from support.paths import GOLDEN as GOLDEN_FILES

from sogclr_tf import LARS

GOLDEN = GOLDEN_FILES / "simclr_lars.npz"


def kernel(values):
    return keras.Variable(np.array(values, "float32"), name="kernel")


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(synchronized=True),
            keras.layers.Dense(2),
        ]
    )


def data():
    generator = np.random.default_rng(0)
    return (
        generator.normal(size=(32, 4)).astype("float32"),
        generator.normal(size=(32, 2)).astype("float32"),
    )


def trained(jit_compile=False, strategy=None):
    with (strategy or tf.distribute.get_strategy()).scope():
        model = network()
        optimizer = LARS(0.1, weight_decay=0.01, trust_coefficient=0.1, nesterov=True)
        model.compile(optimizer, "mse", jit_compile=jit_compile)
    model.fit(*data(), batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("compiled", [False, True])
def test_equals_simclr(compiled):
    golden = np.load(GOLDEN)
    names = {"kernel": "kernel", "bias": "bias", "bn_gamma": "gamma"}
    weights = [keras.Variable(golden[key][0], name=name) for key, name in names.items()]
    optimizer = LARS(
        float(golden["learning_rate"]),
        momentum=float(golden["momentum"]),
        weight_decay=float(golden["weight_decay"]),
        trust_coefficient=float(golden["eeta"]),
    )
    optimizer.build(weights)

    def apply(*gradients):
        optimizer.apply(gradients, weights)

    apply = tf.function(apply, jit_compile=True) if compiled else apply
    for step in range(6):
        apply(*(tf.constant(golden[f"grad_{key}"][step]) for key in names))
        for key, weight in zip(names, weights, strict=True):
            assert_close(weight, golden[key][step + 1])


def test_two_steps_by_hand():
    weight = kernel([3.0, 4.0])
    optimizer = LARS(2.0, momentum=0.5, trust_coefficient=0.1)
    # |w| = 5 and |g| = 10, so r = 0.1 * 5 / 10 and v = 0.05 * 2 * g.
    optimizer.apply([tf.constant([6.0, 8.0])], [weight])
    assert_close(weight, [2.4, 3.2], terms=4)
    # |w| = 4 and |g| = 1: v = 0.5 * [0.6, 0.8] + 0.4 * 2 * [0, 1].
    optimizer.apply([tf.constant([0.0, 1.0])], [weight])
    assert_close(weight, [2.4 - 0.3, 3.2 - 1.2], terms=4)


def test_nesterov_step_by_hand():
    weight = kernel([3.0, 4.0])
    optimizer = LARS(2.0, momentum=0.5, trust_coefficient=0.1, nesterov=True)
    optimizer.apply([tf.constant([6.0, 8.0])], [weight])
    assert_close(weight, [3 - 1.5 * 0.6, 4 - 1.5 * 0.8], terms=4)


def test_decay_enters_the_trust_ratio():
    weight = kernel([3.0, 4.0])
    # The gradient becomes 0.5 * w, so r = 0.1 / 0.5 and the step 0.2 * 0.5 * w.
    LARS(1.0, weight_decay=0.5, trust_coefficient=0.1).apply([tf.zeros(2)], [weight])
    assert_close(weight, [2.7, 3.6], terms=4)


@pytest.mark.parametrize(
    ("weight", "gradient", "expected"),
    [([0.0, 0.0], [1.0, 2.0], [-0.5, -1.0]), ([1.0, 2.0], [0.0, 0.0], [1.0, 2.0])],
)
def test_ratio_is_one_where_a_norm_is_zero(weight, gradient, expected):
    weight = kernel(weight)
    LARS(0.5).apply([tf.constant(gradient)], [weight])
    assert_close(weight, expected, terms=4)


@pytest.mark.parametrize("name", ["bias", "beta", "gamma", "log_temperature"])
def test_excluded_weights_take_a_plain_step(name):
    weight = keras.Variable([3.0, 4.0], name=name)
    LARS(0.5, weight_decay=0.1).apply([tf.constant([1.0, 2.0])], [weight])
    assert_close(weight, [2.5, 3.0], terms=4)


def test_exclusion_compares_the_whole_own_name():
    layer = keras.layers.Dense(2, use_bias=False, name="bias")
    layer.build((None, 2))
    plain = tf.Variable([3.0, 4.0], name="layer/bias")
    table = keras.Variable([3.0, 4.0], name="bias_table")
    optimizer = LARS(0.5, trust_coefficient=0.1)
    before = layer.kernel.numpy()
    gradients = [tf.fill((2, 2), 100.0), tf.ones(2), tf.constant([6.0, 8.0])]
    optimizer.apply(gradients, [layer.kernel, plain, table])
    moved = np.linalg.norm(layer.kernel.numpy() - before)
    assert moved == pytest.approx(0.05 * np.linalg.norm(before), rel=1e-3)
    assert_close(plain, [2.5, 3.5], terms=4)
    assert_close(table, [2.85, 3.8], terms=4)


def test_sparse_gradients_equal_dense_ones():
    dense, sparse = kernel(np.ones((3, 2))), kernel(np.ones((3, 2)))
    slices = tf.IndexedSlices(tf.constant([[1.0, 2.0]]), tf.constant([1]), tf.constant([3, 2]))
    LARS(1.0, weight_decay=0.1).apply([tf.convert_to_tensor(slices)], [dense])
    LARS(1.0, weight_decay=0.1).apply([slices], [sparse])
    np.testing.assert_array_equal(sparse, dense)


def test_half_precision_weights_keep_a_finite_norm():
    # The sum of squares, 4e6, is beyond float16.
    weight = keras.Variable(np.full(400, 100.0), dtype="float16", name="kernel")
    LARS(1.0, trust_coefficient=0.5).apply([tf.fill((400,), tf.constant(100, "float16"))], [weight])
    assert_close(weight, np.full(400, 50.0), terms=4)


def test_inside_a_loss_scale_optimizer():
    weights = [kernel([3.0, 4.0]), kernel([3.0, 4.0])]
    scaled = keras.optimizers.LossScaleOptimizer(LARS(2.0, weight_decay=0.1), initial_scale=8.0)
    gradient = tf.constant([1.0, 2.0])
    LARS(2.0, weight_decay=0.1).apply([gradient], [weights[0]])
    scaled.apply([8.0 * gradient], [weights[1]])
    assert_close(weights[1], weights[0], terms=4)
    scaled.apply([tf.constant([np.inf, 1.0])], [weights[1]])
    assert_close(weights[1], weights[0], terms=4)


def test_accumulated_gradients_are_averaged():
    weights = [kernel([3.0, 4.0]), kernel([3.0, 4.0])]
    LARS(2.0).apply([tf.constant([2.0, 3.0])], [weights[0]])
    accumulating = LARS(2.0, gradient_accumulation_steps=2)
    accumulating.apply([tf.constant([1.0, 2.0])], [weights[1]])
    np.testing.assert_array_equal(weights[1], [3.0, 4.0])
    accumulating.apply([tf.constant([3.0, 4.0])], [weights[1]])
    assert_close(weights[1], weights[0], terms=4)


def test_a_schedule_gives_each_step_its_rate():
    weight = keras.Variable([0.0], name="bias")
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 10.0])
    optimizer = LARS(schedule, momentum=0.0)
    for expected in (-1.0, -11.0):
        optimizer.apply([tf.constant([1.0])], [weight])
        assert_close(weight, [expected], terms=4)


def test_same_training_under_xla():
    assert_all_close(trained(jit_compile=True), trained())


def test_same_training_on_two_replicas():
    devices = [device.name for device in tf.config.list_logical_devices("CPU")[:2]]
    if len(devices) < 2:
        pytest.skip("needs two logical CPU devices")
    # The default collectives number their messages anew in each strategy, so that two strategies in
    # one process read each other's.
    reduction = tf.distribute.ReductionToOneDevice()
    replicated = trained(strategy=tf.distribute.MirroredStrategy(devices, reduction))
    assert_all_close(replicated, trained())


def test_rebuilt_from_its_config():
    optimizer = LARS(
        keras.optimizers.schedules.CosineDecay(0.5, 100),
        momentum=0.8,
        weight_decay=1e-4,
        trust_coefficient=0.01,
        exclude=("bias",),
        nesterov=True,
        global_clipnorm=3.0,
        name="layerwise",
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is LARS
    assert again.get_config() == optimizer.get_config()
    assert (again.exclude, again.coupled_weight_decay) == (("bias",), 1e-4)


def test_saved_and_loaded_with_its_velocity(tmp_path):
    model = network()
    model.compile(LARS(1.0, weight_decay=0.01), "mse")
    model.fit(*data(), batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, again):
        each.fit(*data(), batch_size=8, shuffle=False, verbose=0)
    for loaded, original in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(loaded, original)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, r"momentum is 1\.0; give a number in \[0, 1\)\."),
        ({"momentum": -0.1}, r"momentum is -0\.1; give"),
        ({"weight_decay": -1e-6}, r"weight_decay is -1e-06; give a number >= 0\."),
        ({"trust_coefficient": 0.0}, r"trust_coefficient is 0\.0; give a number > 0\."),
        ({"exclude": "bias"}, r"exclude is 'bias'; give a sequence of names: \('bias',\)\."),
        ({"eeta": 0.1}, r"not recognized: .*eeta"),
    ],
)
def test_errors_say_what_to_do(arguments, message):
    with pytest.raises(ValueError, match=message):
        LARS(0.1, **arguments)
