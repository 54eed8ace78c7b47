"""What fastsgd computes, slowly: plain NumPy, dense, float64, one step after another (but sgd: reference_optimizers).

The documentation of the algorithm and the oracle of the tests; it shares no code with the package. Notation: K
outputs, W (K, d), b (K,), a row x (d,), its scores z = W x + b, and its target t (K,): -1 / +1 or reals for a loss of
one score, the probabilities of the classes (one-hot for a class) for a loss of K scores.
"""

import numpy as np
from reference_optimizers import Optimizer


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def multiclass_hinge(z, t, margin):
    y = t.argmax()
    rival = np.where(t == 1, -np.inf, z).argmax()  # the first of equals
    gap, g = margin + z[rival] - z[y], np.zeros_like(z)
    if gap >= 0:
        g[rival], g[y] = 1, -1
    return max(0, gap), g


# A loss takes (z, t, e), e being its epsilon, and returns (L, dL/dz). The losses of one score act on each output
# by itself and have K values.
LOSSES = {
    "log_loss": lambda z, t, e: (  # t between -1 and 1 stands for the probability (t + 1) / 2 of +1
        (1 + t) / 2 * np.logaddexp(0, -z) + (1 - t) / 2 * np.logaddexp(0, z),
        sigmoid(z) - (t + 1) / 2,
    ),
    "hinge": lambda z, t, e: (np.maximum(0, 1 - t * z), np.where(t * z <= 1, -t, 0)),
    "squared_hinge": lambda z, t, e: (np.maximum(0, 1 - t * z) ** 2, -2 * t * np.maximum(0, 1 - t * z)),
    "modified_huber": lambda z, t, e: (
        np.where(t * z >= -1, np.maximum(0, 1 - t * z) ** 2, -4 * t * z),
        np.where(t * z >= -1, -2 * t * np.maximum(0, 1 - t * z), -4 * t),
    ),
    "perceptron": lambda z, t, e: (np.maximum(0, -t * z), np.where(t * z <= 0, -t, 0)),
    "logistic_squared_error": lambda z, t, e: (
        (sigmoid(z) - (t + 1) / 2) ** 2 / 2,
        (sigmoid(z) - (t + 1) / 2) * sigmoid(z) * (1 - sigmoid(z)),
    ),
    "squared_error": lambda z, t, e: ((z - t) ** 2 / 2, z - t),
    "huber": lambda z, t, e: (
        np.where(np.abs(z - t) <= e, (z - t) ** 2 / 2, e * np.abs(z - t) - e**2 / 2),
        np.clip(z - t, -e, e),
    ),
    "epsilon_insensitive": lambda z, t, e: (
        np.maximum(0, np.abs(z - t) - e),
        np.where(np.abs(z - t) > e, np.sign(z - t), 0),
    ),
    "squared_epsilon_insensitive": lambda z, t, e: (
        np.maximum(0, np.abs(z - t) - e) ** 2,
        2 * np.maximum(0, np.abs(z - t) - e) * np.sign(z - t),
    ),
    "softmax": lambda z, t, e: (
        z.max() + np.log(np.exp(z - z.max()).sum()) - t @ z,
        np.exp(z - z.max()) / np.exp(z - z.max()).sum() - t,
    ),
    "multiclass_hinge": lambda z, t, e: multiclass_hinge(z, t, margin=1),
    "multiclass_perceptron": lambda z, t, e: multiclass_hinge(z, t, margin=0),
}


