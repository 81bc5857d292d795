"""Generates the OpenAPI document from the table of routes and the response types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from compute_ctl.http.api import JSON, Listener, RequestBody, Route
from compute_ctl.http.responses import ErrorBody

_REF = "#/components/schemas/{name}"
_REASONS = {
    200: "done",
    201: "already done",
    400: "the request cannot be read",
    401: "the token is not valid",
    403: "not on this listener, or not for this caller",
    404: "does not exist",
    408: "the body did not arrive in time",
    409: "superseded, or older than what is desired",
    411: "a body is needed",
    412: "the compute is terminating",
    413: "the body is too big",
    415: "the body is not plain JSON",
    422: "the body does not match the schema, or is refused",
    500: "it failed",
    501: "not implemented here",
    503: "temporarily unavailable",
    504: "timeout",
}
_READING_A_BODY = (408, 413, 415)


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document for *routes*."""
    routes = tuple(routes)
    shapes = _shapes(routes)
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "compute_ctl",
            "version": "1",
            "description": "The loopback port, the unix socket and the external port serve "
            "different routes. `x-doors` says where a route is served; elsewhere it answers 403.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def document_bytes(routes: Iterable[Route]) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document(routes)) + b"\n"


def _shapes(routes: tuple[Route, ...]) -> list[type[Struct]]:
    shapes: dict[type[Struct], None] = {ErrorBody: None}
    for route in routes:
        if route.body is not None and route.body.model is not None:
            shapes[route.body.model] = None
        for answer in route.answers.values():
            if not isinstance(answer, str):
                shapes[answer] = None
    return list(shapes)


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{route.path.replace('/', '_').replace('.', '_')}",
        "summary": route.text,
        "x-doors": [listener.value for listener in Listener if listener in route.listeners],
        "responses": _responses(route),
    }
    if Listener.EXTERNAL in route.listeners and not route.open:
        operation["security"] = [{"token": []}, {}]  # the other listeners need none
    if route.query:
        operation["parameters"] = [
            {
                "name": one.name,
                "in": "query",
                "required": one.required,
                "description": one.text,
                "schema": one.schema,
            }
            for one in route.query
        ]
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body.required,
            "content": {JSON: {"schema": _body_schema(route.body)}},
        }
    return operation


def _body_schema(body: RequestBody) -> dict[str, Any]:
    return {"type": "object"} if body.model is None else _ref(body.model)


def _responses(route: Route) -> dict[str, Any]:
    answers: dict[int, type[Struct] | str] = dict.fromkeys((400, 403, 500), ErrorBody)
    if Listener.EXTERNAL in route.listeners and not route.open:
        answers.update(dict.fromkeys((401, 503), ErrorBody))
    if route.body is not None:
        answers.update(dict.fromkeys(_READING_A_BODY, ErrorBody))
        if route.body.required:
            answers[411] = ErrorBody
    answers.update(route.answers)
    return {str(code): _response(code, answers[code]) for code in sorted(answers)}


def _response(code: int, answer: type[Struct] | str) -> dict[str, Any]:
    content: dict[str, Any] = (
        {answer: {}} if isinstance(answer, str) else {JSON: {"schema": _ref(answer)}}
    )
    return {"description": _REASONS[code], "content": content}


def _ref(shape: type[Struct]) -> dict[str, str]:
    return {"$ref": _REF.format(name=shape.__name__)}
