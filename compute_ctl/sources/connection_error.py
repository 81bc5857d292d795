"""Why there is no connection, in the system's own words instead of asyncio's and OpenSSL's."""

from __future__ import annotations

import os
import socket
import ssl

import aiohttp


def connection_error(error: aiohttp.ClientConnectorError) -> str:
    """Return the reason in our style, with what to look at where that is known."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = str(cause := error.certificate_error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message
        return f"its certificate is not valid: {why} (is --control-plane-ca right?)"
    return f"could not connect: {system_words(error.os_error)}"


def system_words(cause: OSError) -> str:
    """Return the system's own words for *cause*, in our style."""
    if isinstance(cause, ssl.SSLError):  # its number is OpenSSL's
        return (cause.reason or str(cause)).replace("_", " ").lower()
    if isinstance(cause, socket.gaierror) or not cause.errno:
        return (cause.strerror or str(cause)).lower()
    return os.strerror(cause.errno).lower()
