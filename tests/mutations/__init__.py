"""Is the suite worth anything? The product is broken on purpose, and some test must notice.

`python -m tests.mutations`. `catalog` (what is broken, and who must notice) ▸ `run` ▸ `__main__`.
"""
