"""Generates the OpenAPI document from routes and their types."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from compute_common.http.api import JSON, RequestBody, Route, is_parameter
from compute_common.http.bodies import ErrorBody

_REF = "#/components/schemas/{name}"
_REASONS = {
    200: "done",
    201: "already done",
    400: "the request cannot be read",
    401: "the token is not valid",
    403: "not on this listener, or not for this caller",
    404: "does not exist",
    408: "the body did not arrive in time",
    411: "a body is needed",
    413: "the body is too big",
    415: "the body is not plain JSON",
    422: "the body does not match the schema, or is refused",
    500: "it failed",
    501: "not implemented here",
    503: "temporarily unavailable",
    504: "timeout",
}
_READING_A_BODY = (408, 413, 415)
_IN_AN_ID = str.maketrans({"/": "_", ".": "_", "{": "", "}": ""})


@dataclass(frozen=True, kw_only=True)
class About:
    """What the document says beside the routes."""

    title: str
    description: str
    listeners: Sequence[str]
    """Names of all listeners, in the order shown."""
    with_token: Collection[str]
    """Those of them that ask for a token, except for open routes."""
    reasons: Mapping[int, str] = field(default_factory=dict)
    """What a status code means here, where that is not the usual."""


def document(routes: Iterable[Route[Any]], about: About) -> dict[str, Any]:
    """Return the document for *routes*."""
    routes = tuple(routes)
    shapes = _shapes(routes)
    _, schemas = msgspec.json.schema_components(shapes, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, about)
    return {
        "openapi": "3.1.0",
        "info": {"title": about.title, "version": "1", "description": about.description},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def document_json(routes: Iterable[Route[Any]], about: About) -> bytes:
    """Return the document as JSON."""
    return msgspec.json.encode(document(routes, about)) + b"\n"


def _shapes(routes: tuple[Route[Any], ...]) -> list[type[Struct]]:
    shapes: dict[type[Struct], None] = {ErrorBody: None}
    for route in routes:
        if route.body is not None and route.body.model is not None:
            shapes[route.body.model] = None
        for answer in route.answers.values():
            if not isinstance(answer, str):
                shapes[answer] = None
    return list(shapes)


def _operation(route: Route[Any], about: About) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.method.lower() + route.path.translate(_IN_AN_ID),
        "summary": route.text,
        "x-doors": [str(one) for one in about.listeners if one in route.listeners],
        "responses": _responses(route, about),
    }
    if _needs_token(route, about):
        operation["security"] = [{"token": []}, {}]  # the other listeners need none
    if parameters := [*_in_path(route), *_in_query(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body.required,
            "content": {JSON: {"schema": _body_schema(route.body)}},
        }
    return operation


def _needs_token(route: Route[Any], about: About) -> bool:
    return not route.open and any(one in route.listeners for one in about.with_token)


def _in_path(route: Route[Any]) -> list[dict[str, Any]]:
    names = [one[1:-1] for one in route.path.split("/") if is_parameter(one)]
    text = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": text} for name in names]


def _in_query(route: Route[Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "in": "query",
            "required": one.required,
            "description": one.text,
            "schema": one.schema,
        }
        for one in route.query
    ]


def _body_schema(body: RequestBody) -> dict[str, Any]:
    return {"type": "object"} if body.model is None else _ref(body.model)


def _responses(route: Route[Any], about: About) -> dict[str, Any]:
    answers: dict[int, type[Struct] | str] = dict.fromkeys((400, 403, 500), ErrorBody)
    if _needs_token(route, about):
        answers.update(dict.fromkeys((401, 503), ErrorBody))
    if route.body is not None:
        answers.update(dict.fromkeys(_READING_A_BODY, ErrorBody))
        if route.body.required:
            answers[411] = ErrorBody
    answers.update(route.answers)
    return {str(code): _response(code, answers[code], about) for code in sorted(answers)}


def _response(code: int, answer: type[Struct] | str, about: About) -> dict[str, Any]:
    content: dict[str, Any] = (
        {answer: {}} if isinstance(answer, str) else {JSON: {"schema": _ref(answer)}}
    )
    reason = about.reasons.get(code) or _REASONS.get(code) or HTTPStatus(code).phrase.lower()
    return {"description": reason, "content": content}


def _ref(shape: type[Struct]) -> dict[str, str]:
    return {"$ref": _REF.format(name=shape.__name__)}
