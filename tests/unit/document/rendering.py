"""Rendering documents in a line, for the tests of what comes out."""

from typing import Any

import msgspec

from compute_common.document.document import decode_document
from compute_ctl.document.render import RenderContext, Rendered, render

ATTACH = RenderContext(attach=True, internal_port=3081)
SUPERVISE = RenderContext(attach=False, internal_port=3081, overcommit_never=True)
A, B = "postgresql://no_user@a:6400", "postgresql://no_user@b:6400"


def made(
    settings: dict[str, str | None] | None = None,
    *,
    context: RenderContext = ATTACH,
    config: object = None,
    text: str | None = None,
    **fields: Any,
) -> Rendered:
    """Render a document with these settings, text and fields."""
    options = [{"name": name, "value": value} for name, value in (settings or {}).items()]
    cluster = {"settings": options, "postgresql_conf": text}
    document = {"spec": {"cluster": cluster, **fields}, "compute_ctl_config": config}
    return render(decode_document(msgspec.json.encode(document)), context)
