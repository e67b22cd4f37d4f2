"""Objectives in loop form, one term at a time, in float64: what the package must agree with."""

import numpy as np


def normalised(x):
    x = np.asarray(x, np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def negatives(a, b, i):
    """Both views of every example but i."""
    return [z[j] for z in (a, b) for j in range(len(z)) if j != i]


def log_mean_exp(values):
    largest = max(values)
    return largest + np.log(np.mean([np.exp(value - largest) for value in values]))


def log_add(x, y):
    return np.logaddexp(x, y)


class GlobalContrastive:
    """arXiv 2202.12387, Algorithm 1, with one scalar of memory per example in log space.

    Surrogate whose gradient is the method's, with the weights g/u held constant:
        sum over i and both views of [-<z, z+> + tau * (g/u) * log g] / B.
    """

    def __init__(self, num_examples, temperature, gamma):
        self.log_u = np.full(num_examples, -np.inf)
        self.temperature = temperature
        self.gamma = gamma

    def log_g(self, anchor, others):
        return log_mean_exp([anchor @ other / self.temperature for other in others])

    def step(self, a, b, index):
        """(value, weights [2, B]) of a batch of raw projections; updates the table."""
        a, b = normalised(a), normalised(b)
        values, weights, rows = [], np.zeros((2, len(a))), {}
        for i, example in enumerate(index):
            log_u = []
            for view, anchor in enumerate((a[i], b[i])):
                log_g = self.log_g(anchor, negatives(a, b, i))
                log_u.append(self._average(self.log_u[example], log_g))
                weights[view, i] = np.exp(log_g - log_u[-1])
                values.append(-a[i] @ b[i] + self.temperature * log_u[-1])
            rows.setdefault(example, log_add(*log_u) - np.log(2))
        for example, row in rows.items():
            self.log_u[example] = row
        return np.mean(values), weights

    def surrogate(self, a, b, weights):
        a, b = normalised(a), normalised(b)
        total = 0.0
        for i in range(len(a)):
            for view, anchor in enumerate((a[i], b[i])):
                log_g = self.log_g(anchor, negatives(a, b, i))
                total += -a[i] @ b[i] + self.temperature * weights[view, i] * log_g
        return total / len(a)

    def _average(self, old, log_g):
        if np.isneginf(old):
            return log_g
        if self.gamma == 1:
            return log_g
        return log_add(np.log(1 - self.gamma) + old, np.log(self.gamma) + log_g)


def nt_xent(a, b, temperature):
    """arXiv 2002.05709, eq. (1), summed over both directions and averaged over examples."""
    a, b = normalised(a), normalised(b)
    total = 0.0
    for i in range(len(a)):
        for anchor in (a[i], b[i]):
            positive = a[i] @ b[i] / temperature
            others = [positive] + [anchor @ n / temperature for n in negatives(a, b, i)]
            total += log_mean_exp(others) + np.log(len(others)) - positive
    return total / len(a)


def numeric_gradient(function, x, epsilon=1e-5):
    """Central differences of a scalar function, in float64."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = epsilon
        gradient[place] = (function(x + step) - function(x - step)) / (2 * epsilon)
    return gradient
