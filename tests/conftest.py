import threading

import pytest

from fastsgd import _team, load_svmlight


@pytest.fixture
def load(tmp_path):
    def load(text, **kwargs):
        path = tmp_path / "rows.svm"
        path.write_bytes(text)
        return load_svmlight(path, **kwargs)

    return load


@pytest.fixture
def write(tmp_path):
    """write(name, text) makes a file of the test's folder and returns its path."""

    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.fixture
def small_shares(monkeypatch):
    """Little data is shared out as much data is, in four rounds; and no thread is left behind."""
    for name in ("SHORTEST_SHARE", "SHORTEST_OF_NETWORK", "ROUNDS_PER_THREAD"):
        monkeypatch.setattr(_team, name, 1)
    monkeypatch.setattr(_team, "SHARE_PER_WEIGHT", 0)
    monkeypatch.setattr(_team, "MOST_ROUNDS", 4)
    yield
    assert threading.enumerate() == [threading.main_thread()]
