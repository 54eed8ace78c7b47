"""What fastsgd's networks compute, slowly: plain NumPy, dense, float64, one step after another.

As `reference`, of z = W2 g(W1 x + b1) + b2: W1 is (h, d), W2 (K, h).
"""

import numpy as np
from reference import LOSSES, sigmoid

# g(a), and g'(a) from y = g(a).
ACTIVATIONS = {
    "identity": (lambda a: a, lambda y: np.ones_like(y)),
    "logistic": (sigmoid, lambda y: y * (1 - y)),
    "tanh": (np.tanh, lambda y: 1 - y**2),
    "relu": (lambda a: np.maximum(a, 0), lambda y: np.where(y > 0, 1, 0)),
}


class ReferenceNetwork:
    """A network in training; the parameters are the estimators' own, and `start` is (W1, b1, W2, b2)."""

    def __init__(
        self, loss, start, *, activation="relu", alpha=0.0, learning_rate="constant", learning_rate_init=0.01,
        power_t=0.5, batch_size=1,
    ):  # fmt: skip
        self.loss, (self.g, self.slope), self.alpha = LOSSES[loss], ACTIVATIONS[activation], alpha
        self.schedule, self.eta0, self.power_t, self.batch_size = learning_rate, learning_rate_init, power_t, batch_size
        self.parameters, self.t, self.loss_curve = [np.array(p, float) for p in start], 1, []

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
        total = s.sum() * self.alpha * ((W1**2).sum() + (W2**2).sum()) / 2
        eta = self.eta0 / self.t**self.power_t if self.schedule == "invscaling" else self.eta0
        shrink = max(0, 1 - eta * self.alpha)
        new = [W1 * shrink, b1, W2 * shrink, b2]
        for x, t, weight in zip(X, T, s, strict=True):
            value, gradients = self.gradient(x, t, weight)
            total += value
            new = [p - eta * g / len(X) for p, g in zip(new, gradients, strict=True)]
        self.parameters, self.t = new, self.t + 1
        return total

    def fit(self, X, T, s=None, *, epochs=1, tol=None, n_iter_no_change=10):
        """Go over the rows in order, `epochs` times or until the criterion is met."""
        s = np.ones(len(X)) if s is None else s
        X, T, s = X[s > 0], T[s > 0], s[s > 0]
        best, misses = np.inf, 0
        for _ in range(epochs):
            batches = [slice(i, i + self.batch_size) for i in range(0, len(X), self.batch_size)]
            objective = sum(self.step(X[rows], T[rows], s[rows]) for rows in batches) / s.sum()
            self.loss_curve.append(objective)
            misses = misses + 1 if tol is not None and objective > best - tol else 0
            best = min(best, objective)
            if misses == n_iter_no_change and self.schedule == "adaptive" and self.eta0 > 1e-6:
                self.eta0, misses = self.eta0 / 5, 0
            elif misses == n_iter_no_change:
                break
        return self

    @property
    def solution(self):
        """(coefs, intercepts) as the estimators have them."""
        W1, b1, W2, b2 = self.parameters
        return [W1.T, W2.T], [b1, b2]
