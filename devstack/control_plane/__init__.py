"""A control plane in small: hands out each compute's document and hears where pageservers moved.

`documents` (pure) ▸ `store` (state file), `faults` ▸ `public_api` (the door of computes and of the
storage controller), `admin` (the door of tests) ▸ `__main__`.
"""
