import pytest

from fastsgd import load_svmlight


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
