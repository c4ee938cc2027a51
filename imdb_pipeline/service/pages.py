"""The service's own two pages: where to go, and the list of its paths. No script, nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader

from imdb_pipeline.results.plain_text import titled
from imdb_pipeline.service.loaded import PAGES

if TYPE_CHECKING:
    from imdb_pipeline.service.current import CurrentRelease

_POLICY = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
}
_PATHS = {
    "report": ("/report", "the report"),
    "map_page": ("/map", "the map"),
    "model_card": ("/model-card", "the model card"),
}


def index_page(current: CurrentRelease, health: dict[str, Any]) -> HTMLResponse:
    """Return where to go from here: pages of the release, some movies, a search."""
    held = current.loaded
    links = [_PATHS[asset] for asset in PAGES if held is not None and held.has_page(asset)]
    movies = [{"tconst": movie["tconst"], "shown": titled(movie)} for movie in held.most_voted] if held else []
    return _page("index.html.j2", health=health, links=links, movies=movies)


def endpoints_page(openapi: dict[str, Any]) -> HTMLResponse:
    """Return the paths with their parameters, from their OpenAPI description."""
    paths = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "tag": operation["tags"][0],
            "parameters": [_parameter(each) for each in operation.get("parameters", [])],
            "body": "requestBody" in operation,
        }
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    return _page("endpoints.html.j2", info=openapi["info"], tags=openapi["tags"], paths=paths)


def _parameter(told: dict[str, Any]) -> dict[str, Any]:
    schema = told["schema"]
    return {"name": told["name"], "description": told.get("description", ""), "default": schema.get("default")}


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("imdb_pipeline.service"), autoescape=True, trim_blocks=True)


def _page(template: str, **values: Any) -> HTMLResponse:
    return HTMLResponse(_environment().get_template(template).render(**values), headers=_POLICY)
