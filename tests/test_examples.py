"""The worked examples print what they say."""

import doctest
from pathlib import Path

EXAMPLES = Path(__file__).with_name("examples.md")


def test_worked_examples():
    failed, tried = doctest.testfile(str(EXAMPLES), module_relative=False)
    assert tried > 30
    assert not failed
