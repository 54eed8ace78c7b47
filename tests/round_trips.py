"""Ways for a fitted model to go elsewhere and come back: each a function of the model and a folder."""

import copy
import pickle

import joblib

import fastsgd


def saved(model, path):
    model.save(path / "model.npz")
    return fastsgd.load(path / "model.npz")


def joblibbed(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib")


def mapped(model, path):
    """As joblib hands large arrays to its processes: read-only."""
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib", mmap_mode="r")


ROUND_TRIPS = {
    "pickle": lambda model, path: pickle.loads(pickle.dumps(model)),
    "deepcopy": lambda model, path: copy.deepcopy(model),
    "joblib": joblibbed,
    "joblib, mapped": mapped,
    "save": saved,
}
