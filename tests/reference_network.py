"""What fastsgd's networks compute, slowly: plain NumPy, dense, float64, one step after another.

As `reference`, of z = W2 g(W1 x + b1) + b2: W1 is (h, d), W2 (K, h). A penalty of alpha counts once in a batch.
"""

import numpy as np
from reference import LOSSES, run_epochs, sigmoid

# g(a), and g'(a) from y = g(a).
ACTIVATIONS = {
    "identity": (lambda a: a, lambda y: np.ones_like(y)),
    "logistic": (sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y**2),
    "relu": (lambda a: np.maximum(a, 0), lambda y: np.where(y > 0, 1, 0)),
}


class ReferenceNetwork:
    """A network in training; the parameters are the estimators' own, and `start` is (W1, b1, W2, b2).

    Of `sparse` rows adagrad and adam leave alone the columns of W1 that no row of the batch has.
    """

    def __init__(
        self, loss, start, *, activation="relu", alpha=0.0, learning_rate="constant", learning_rate_init=0.01,
        power_t=0.5, batch_size=1, solver="sgd", beta_1=0.9, beta_2=0.999, epsilon=1e-8, sparse=False,
    ):  # fmt: skip
        self.loss, (self.g, self.slope), self.alpha = LOSSES[loss], ACTIVATIONS[activation], alpha
        self.schedule, self.eta0, self.power_t, self.batch_size = learning_rate, learning_rate_init, power_t, batch_size
        self.parameters, self.t, self.loss_curve = [np.array(p, float) for p in start], 1, []
        self.solver, self.betas, self.epsilon, self.sparse = solver, (beta_1, beta_2), epsilon, sparse
        self.sums, self.means = ([np.zeros_like(p) for p in self.parameters] for _ in range(2))

    def gradient(self, x, t, s):
        """s times loss, and the gradients of it, for one row."""
        W1, b1, W2, b2 = self.parameters
        y = self.g(W1 @ x + b1)
        L, delta = self.loss(W2 @ y + b2, t, 0.1)
        delta = np.clip(s * delta, -1e12, 1e12)
        e = (W2.T @ delta) * self.slope(y)
        return s * np.sum(L), [np.outer(e, x), e, np.outer(delta, y), delta]

    def step(self, X, T, s):
        """One step on the rows of a batch; returns the sum of s (L + penalty) over them, all at the present weights."""
        W1, b1, W2, b2 = self.parameters
        alpha = self.alpha / len(X)
        total = s.sum() * alpha * ((W1**2).sum() + (W2**2).sum()) / 2
        mean = [np.zeros_like(p) for p in self.parameters]
        for x, t, weight in zip(X, T, s, strict=True):
            value, gradients = self.gradient(x, t, weight)
            total += value
            mean = [m + g / len(X) for m, g in zip(mean, gradients, strict=True)]
        if self.solver == "sgd":
            eta = self.eta0 / self.t**self.power_t if self.schedule == "invscaling" else self.eta0
            shrink = max(0, 1 - eta * alpha)
            self.parameters = [p - eta * g for p, g in zip([W1 * shrink, b1, W2 * shrink, b2], mean, strict=True)]
        else:
            columns = (mean[0] != 0).any(axis=0) | (not self.sparse)
            moving = [np.broadcast_to(columns, W1.shape), True, True, True]
            decay = [alpha * W1, 0, alpha * W2, 0]
            self.parameters = [self.adapt(i, mean[i] + decay[i], moving[i]) for i in range(4)]
        self.t += 1
        return total

    def adapt(self, i, g, moving):
        """A parameter after a step of adagrad (Duchi 2011) or adam (Kingma, Ba 2015, before section 2.1)."""
        if self.solver == "adagrad":
            self.sums[i] = np.where(moving, self.sums[i] + g**2, self.sums[i])
            step = self.eta0 * g / np.sqrt(self.sums[i] + 1e-30)
        else:
            beta1, beta2 = self.betas
            self.means[i] = np.where(moving, beta1 * self.means[i] + (1 - beta1) * g, self.means[i])
            self.sums[i] = np.where(moving, beta2 * self.sums[i] + (1 - beta2) * g**2, self.sums[i])
            eta = self.eta0 * np.sqrt(1 - beta2**self.t) / (1 - beta1**self.t)
            step = eta * self.means[i] / (np.sqrt(self.sums[i]) + self.epsilon)
        return self.parameters[i] - np.where(moving, step, 0)

    def fit(self, X, T, s=None, *, n_iter_no_change=10, **how):
        """As `run_epochs`."""
        run_epochs(self, self.step, X, T, s, n_iter_no_change=n_iter_no_change, **how)
        return self

    @property
    def solution(self):
        """(coefs, intercepts) as the estimators have them."""
        W1, b1, W2, b2 = self.parameters
        return [W1.T, W2.T], [b1, b2]
