import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from workloads import SIZES


def pytest_addoption(parser):
    parser.addoption("--size", choices=sorted(SIZES), default="full", help="size of the data: full, or tiny for CI")


@pytest.fixture(scope="session")
def size(request):
    return request.config.getoption("--size")
