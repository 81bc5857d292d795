"""The Debian packages, installed on a copy of this machine; `make test-deb` runs them."""
