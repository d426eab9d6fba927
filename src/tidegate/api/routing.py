"""Finds the endpoint of a path: one dictionary look-up for a fixed path, one more for a path that names a thing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tidegate.api.http import Answer, Request
from tidegate.domain.errors import MethodNotAllowed, UnknownRoute

Endpoint = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the contract.

    Attributes:
        method: In capitals; GET answers HEAD too.
        template: The path; one segment may be ``{name}``.
        endpoint: What answers.
    """

    method: str
    template: str
    endpoint: Endpoint


class Router:
    """All routes of one listening port."""

    def __init__(self, routes: list[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: dict[tuple[str, str], dict[str, Route]] = {}
        for route in routes:
            head, brace, rest = route.template.partition("{")
            by_method = (
                self._patterns.setdefault((head, rest.partition("}")[2]), {})
                if brace
                else self._fixed.setdefault(route.template, {})
            )
            if route.method in by_method:
                raise ValueError(f"two endpoints for {route.method} {route.template}")
            by_method[route.method] = route

    def find(self, request: Request) -> Route:
        """Return the route of *request*, whose `route` and `path_value` are set.

        Raises:
            UnknownRoute: No such path.
            MethodNotAllowed: The path does something else.
        """
        by_method = self._fixed.get(request.path) or self._match(request)
        if by_method is None:
            raise UnknownRoute
        route = by_method.get("GET" if request.method == "HEAD" else request.method)
        request.route = next(iter(by_method.values())).template
        if route is None:
            allowed = sorted(by_method)
            raise MethodNotAllowed((*allowed, "HEAD") if "GET" in by_method else tuple(allowed))
        return route

    def _match(self, request: Request) -> dict[str, Route] | None:
        for (head, tail), by_method in self._patterns.items():
            if request.path.startswith(head) and request.path.endswith(tail):
                value = request.path[len(head) : len(request.path) - len(tail)]
                if value and "/" not in value:
                    request.path_value = value
                    return by_method
        return None
