import pytest

from fastsgd import load_svmlight


@pytest.fixture
def load(tmp_path):
    def load(text, **kwargs):
        path = tmp_path / "rows.svm"
        path.write_bytes(text)
        return load_svmlight(path, **kwargs)

    return load
