"""Objectives in loop form, one term at a time, in float64: what the package must agree with."""

import copy

import numpy as np


def normalized(x):
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def anchors(a, b, which, image=None):
    """(view, example, anchor, positive, negatives) of every anchor of normalized a and b.

    `image` says of which image each example is, where several are of one: no negatives then.
    """
    image = np.arange(len(a)) if image is None else image
    for view, (own, other) in enumerate(((a, b), (b, a))):
        sides = (a, b) if which == "both" else (other,)
        for i in range(len(a)):
            others = np.flatnonzero(image != image[i])
            yield view, i, own[i], other[i], [z[j] for z in sides for j in others]


def log_mean_exp(values):
    largest = max(values)
    return largest + np.log(np.mean([np.exp(value - largest) for value in values]))


def log_add(x, y):
    return np.logaddexp(x, y)


def averaged(old, log_g, gamma):
    """The log of the moving average u, which starts at the first g."""
    if np.isneginf(old) or gamma == 1:
        return log_g
    return log_add(np.log(1 - gamma) + old, np.log(gamma) + log_g)


class Normalizer:
    """log u of every example and side in loop form, with every rule for the weight of a batch."""

    def __init__(self, num_examples, sides, gamma, rule="constant", shift=0.0, drift_rate=0.0):
        self.entries = np.full((sides, num_examples), -np.inf)
        self.drift, self.visits = np.zeros(sides), np.zeros((sides, num_examples))
        self.gamma, self.rule, self.shift, self.rate = gamma, rule, shift, drift_rate
        self._ratios = [[] for _ in range(sides)]

    @property
    def log_u(self):
        return self.entries + self.drift[:, np.newaxis]

    def average(self, side, example, log_g, positive=0.0):
        """log u of an anchor after this batch; `positive` is <z, z+>/tau where g lacks it."""
        old = self.log_u[side, example]
        if np.isneginf(old):
            return log_g
        if self.rate:
            self._ratios[side].append(min(np.exp(log_g - old), 1 / self.rate))
        own = {
            "constant": 0.0,
            "visits": 1 / (self.visits[side, example] + 1),
            "proximal": 1 / (1 + np.exp(-(old - positive + self.shift))),
        }
        return averaged(old, log_g, max(self.gamma, own[self.rule]))

    def store(self, index, rows):
        """Ends a step; rows[side][i] belongs to example index[i], or index[side, i]."""
        for side, ratios in enumerate(self._ratios):
            if ratios:
                self.drift[side] += np.log(1 - self.rate + self.rate * np.mean(ratios))
            ratios.clear()
        for side, of in enumerate(np.broadcast_to(index, (len(rows), np.shape(index)[-1]))):
            # Backwards, so that the first occurrence of an example stays.
            for i in reversed(range(len(of))):
                self.entries[side, of[i]] = rows[side][i] - self.drift[side]
            self.visits[side, np.unique(of)] += 1


class GlobalContrastive:
    """arXiv 2202.12387, Algorithm 1, with one scalar of memory per example in log space.

    Surrogate whose gradient is the method's, with the weights g/u held constant:
        sum over i and both views of [-<z, z+> + tau * (g/u) * log g] / B.
    """

    def __init__(self, num_examples, temperature, gamma, negatives="both", **rule):
        self.normalizer = Normalizer(num_examples, 1, gamma, **rule)
        self.tau = np.full(num_examples, float(temperature))
        self.negatives = negatives

    @property
    def log_u(self):
        return self.normalizer.log_u[0]

    def step(self, a, b, index):
        """(value, surrogate(a, b)) of a batch of raw projections; updates the tables."""
        a, b = normalized(a), normalized(b)
        tau = self.tau[index]
        log_u, values = np.zeros((2, len(a))), []
        weights, slopes = np.zeros((2, len(a))), np.zeros((2, len(a)))
        for view, i, anchor, positive, others in anchors(a, b, self.negatives):
            logits = [anchor @ other / tau[i] for other in others]
            log_g = log_mean_exp(logits)
            own = anchor @ positive / tau[i]
            log_u[view, i] = self.normalizer.average(0, index[i], log_g, own)
            weights[view, i] = np.exp(log_g - log_u[view, i])
            values.append(self._value(anchor @ positive, tau[i], log_u[view, i]))
            slopes[view, i] = self._slope(logits, log_u[view, i])
        self.normalizer.store(index, [log_add(*log_u) - np.log(2)])
        self._learn(index, tau, slopes.mean(axis=0))
        return np.mean(values), lambda a, b: self._surrogate(a, b, weights, tau)

    def _surrogate(self, a, b, weights, tau):
        a, b = normalized(a), normalized(b)
        total = 0.0
        for view, i, anchor, positive, others in anchors(a, b, self.negatives):
            log_g = log_mean_exp([anchor @ other / tau[i] for other in others])
            total += -anchor @ positive + tau[i] * weights[view, i] * log_g
        return total / len(a)

    def _value(self, positive, tau, log_u):
        return -positive + tau * log_u

    def _slope(self, logits, log_u):  # noqa: ARG002
        return 0.0

    def _learn(self, index, tau, slopes):
        """SogCLR's temperature is fixed."""


