from setuptools import setup  # noqa: D100 (no module: setuptools runs it)

setup(cffi_modules=["pg_hook/_build.py:ffi"])
