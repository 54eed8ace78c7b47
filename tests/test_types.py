"""The program that `.ci/run` type-checks runs, and leaves out no public name."""

import ast
from pathlib import Path

import typed_program

import fastsgd


def test_the_typed_program_runs():
    typed_program.main()


def test_it_has_every_public_name():
    tree = ast.parse(Path(typed_program.__file__).read_text())
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert set(fastsgd.__all__) <= used
