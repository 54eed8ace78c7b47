"""The optimisers with a step for each weight, as slowly as tests/reference.py, of which they are a part."""

import numpy as np


class Optimizer:
    """A step for each weight. The intercepts are the weights of a last column of ones, without a penalty."""

    def __init__(self, name, loss, model):
        K, d = model.W.shape
        self.name, self.loss, self.model = name, loss, model
        self.own = model.schedule in ("optimal", "invscaling")  # else eta0 is the step
        squared = loss.startswith("squared") or loss in ("huber", "modified_huber")
        real = loss in ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
        normalized = 16 if real else 2 if loss in ("log_loss", "hinge", "squared_hinge") else 1
        factors = {"adam": 0.02, "normalized": normalized}
        # Then the model is the mean of the iterates, that of step t counting t times.
        self.rising = name == "normalized" and self.own and real and not model.average
        self.factor, self.delta = factors.get(name, 2 if squared else 32), 4 if self.own else 1e-30
        bias = np.r_[np.zeros(d), 1]
        self.l2 = model.strength * (1 - model.rho) * (1 - bias)  # of the sum of all rows' losses
        self.l1 = model.strength * model.rho * (1 - bias)
        self.decay = np.r_[np.ones(d), model.decay]
        self.rows, self.lengths, self.scale = 0, 0.0, np.zeros(d + 1)  # of normalized: the largest |x_j| so far
        self.G, self.m, self.z, self.D = (np.zeros((K, d + 1)) for _ in range(4))

    def eta(self, t):
        m = self.lengths / self.rows
        step = self.factor if self.own else self.model.eta0
        if self.name == "normalized":
            return step * np.sqrt(1 / m)  # Ross, Mineiro, Langford: eta sqrt(t / N)
        if not self.own:
            return step
        m = m if m > 0 else 1
        return step / m**0.75 if self.name == "adam" else step / (m * t ** (1 / 6))

    def step(self, X, T, s):
        """One step on the rows of a batch; returns the sum of s L over them."""
        model = self.model
        V = np.c_[model.W, model.b]
        X = np.c_[X, np.full(len(X), float(model.fit_intercept))]
        total, gradient = 0.0, np.zeros_like(V)
        for x, t, weight in zip(X, T, s, strict=True):
            if self.name == "normalized":
                V = self.rescale(V, x)
                self.lengths += ((x / np.where(self.scale > 0, self.scale, 1)) ** 2).sum()
            else:
                self.lengths += x[:-1] @ x[:-1]
            self.rows += 1
            z = V @ x
            L, dL = model.loss(z, t, model.epsilon)
            total += weight * np.sum(L)
            g = np.clip(weight * dL, -1e12, 1e12)
            gradient += np.outer(g, x) / len(X)
        eta = self.eta(model.t) * self.decay
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.name == "normalized":
                R = self.rates(gradient, eta)
                if len(X) == 1 and model.batch_size == 1:
                    change = R * np.outer(follow(self.loss, z, t, s[0], R @ x**2, g, model.epsilon), x)
                else:
                    change = R * gradient
            else:
                change = getattr(self, self.name)(gradient, eta, V)
        V = V - np.where((gradient != 0) & (eta > 0), change, 0)
        model.W, model.b = V[:, :-1], V[:, -1]
        if self.rising or 0 < model.average <= model.t:
            times = model.t if self.rising else 1
            model.W_sum, model.b_sum = model.W_sum + times * model.W, model.b_sum + times * model.b
            model.averaged += times
        model.t += 1
        return total

    def rescale(self, V, x):
        """Where a column has a larger |x_j| than before, predictions of earlier rows change by less than its factor."""
        new = np.maximum(self.scale, np.abs(x))
        f = np.where(self.scale > 0, self.scale / np.where(new > 0, new, 1), 1)
        self.G, self.scale = self.G * f**2, new
        return V * f

    def rates(self, g, eta):
        """What a gradient of 1 takes off each weight; G is the sum of squares of gradients in units of 1 / scale."""
        scale = np.where(self.scale > 0, self.scale, 1)
        self.G = self.G + (g / scale) ** 2
        return np.where(self.G > 0, eta / (np.sqrt(self.G) + eta * self.l2) / scale**2, 0)

    def adagrad(self, g, eta, V):
        self.G = self.G + g**2
        return eta * g / (np.sqrt(self.G + self.delta) + eta * self.l2)

    def ftrl(self, g, eta, V):
        """McMahan et al. (2013), algorithm 1 with beta = 1, for a step that may change."""
        self.G = self.G + g**2
        D = (1 + np.sqrt(self.G)) / eta
        self.z = np.where(g != 0, self.z + g - (D - self.D) * V, self.z)
        self.D = np.where(g != 0, D, self.D)
        return V - np.where(np.abs(self.z) <= self.l1, 0, -(self.z - np.sign(self.z) * self.l1) / (D + self.l2))

    def adam(self, g, eta, V):
        """Kingma, Ba (2015); the moments of a weight whose gradient is 0 stay as they are."""
        t = self.model.t
        self.m = np.where(g != 0, 0.9 * self.m + 0.1 * g, self.m)
        self.G = np.where(g != 0, 0.999 * self.G + 0.001 * g**2, self.G)
        eta = eta / (1 - 0.9**t)
        return eta * self.m / (np.sqrt(self.G / (1 - 0.999**t)) + 1e-8 + eta * self.l2)


def follow(loss, z, t, s, q, g, epsilon):
    """The derivatives that stand for a row of weight s followed all the way (Karampatziakis, Langford 2011, table 1).

    A derivative of 1 takes q off the score. Losses that are not named take the plain derivatives g.
    """
    m, some = t * z, np.where(q > 0, q, 1)
    if loss == "log_loss":
        low, high = np.zeros_like(m), s * some  # the rise D of the margin has D + e^m (e^D - 1) = s q
        for _ in range(200):
            middle = (low + high) / 2
            over = middle + np.exp(m) * np.expm1(middle) > s * some
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return np.where((q > 0) & (np.abs(t) == 1), -t * high / some, g)
    size = np.abs(z - t)
    excess = np.maximum(0, size - epsilon)
    rest = s * q - excess / (epsilon or 1)
    followed = {
        "huber": np.sign(z - t)
        * np.where(rest <= 0, epsilon * s, (excess - (size - excess) * np.expm1(-np.maximum(rest, 0))) / some),
        "hinge": -t * np.minimum(s, np.maximum(0, 1 - m) / some),
        "squared_hinge": t * np.maximum(0, 1 - m) * np.expm1(-2 * s * q) / some,
        "squared_error": -(z - t) * np.expm1(-s * q) / some,
        "epsilon_insensitive": np.sign(z - t) * np.minimum(s, excess / some),
        "squared_epsilon_insensitive": -np.sign(z - t) * excess * np.expm1(-2 * s * q) / some,
    }
    return np.where((q > 0) & (g != 0), followed.get(loss, g), g)
