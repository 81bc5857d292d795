"""TLS contexts that trust nobody."""

import os
import ssl

import pytest

from compute_common.system.authorities import VARIABLES, without_authorities


@pytest.mark.parametrize("known", [None, "/etc/ssl/some.pem"])
def test_nobody_is_trusted_meanwhile(known: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default context has no authorities, and the environment is as it was."""
    for name in VARIABLES:
        if known is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, known)
    before = dict(os.environ)
    with without_authorities():
        context = ssl.create_default_context()
    assert ([], ssl.CERT_REQUIRED) == (context.get_ca_certs(), context.verify_mode)
    assert before == dict(os.environ)
