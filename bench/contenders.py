"""The contenders of peers.py: trainers of logistic regression with l2, and the settings that each tries.

A contender is made by a function without arguments, which imports it, and returns train(data, alpha, step, budget,
seed); that returns two functions, to fit and to predict probabilities with. alpha is the strength of l2 per row, step
one of the contender's grid, budget the number of passes or iterations.
"""

import io
import itertools
import os
import re
import tempfile
from pathlib import Path

import numpy as np

ALPHAS = [1e-6, 1e-5, 1e-7, 1e-4]
# Parameters of SGDClassifier; eta0 is in units of one over the rows' mean squared length.
STEPS = [
    {"learning_rate": "constant", "eta0": 1.0, "average": True},
    {"learning_rate": "invscaling", "eta0": 30.0, "power_t": 0.25},
    {"learning_rate": "constant", "eta0": 10.0, "average": True},
    {"learning_rate": "invscaling", "eta0": 1.0, "power_t": 0.25},
    {"learning_rate": "optimal"},
    {"learning_rate": "invscaling", "eta0": 10.0, "power_t": 0.25},
]
OWN = [
    {},
    {"learning_rate": "constant", "eta0": 2.0},
    {"average": True},
    {"learning_rate": "constant", "eta0": 1.0},
]
# Its updates are normalised by the scale of each column, too, unless --adaptive --invariant alone are named.
VW_STEPS = ["--adaptive --invariant -l 2", "-l 0.5", "-l 2", "--adaptive --invariant -l 0.5"]


def stochastic(estimator, per_row=True, **more):
    def train(data, alpha, step, budget, seed):
        options = {"loss": "log_loss", **step, **more, "eta0": step.get("eta0", 1.0) / data.length}
        model = estimator(
            alpha=alpha if per_row else alpha * data.n,
            max_iter=budget,
            tol=None,
            random_state=seed,
            **options,
        )
        return model.fit, model.predict_proba

    return train


def fastsgd(optimizer="sgd", n_jobs=1):
    from fastsgd import SGDClassifier

    # The other optimisers count alpha once beside the sum of the losses.
    return stochastic(SGDClassifier, optimizer == "sgd", optimizer=optimizer, n_jobs=n_jobs)


def sklearn_sgd():
    from sklearn.linear_model import SGDClassifier

    return stochastic(SGDClassifier)


def sklearn_solver(solver):
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    def train(data, alpha, step, budget, seed):
        model = LogisticRegression(solver=solver, C=1 / (alpha * data.n), max_iter=budget, tol=1e-12, random_state=seed)
        if solver == "liblinear" and data.K > 2:
            model = OneVsRestClassifier(model)
        return model.fit, model.predict_proba

    return train


def snapml():
    from snapml import LogisticRegression

    def train(data, alpha, step, budget, seed):
        model = LogisticRegression(
            max_iter=budget, regularizer=alpha * data.n, tol=1e-12, n_jobs=1, fit_intercept=True, random_state=seed
        )
        return model.fit, model.predict_proba

    return train


def cyanure():
    from cyanure.estimators import Classifier

    def train(data, alpha, step, budget, seed):
        loss = "logistic" if data.K == 2 else "multiclass-logistic"
        model = Classifier(
            loss=loss, lambda_1=alpha, max_iter=budget, tol=1e-12, n_threads=1, verbose=False, duality_gap_interval=1000
        )

        def proba(X):
            z = np.asarray(model.decision_function(X), np.float64)
            z = np.column_stack([-z, z]) / 2 if data.K == 2 else z
            z = np.exp(z - z.max(axis=1, keepdims=True))
            return z / z.sum(axis=1, keepdims=True)

        return model.fit, proba

    return train


def vowpal_wabbit():
    from vowpalwabbit import Workspace

    from fastsgd import dump_svmlight

    folder = tempfile.TemporaryDirectory()

    def at(name):
        return f"{folder.name}/{name}"

    def write(X, y, K, name):
        dump_svmlight(X, 2 * y - 1 if K == 2 else y + 1, at("svmlight"))
        with open(at("svmlight")) as lines, open(at(name), "w") as file:
            file.writelines(line.replace(" ", " | ", 1) for line in lines)

    def train(data, alpha, step, budget, seed):
        kind = "--quiet --loss_function logistic" + (f" --oaa {data.K}" if data.K > 2 else "")
        kind += f" -b {max(18, (data.X.shape[1] * data.K).bit_length() + 1)}"
        if not os.path.exists(at("test")):
            # Its passes keep the order of the file, and rows sorted by class teach it nothing.
            order = np.random.default_rng(0).permutation(data.n)
            write(data.X[order], data.y[order], data.K, "rows")
            write(data.X_test, data.y_test, data.K, "test")
        drivers = []

        def fit(X, y):
            files = f"-d {at('rows')} --cache_file {at('rows.cache')} -f {at('model')}"
            # Its --l2 bites harder than alpha, which at 1e-5 doubles the loss on newsgroups20: it gets a tenth.
            drivers.append(Workspace(f"{kind} {files} --passes {budget} {step} --l2 {alpha / 10} --holdout_off"))

        def proba(X):
            drivers.pop().finish()
            files = f"-d {at('test')} --cache_file {at('test.cache')} -i {at('model')} -r {at('scores')}"
            Workspace(f"{kind} -t {files}").finish()
            scores = np.loadtxt(io.StringIO(re.sub(r"\b\d+:", "", Path(at("scores")).read_text())))
            p = 1 / (1 + np.exp(-scores))
            return np.column_stack([1 - p, p]) if data.K == 2 else p / p.sum(axis=1, keepdims=True)

        return fit, proba

    return train


# How to make it, the grid of its steps, how it is drawn.
CONTENDERS = {
    "fastsgd": (fastsgd, STEPS, "#d62728"),
    "fastsgd, 2 threads": (lambda: fastsgd(n_jobs=2), STEPS, "#d62728"),
    "fastsgd adagrad": (lambda: fastsgd("adagrad"), OWN, "#ff7f0e"),
    "fastsgd adagrad, 2 threads": (lambda: fastsgd("adagrad", 2), OWN, "#ff7f0e"),
    "fastsgd normalized": (lambda: fastsgd("normalized"), OWN, "#e377c2"),
    "fastsgd ftrl": (lambda: fastsgd("ftrl"), OWN, "#bcbd22"),
    "fastsgd adam": (lambda: fastsgd("adam"), OWN, "#7f0000"),
    "scikit-learn SGD": (sklearn_sgd, STEPS, "#1f77b4"),
    "scikit-learn liblinear": (lambda: sklearn_solver("liblinear"), [None], "#17becf"),
    "scikit-learn saga": (lambda: sklearn_solver("saga"), [None], "#2ca02c"),
    "scikit-learn lbfgs": (lambda: sklearn_solver("lbfgs"), [None], "#98c379"),
    "Vowpal Wabbit": (vowpal_wabbit, VW_STEPS, "#9467bd"),
    "snapml": (snapml, [None], "#111111"),
    "cyanure": (cyanure, [None], "#8c564b"),
}


def settings_of(contender, K):
    """All (alpha, step) of a contender's grid, the likeliest first."""
    _, steps, _ = CONTENDERS[contender]
    if K > 2 and contender.startswith("fastsgd"):
        steps = [{**step, "loss": loss} for step in steps for loss in ("softmax", "log_loss")]
    return list(itertools.product(ALPHAS, steps))