class Reference:
    """A linear model in training; the parameters are the estimators' own."""

    def __init__(
        self, loss, K, d, *, penalty=None, alpha=1e-4, l1_ratio=0.15, learning_rate="constant", eta0=0.01, power_t=0.5,
        epsilon=0.1, average=0, batch_size=1, fit_intercept=True, intercept_decay=1.0, optimizer="sgd", tune_eta0=False,
    ):  # fmt: skip
        self.loss, self.epsilon, self.alpha = LOSSES[loss], epsilon, alpha
        self.schedule, self.eta0, self.power_t = learning_rate, eta0, power_t
        self.passive = learning_rate in ("pa1", "pa2")
        self.rho = {None: 0, "l2": 0, "l1": 1, "elasticnet": l1_ratio}[penalty]
        self.strength = alpha if penalty else 0
        self.average, self.batch_size, self.decay = int(average), batch_size, intercept_decay * fit_intercept
        self.fit_intercept = fit_intercept
        self.W, self.b, self.t = np.zeros((K, d)), np.zeros(K), 1
        self.u, self.q = 0.0, np.zeros((K, d))  # l1 due to every weight so far; l1 each has received, with its sign
        self.W_sum, self.b_sum, self.averaged = np.zeros((K, d)), np.zeros(K), 0
        self.loss_curve = []
        self.optimizer = None if optimizer == "sgd" else Optimizer(optimizer, loss, self)

    def step_size(self, L, x):
        """eta_t; with pa1 and pa2 one for each output that has a loss of its own."""
        norm = x @ x
        match self.schedule:
            case "constant" | "adaptive":
                return self.eta0
            case "optimal":
                t0 = 1 / (self.alpha * self.alpha**-0.25)
                return 1 / (self.alpha * (t0 + self.t - 1))
            case "invscaling":
                return self.eta0 / self.t**self.power_t
            case "pa1":
                return np.minimum(self.eta0, L / norm) if norm > 0 else 0.0
            case "pa2":
                return L / (norm + 1 / (2 * self.eta0))

    def step(self, X, T, s):
        """One step on the rows of a batch; returns the sum of s (L + penalty) over them, all at the present W."""
        penalty = self.strength * ((1 - self.rho) * (self.W**2).sum() / 2 + self.rho * np.abs(self.W).sum())
        total, dW, db = 0.0, np.zeros_like(self.W), np.zeros_like(self.b)
        for x, t, weight in zip(X, T, s, strict=True):
            L, dL = self.loss(self.W @ x + self.b, t, self.epsilon)
            total += weight * (np.sum(L) + (0 if self.passive else penalty))
            eta = self.step_size(L, x)
            g = np.clip(weight * dL, -1e12, 1e12)
            dW += np.outer(eta * g, x) / len(X)
            db += eta * g / len(X)
        if self.passive:
            eta = self.eta0
        self.W = self.W * max(0, 1 - (1 - self.rho) * eta * self.strength) - dW
        self.b = self.b - self.decay * db
        self.u += self.rho * eta * self.strength
        self.truncate((X != 0).any(axis=0))
        if 0 < self.average <= self.t:
            self.W_sum, self.b_sum, self.averaged = self.W_sum + self.W, self.b_sum + self.b, self.averaged + 1
        self.t += 1
        return total

    def truncate(self, columns):
        """Cumulative l1: pull the weights of some columns towards 0, not past it, by what they have not received."""
        W, q = self.W[:, columns], self.q[:, columns]
        pulled = np.where(W > 0, np.maximum(0, W - (self.u + q)), np.minimum(0, W + np.where(W < 0, self.u - q, 0)))
        self.W[:, columns], self.q[:, columns] = pulled, q + pulled - W

    def fit(self, X, T, s=None, **how):
        """As `run_epochs`; l1 then reaches every weight."""
        run_epochs(self, self.step if self.optimizer is None else self.optimizer.step, X, T, s, **how)
        self.truncate(np.full(X.shape[1], True))
        return self

    @property
    def solution(self):
        """(W, b): the mean of the iterates after each step, if any were averaged, or else the last one."""
        return (self.W_sum / self.averaged, self.b_sum / self.averaged) if self.averaged else (self.W, self.b)


def run_epochs(model, step, X, T, s=None, *, epochs=1, tol=None, n_iter_no_change=5):
    """Go over the rows in order, `epochs` times or until the criterion is met, batch by batch."""
    s = np.ones(len(X)) if s is None else s
    X, T, s = X[s > 0], T[s > 0], s[s > 0]
    best, misses = np.inf, 0
    for _ in range(epochs):
        batches = [slice(i, i + model.batch_size) for i in range(0, len(X), model.batch_size)]
        objective = sum(step(X[rows], T[rows], s[rows]) for rows in batches) / s.sum()
        model.loss_curve.append(objective)
        misses = misses + 1 if tol is not None and objective > best - tol else 0
        best = min(best, objective)
        if misses == n_iter_no_change and model.schedule == "adaptive" and model.eta0 > 1e-6:
            model.eta0, misses = model.eta0 / 5, 0
        elif misses == n_iter_no_change:
            break
