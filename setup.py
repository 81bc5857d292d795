from setuptools import setup  # noqa: D100

setup(cffi_modules=["pg_hook/_build.py:ffi"])