class RobustGlobalContrastive(GlobalContrastive):
    """arXiv 2305.11965, Algorithm 1: a temperature per example, which follows its own gradient.

    grad = log u + rho - mean over the negatives of (exp(s/tau) / u) * s/tau.
    """

    def __init__(
        self, num_examples, temperature, gamma, rho, eta, beta, bounds, negatives="both", **rule
    ):
        super().__init__(num_examples, temperature, gamma, negatives, **rule)
        self.rho, self.eta, self.beta, self.bounds = rho, eta, beta, bounds
        self.velocity = np.zeros(num_examples)

    def _value(self, positive, tau, log_u):
        return super()._value(positive, tau, log_u) + tau * self.rho

    def _slope(self, logits, log_u):
        return log_u + self.rho - np.mean([np.exp(s - log_u) * s for s in logits])

    def _learn(self, index, tau, slopes):
        before = self.velocity[index]
        for i in reversed(range(len(index))):
            velocity = (1 - self.beta) * before[i] + self.beta * slopes[i]
            self.velocity[index[i]] = velocity
            self.tau[index[i]] = np.clip(tau[i] - self.eta * velocity, *self.bounds)


class Adam:
    """arXiv 1412.6980, Algorithm 1, of one number."""

    def __init__(self):
        self.m = self.v = self.t = 0

    def step(self, gradient):
        """What is subtracted, over the step size."""
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        return self.m / (1 - 0.9**self.t) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)


class TwoWayGlobalContrastive:
    """arXiv 2202.12387 for pairs: a table for each side, and differences in the exponent.

    Surrogate whose gradient is the method's, with the weights g/u held constant:
        mean over both sides' anchors of tau * (g/u) * log g, g = mean of exp((s- - s+)/tau).
    `slope` is the derivative by one temperature of all: the mean of every anchor's
        log u + rho - mean over the negatives of (exp(d/tau) / u) * d/tau.
    u is epsilon + u in all of this. Not scaled, neither tau nor rho stand before and beside log g,
    and an anchor's derivative is -mean of (exp(d/tau) / u) * d/tau^2.
    With several captions an index is (image, caption), and rows of one image are no negatives.
    """

    def __init__(
        self,
        num_examples,
        temperature,
        gamma,
        rho=0.0,
        eta=0.0,
        beta=1.0,
        bounds=None,
        epsilon=0.0,
        scaled=True,
        adam=False,
        **rule,
    ):
        self.normalizer = Normalizer(num_examples, 2, gamma, **rule)
        self.tau = np.full((2, num_examples), float(temperature))
        self.velocity = np.zeros((2, num_examples))
        self.rho, self.eta, self.beta = rho, eta, beta
        self.bounds = bounds or (0, np.inf)
        self.log_epsilon = np.log(epsilon) if epsilon else -np.inf
        self.scaled = scaled
        self.adam = [[Adam() for _ in range(num_examples)] for _ in "ab"] if adam else None

    @property
    def log_u(self):
        return self.normalizer.log_u

    def step(self, a, b, index):
        """(value, surrogate(a, b), slope) of a batch of raw projections; updates the tables."""
        a, b = normalized(a), normalized(b)
        image = index[:, 0] if index.ndim == 2 else None
        # Of each side.
        index = np.tile(index, (2, 1)) if image is None else index.T
        both = np.arange(2)[:, np.newaxis]
        tau = self.tau[both, index]
        weights, slopes, rows = (np.zeros((2, len(a))) for _ in range(3))
        values = []
        for side, i, anchor, positive, others in anchors(a, b, "other", image):
            logits = [(anchor @ z - anchor @ positive) / tau[side, i] for z in others]
            log_g = log_mean_exp(logits)
            rows[side, i] = self.normalizer.average(side, index[side, i], log_g)
            log_u = log_add(self.log_epsilon, rows[side, i])
            weights[side, i] = np.exp(log_g - log_u)
            expected = np.mean([np.exp(d - log_u) * d for d in logits])
            t = tau[side, i]
            slopes[side, i] = log_u + self.rho - expected if self.scaled else -expected / t
            values.append(t * (log_u + self.rho) if self.scaled else log_u)
        velocity = (1 - self.beta) * self.velocity[both, index] + self.beta * slopes
        if self.adam:
            moved = [
                [copy.copy(adam[i]) for i in of] for adam, of in zip(self.adam, index, strict=True)
            ]
            for side, i in np.ndindex(velocity.shape):
                velocity[side, i] = moved[side][i].step(np.clip(slopes[side, i], -5, 5))
            for side, i in reversed(list(np.ndindex(velocity.shape))):
                self.adam[side][index[side, i]] = moved[side][i]
        self.normalizer.store(index, rows)
        # Backwards, so that the first occurrence of an example stays.
        for i in reversed(range(len(a))):
            self.velocity[[0, 1], index[:, i]] = velocity[:, i]
            moved = tau[:, i] - self.eta * velocity[:, i]
            self.tau[[0, 1], index[:, i]] = np.clip(moved, *self.bounds)
        surrogate = lambda a, b: self._surrogate(a, b, weights, tau, image)  # noqa: E731
        return np.mean(values), surrogate, slopes.mean()

    def _surrogate(self, a, b, weights, tau, image):
        a, b = normalized(a), normalized(b)
        total = 0.0
        for side, i, anchor, positive, others in anchors(a, b, "other", image):
            t = tau[side, i]
            log_g = log_mean_exp([(anchor @ z - anchor @ positive) / t for z in others])
            total += (t if self.scaled else 1) * weights[side, i] * log_g
        return total / (2 * len(a))


def global_objective(a, b, temperature, negatives="both"):
    """arXiv 2202.12387, F over all of the examples, from raw projections."""
    a, b = normalized(a), normalized(b)
    tau = np.broadcast_to(temperature, len(a))
    return np.mean(
        [
            -anchor @ positive + tau[i] * log_mean_exp([anchor @ z / tau[i] for z in others])
            for _, i, anchor, positive, others in anchors(a, b, negatives)
        ]
    )


def numeric_gradient(function, x, epsilon=1e-5):
    """Central differences of a scalar function, in float64."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = epsilon
        gradient[place] = (function(x + step) - function(x - step)) / (2 * epsilon)
    return gradient
