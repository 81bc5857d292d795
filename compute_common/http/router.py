"""Finds the route of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Generic

from compute_common.http.api import A, ApiResponse, Route, is_parameter, json_response
from compute_common.http.bodies import error_body


def no_such_route(path: str) -> ApiResponse:
    """Return the answer for a *path* that no route has."""
    return json_response(error_body("no such route"), 404)


class Router(Generic[A]):
    """The routes of one program, by path and method."""

    def __init__(
        self,
        routes: Iterable[Route[A]],
        *,
        labels: Mapping[str, str] | None = None,
        unknown: Callable[[str], ApiResponse] = no_such_route,
    ) -> None:
        """*labels*: how messages call the listeners. *unknown* answers paths without a route.

        Raises ValueError if two routes have the same method and path.
        """
        self._labels = labels or {}
        self._unknown = unknown
        self._plain: dict[str, dict[str, Route[A]]] = {}
        self._with_parameters: dict[tuple[str | None, ...], dict[str, Route[A]]] = {}
        """By path: its segments, with None for a parameter."""
        for route in routes:
            self._add(route)
        # of two that match, the one whose first difference is no parameter
        order = sorted(self._with_parameters, key=lambda shape: [one is None for one in shape])
        self._with_parameters = {shape: self._with_parameters[shape] for shape in order}

    def _add(self, route: Route[A]) -> None:
        if "{" in route.path:
            segments = route.path.split("/")
            shape = tuple(None if is_parameter(one) else one for one in segments)
            methods = self._with_parameters.setdefault(shape, {})
        else:
            methods = self._plain.setdefault(route.path, {})
        if route.method in methods:
            raise ValueError(f"two routes for {route.method} {route.path}")
        methods[route.method] = route

    def label(self, listener: str) -> str:
        """Return how messages call *listener*."""
        return self._labels.get(listener, listener)

    def find(self, method: str, path: str, listener: str) -> Route[A] | ApiResponse:
        """Return the requested route, or the error response if this listener does not serve it."""
        methods = self._plain.get(path) or self._match(path)
        if methods is None:
            return self._unknown(path)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            answer = json_response(error_body(f"method {method} is not allowed here"), 405)
            allowed = sorted(methods) + (["HEAD"] if "GET" in methods else [])
            answer.headers["Allow"] = ", ".join(allowed)
            return answer
        if listener not in route.listeners:
            served = " and ".join(sorted(self.label(one) for one in route.listeners))
            return json_response(
                error_body(f"{path} is served on {served}, not on {self.label(listener)}"), 403
            )
        return route

    def _match(self, path: str) -> dict[str, Route[A]] | None:
        if not self._with_parameters:
            return None
        segments = path.split("/")
        for shape, methods in self._with_parameters.items():
            if len(shape) == len(segments) and all(
                bool(given) if wanted is None else given == wanted
                for wanted, given in zip(shape, segments, strict=True)
            ):
                return methods
        return None
