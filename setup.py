"""The compiled modules and their compiler flags; everything else is in pyproject.toml."""

import sys
from glob import glob

from setuptools import Extension, setup

if sys.platform == "win32":
    compile_args, libraries = ["/O2", "/std:c11"], []
else:
    # No contraction to fused multiply-add: every CPU then computes the same bits. Without errno, sqrt has vectors.
    compile_args, libraries = ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno"], ["m"]

setup(
    ext_modules=[
        Extension(
            f"fastsgd.core.{name}",
            [f"fastsgd/core/{name}.pyx"],
            include_dirs=["fastsgd/core"],
            depends=[*glob("fastsgd/core/*.h"), *glob("fastsgd/core/*.pxd")],
            extra_compile_args=compile_args,
            libraries=libraries,
        )
        for name in sorted(file.removesuffix(".pyx") for file in glob("*.pyx", root_dir="fastsgd/core"))
    ]
)
