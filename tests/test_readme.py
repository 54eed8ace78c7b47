"""What the README shows runs as it is written there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECTIONS = dict(section.split("\n", 1) for section in (ROOT / "README.md").read_text().split("\n## ")[1:])
BLOCKS = {  # but for what installs: CI runs the opening's two commands
    name: [
        block for block in re.findall(r"^```(sh|python)\n(.*?)^```$", text, re.M | re.DOTALL) if "pip " not in block[1]
    ]
    for name, text in SECTIONS.items()
}
A_LINE = """
from fastsgd import SGDClassifier
print(SGDClassifier(max_iter=100, tol=None, average=True, random_state=0).fit(X, y).score(X, y))
"""


@pytest.mark.parametrize("name", [name for name in BLOCKS if BLOCKS[name]])
def test_a_section_s_blocks(name, tmp_path):
    """One after the other, in a folder that has tests/data; accuracies that they print of a9a are good ones."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "data").symlink_to(ROOT / "tests" / "data")
    for kind, block in BLOCKS[name]:
        command = [sys.executable, "-P", "-c", block]
        if kind == "sh":
            alias = f'fastsgd() {{ "{sys.executable}" -P -m fastsgd "$@"; }}; set -e\n'
            command = ["bash", "-c", alias + block]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), block
        accuracies = re.findall(r"accuracy (\S+)", done.stdout)
        assert accuracies or (kind == "python" and "accuracy" not in block)
        assert all(float(accuracy) > 0.845 for accuracy in accuracies)


def test_the_network_s_figures(tmp_path):
    """The comments beside its prints, and what a line gets."""
    ((_, block),) = BLOCKS["Networks of one hidden layer"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", block + A_LINE], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    network, largest, line = map(float, done.stdout.split())
    assert network == pytest.approx(0.97, abs=0.005)
    assert largest < 1e-10
    assert line == pytest.approx(0.89, abs=0.005)
