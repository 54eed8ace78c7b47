"""Targets as the kernel takes them: labels as class numbers, and the weights of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import CHUNK, Array
from ._validation import as_column, check_labels, check_weights
from .core import checks
from .core.losses import Loss
from .losses import get_loss

SMALL_RANGE = 1 << 16
INTEGER = np.dtype(np.int64)
# Labels that `checks.tell_apart` reads, and as what.
TWO_VALUED = {np.dtype(kind): kind for kind in (np.uint8, np.int32, np.int64, np.float32, np.float64)}
TWO_VALUED[np.dtype(bool)] = np.uint8


# With two classes one output is enough: what a loss of K scores becomes then.
TWO_CLASSES = {"softmax": "log_loss", "multiclass_hinge": "hinge", "multiclass_perceptron": "perceptron"}


@dataclass(slots=True)
class Task:
    """What is to be learnt.

    Attributes
    ----------
    loss : Loss
    targets : ndarray of shape (n, 1) or (n, n_outputs), of X's dtype
        As `core.sgd.train` takes them.
    n_outputs : int
    truth : ndarray of shape (n,) or (n, n_outputs)
        What a prediction is compared with: class numbers, True or False for each label, real targets.
    classes : ndarray of shape (n_classes,), optional
        The label of each class number.
    """

    loss: Loss
    targets: Array
    n_outputs: int
    truth: Array
    classes: Array | None = None

    @property
    def multilabel(self) -> bool:
        return self.classes is not None and self.truth.ndim == 2

    @property
    def codes(self) -> Array | None:
        """The class number of each row, if it has one."""
        return None if self.classes is None or self.multilabel else self.truth

    def answers(self, rows: Array) -> Array:
        """y of some rows, as the caller of `fit` knows it."""
        truth = self.truth[rows]
        if self.classes is None:
            return truth
        return truth.astype(np.int64) if self.multilabel else self.classes[truth]


def class_task(name: str, epsilon: float, codes: Array, classes: Array, shares: Array | None, dtype: Any) -> Task:
    """One class a row, or for `shares` (n, n_classes) the probability of each."""
    two = len(classes) == 2
    if shares is None:
        targets = codes.astype(dtype)
        if two:
            checks.make_signs(targets)
        targets = targets.reshape(-1, 1)
    else:
        targets = (2 * shares[:, 1:] - 1).astype(dtype) if two else np.ascontiguousarray(shares, dtype)
    loss = get_loss(TWO_CLASSES.get(name, name) if two else name, epsilon=epsilon)
    return Task(loss, targets, 1 if two else len(classes), codes, classes)


def label_task(name: str, epsilon: float, indicator: Array, classes: Array, dtype: Any) -> Task:
    """Any number of labels a row: an (n, n_classes) matrix of 0 and 1, one output for each column."""
    loss = get_loss(name, epsilon=epsilon)
    if loss.joint:
        raise ValueError(
            f"y is a matrix of {indicator.shape[1]} labels, of which a row may have several, but loss={name!r} is for "
            "one label a row: take a loss of one score, such as 'log_loss' or 'hinge'"
        )
    targets = indicator.astype(dtype)
    targets *= 2
    targets -= 1
    return Task(loss, targets, indicator.shape[1], indicator != 0, classes)


def encode_targets(y: Any, n: int) -> tuple[Array, Array]:
    """`encode` for n labels that are checked as by `check_labels`: of just two numbers, these two are."""
    labels = as_column(y, n, "y")
    if labels.dtype in TWO_VALUED:
        codes = np.empty(n, np.uint8)
        places = checks.tell_apart(np.ascontiguousarray(labels).view(TWO_VALUED[labels.dtype]), codes)
        if places is not None:
            two = labels[list(places)]
            if all(float(label).is_integer() for label in two.tolist()):
                return two, codes
    return encode(check_labels(labels, n))


def encode(labels: Array) -> tuple[Array, Array]:
    """The classes, sorted, and the number of each label's class, of labels that are checked."""
    labels = labels.astype(labels.dtype.newbyteorder("="), copy=False)
    if labels.dtype.kind in "iubf" and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if high - low < SMALL_RANGE and max(abs(low), abs(high)) < 2**53:
            # Whole numbers of a small range, by counting: ten times as fast as sorting, and in little memory.
            codes: Array = np.empty(labels.size, np.uint16)
            present = np.zeros(high - low + 1, bool)
            chunks = [slice(first, first + CHUNK) for first in range(0, labels.size, CHUNK)]
            for chunk in chunks:
                codes[chunk] = labels[chunk].astype(np.int64) - low
                present[codes[chunk]] = True
            numbers = (np.cumsum(present) - 1).astype(np.uint16)
            for chunk in chunks:
                codes[chunk] = numbers[codes[chunk]]
            return (np.flatnonzero(present) + low).astype(labels.dtype), codes
    classes, inverse = np.unique(labels, return_inverse=True)
    return classes, inverse.reshape(-1)


def encode_known(labels: Array, classes: Array) -> Array:
    """The number of each label's class; ValueError that names a label that is not among them."""
    if labels.dtype == classes.dtype == INTEGER:  # the commonest: one call, for rows that come one by one
        codes = np.empty(labels.size, np.intp)
        row = checks.find_classes(labels, classes, codes)
    else:
        if labels.dtype.kind in "iubf" and classes.dtype.kind in "iubf":
            codes = classes.searchsorted(labels)
            unknown = np.flatnonzero(classes.take(codes, mode="clip") != labels)
        else:
            numbers = {label: code for code, label in enumerate(classes.tolist())}
            codes = np.array([numbers.get(label, -1) for label in labels.tolist()], np.intp)
            unknown = np.flatnonzero(codes < 0)
        row = unknown[0] if unknown.size else -1
    if row >= 0:
        raise ValueError(
            f"y has the label {labels[row]!r} at row {row}, which is not among the classes of the first call to "
            f"partial_fit: {classes.tolist()}"
        )
    return codes


def combine_weights(class_weight: Any, classes: Array, codes: Array, weights: Array | None) -> Array | None:
    """Weights of the rows times weights of their classes; None if all are 1."""
    if class_weight is None:
        return weights
    known = classes.tolist()
    if isinstance(class_weight, str):
        counted = codes if weights is None else codes[weights > 0]  # of weight 0 is left out
        counts = np.bincount(counted, minlength=len(known))
        given = len(counted) / (len(known) * np.maximum(counts, 1))
    else:
        unknown = [label for label in class_weight if label not in known]
        if unknown and len(class_weight) - len(unknown) < len(known):
            raise ValueError(f"The classes, {unknown}, of class_weight are not in y, which has {known}")
        given = np.array([class_weight.get(label, 1.0) for label in known])
    per_class: Any = check_weights(given, len(known), "class_weight")
    combined: Array = per_class[codes] if weights is None else per_class[codes] * weights
    if not combined.any():
        raise ValueError("class_weight and sample_weight leave no row with a weight above 0")
    return combined
