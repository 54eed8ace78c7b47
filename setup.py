"""The compiled modules and their compiler flags; everything else is in pyproject.toml."""

import sys

from setuptools import Extension, setup

if sys.platform == "win32":
    compile_args, libraries = ["/O2", "/std:c11"], []
else:
    # No contraction to fused multiply-add: every CPU then computes the same bits.
    compile_args, libraries = ["-O3", "-g0", "-ffp-contract=off"], ["m"]

setup(
    ext_modules=[
        Extension(
            f"fastsgd.core.{name}",
            [f"fastsgd/core/{name}.pyx"],
            include_dirs=["fastsgd/core"],
            depends=["fastsgd/core/simd.h", "fastsgd/core/steps.h", "fastsgd/core/words.h"],
            extra_compile_args=compile_args,
            libraries=libraries,
        )
        for name in ("checks", "decimal", "losses", "merge", "sgd", "svmlight", "svmlight_writer")
    ]
)
