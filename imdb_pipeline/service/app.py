"""The paths of the service. What they answer is made by ``loaded``; what holds for all of them is in ``guard``."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from imdb_pipeline import __version__
from imdb_pipeline.errors import InputError, NotPublishedError, PipelineError
from imdb_pipeline.results.new_movie import DESCRIBED, TITLE_TYPES
from imdb_pipeline.results.report import COURTESY
from imdb_pipeline.service import examples, models, pages
from imdb_pipeline.service.bodies import MAX_BODY_BYTES, BodyError, read_json
from imdb_pipeline.service.guard import STOPPING
from imdb_pipeline.service.leaving import Leaving
from imdb_pipeline.service.loaded import PAGES
from imdb_pipeline.service.pages import endpoints_page, index_page
from imdb_pipeline.service.workers import BusyError, StoppingError, Workers
from imdb_pipeline.similar import SeveralMoviesError, UnknownMovieError, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imdb_pipeline.service.current import CurrentRelease
    from imdb_pipeline.service.loaded import LoadedRelease

WATCH_SECONDS = 2.0
MAX_MODEL_WORK = 8
MAX_TABLE_WORK = 64
STOP = "stop"
"""In the lifespan's state: what the server calls when it begins to stop."""
_RETRY = {"retry-after": "5"}
_PAGE_POLICY = {"content-security-policy": "frame-ancestors 'none'", "cache-control": "no-cache"}
"""Of a released page: what it may load and run, it says itself."""

_DESCRIPTION = f"""What the current release of a home answers: similar movies, predicted ratings with their 90 %
interval and what they rest on, the leaderboard; as `imdb-pipeline COMMAND --json` does, with the same fields. A new
release is served as soon as it is published.

What is wrong is answered as `{{"detail": "one line"}}`. The examples are of the synthetic sample catalogue.

Where the data is IMDb's: {COURTESY}"""

Id = Annotated[
    str,
    Path(min_length=1, max_length=20, description="The movie's IMDb id", examples=[examples.TCONST]),
]


class JsonAnswer(Response):
    """A JSON value, already in JSON's own types; its fields are those of the model beside it, see the tests."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def create_app(current: CurrentRelease, *, stale_hours: int, watch_seconds: float = WATCH_SECONDS) -> FastAPI:
    """Return the application; it loads the current release when it starts, and watches for the next.

    Parameters
    ----------
    stale_hours
        Age from which data is stale.
    """
    model_work, table_work = Workers("model", 1, limit=MAX_MODEL_WORK), Workers("tables", 2, limit=MAX_TABLE_WORK)

    def stop() -> None:
        for workers in (model_work, table_work):
            workers.stop()

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await asyncio.to_thread(current.check)
        warming = asyncio.create_task(_warm(current, model_work))
        watching = asyncio.create_task(current.watch(watch_seconds))
        yield {STOP: stop}
        for task in (watching, warming):
            task.cancel()
        for workers in (model_work, table_work):
            workers.close()

    app = FastAPI(
        title="imdb_pipeline",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        openapi_tags=[
            {"name": "similar", "description": "The nearest movies by the cosine of their embeddings."},
            {"name": "ratings", "description": "Predicted ratings, and what they rest on."},
            {"name": "catalogue", "description": "Movies as the release holds them."},
            {"name": "service", "description": "Pages, and how the service is."},
        ],
    )
    app.add_middleware(Leaving)
    _answer_errors(app)

    def loaded() -> LoadedRelease:
        if current.loaded is None:
            raise NotPublishedError(current.problem or "no release has been read yet; try again in a moment")
        return current.loaded

    similar = _documented(list[models.SimilarMovie], examples.SIMILAR, 404)

    @app.get("/similar/{tconst}", tags=["similar"], summary="Movies like one of the catalogue", **similar)
    async def similar_to_id(tconst: Id, asked: Annotated[models.OfMovie, Query()]) -> Response:
        held, wanted = loaded(), _wanted(asked)
        found = held.similar.at_once(tconst, wanted)
        if found is None or asked.mask_title:
            found = await table_work.do(held.similar.to_movie, tconst, wanted, mask_title=asked.mask_title)
        return JsonAnswer(found)

    by_title = _documented(list[models.SimilarMovie], examples.SIMILAR, 404, 409)

    @app.get("/similar", tags=["similar"], summary="Movies like one of that title, or like a text", **by_title)
    async def similar_to_title(asked: Annotated[models.OfTitle, Query()]) -> Response:
        held, wanted = loaded(), _wanted(asked)
        if (asked.title is None) == (asked.text is None):
            raise InputError("title, text: give one of the two")
        if asked.title is not None:
            work = table_work.do(held.similar.to_movie, asked.title, wanted, mask_title=asked.mask_title)
            return JsonAnswer(await work)
        if asked.mask_title:
            raise InputError("mask_title: a text has no title to mask; leave it out")
        vector = await model_work.do(held.vector, asked.text)
        return JsonAnswer(await table_work.do(held.similar.to_vector, vector, wanted))

    described_like = _documented(list[models.SimilarMovie], examples.SIMILAR, 413, body=True)

    @app.post("/similar", tags=["similar"], summary="Movies like one that is described", **described_like)
    async def similar_to_described(request: Request, asked: Annotated[models.Filters, Query()]) -> Response:
        held, wanted, value = loaded(), _wanted(asked), await read_json(request)
        vector = await model_work.do(lambda: held.vector(held.described(value)))
        return JsonAnswer(await table_work.do(held.similar.to_vector, vector, wanted))

    predicted = _documented(models.Prediction, examples.PREDICTION, 404)

    @app.get("/predict/{tconst}", tags=["ratings"], summary="The predicted rating of a movie", **predicted)
    async def predict_id(tconst: Id) -> Response:
        held = loaded()
        answer = await table_work.do(held.predictor().predict_listed, tconst)
        if answer is None:
            answer = await model_work.do(lambda: held.with_model().predict_unlisted(tconst))
        return JsonAnswer(answer)

    described = _documented(models.DescribedPrediction, examples.DESCRIBED_PREDICTION, 413, body=True)

    @app.post("/predict", tags=["ratings"], summary="The predicted rating of a movie that is described", **described)
    async def predict_described(request: Request) -> Response:
        held, value = loaded(), await read_json(request)
        return JsonAnswer(await model_work.do(lambda: held.with_model().predict(_movie(value))))

    explained = _documented(models.Explanation, examples.EXPLANATION, 404)

    @app.get("/explain/{tconst}", tags=["ratings"], summary="What each field and person adds", **explained)
    async def explain_id(tconst: Id, asked: Annotated[models.Directors, Query()]) -> Response:
        held = loaded()
        held.movie(tconst)
        answer = model_work.do(lambda: held.with_model().explain_id(tconst, directors=asked.director))
        return JsonAnswer(await answer)

    of_described = _documented(models.DescribedExplanation, examples.DESCRIBED_EXPLANATION, 413, body=True)

    @app.post("/explain", tags=["ratings"], summary="What each field adds, of one described", **of_described)
    async def explain_described(request: Request, asked: Annotated[models.Directors, Query()]) -> Response:
        held, value = loaded(), await read_json(request)
        answer = model_work.do(lambda: held.with_model().explain(_movie(value), directors=asked.director))
        return JsonAnswer(await answer)

    board = _documented(list[models.LeaderboardRow], examples.LEADERBOARD, 404)

    @app.get("/leaderboard", tags=["ratings"], summary="The predictors side by side, best on validation first", **board)
    async def leaderboard() -> Response:
        return JsonAnswer(_or_not_found(loaded().leaderboard))

    movies = _documented(list[models.ListedMovie], examples.LISTED)

    @app.get("/movies", tags=["catalogue"], summary="Movies with a text in their title", **movies)
    async def movies_titled(asked: Annotated[models.Titled, Query()]) -> Response:
        return JsonAnswer(await table_work.do(loaded().titled, asked.title, limit=asked.limit))

    one = _documented(models.Movie, examples.MOVIE, 404)

    @app.get("/movies/{tconst}", tags=["catalogue"], summary="A movie with its credits", **one)
    async def movie(tconst: Id) -> Response:
        return JsonAnswer(loaded().movie(tconst))

    health_told = _documented(models.Health, examples.HEALTH)
    health_told["responses"][503] = {"model": models.Health, "description": "There is no release to answer from"}

    @app.get("/healthz", tags=["service"], summary="How the service is, and what it answers from", **health_told)
    async def healthz() -> Response:
        state = _health(current, stale_hours)
        return JsonAnswer(state, status_code=200 if current.loaded else 503)

    for asset, (path, what) in pages.PATHS.items():
        _serve_page(app, path, asset, what[0].upper() + what[1:], loaded)

    @app.get("/{asset}/{day}/{revision}/{file}", include_in_schema=False)
    async def in_the_store(asset: str, file: str) -> Response:
        """Where a page leads to another by its place in the store, as it does from disk."""
        if PAGES.get(asset) != file:
            raise HTTPException(404, "there is no such path; /docs lists those that there are")
        return RedirectResponse(pages.PATHS[asset][0])

    @app.get("/docs", tags=["service"], summary="This list, as a page", response_class=HTMLResponse)
    async def docs() -> Response:
        return endpoints_page(app.openapi())

    @app.get("/", tags=["service"], summary="Where to go from here", response_class=HTMLResponse)
    async def index() -> Response:
        return index_page(current, _health(current, stale_hours))

    return app


def _serve_page(app: FastAPI, path: str, asset: str, what: str, loaded: Any) -> None:
    told: Any = {404: {"model": models.Problem, "description": "The release has none"}, 503: _NO_RELEASE}

    @app.get(path, name=asset, tags=["service"], summary=what, response_class=HTMLResponse, responses=told)
    async def page() -> Response:
        held = loaded()
        return HTMLResponse(_or_not_found(held.page, asset), headers=_PAGE_POLICY)


async def _warm(current: CurrentRelease, workers: Workers) -> None:
    """Load the models of the first release once it answers already."""
    if current.loaded is not None:
        await workers.do(current.warm, current.loaded)


def _wanted(asked: models.Filters) -> Wanted:
    return Wanted(asked.k, asked.from_year, asked.to_year, asked.min_votes)


def _movie(value: Any) -> dict[str, Any]:
    """Return what was described, which must be an object: a text would be taken for an id, a title or a file."""
    if not isinstance(value, dict):
        raise InputError(f"the body: expected a JSON object with some of {', '.join(DESCRIBED)}")
    return value


def _or_not_found(get: Any, *arguments: str) -> Any:
    try:
        return get(*arguments)
    except NotPublishedError as error:
        raise HTTPException(404, str(error)) from None


def _health(current: CurrentRelease, stale_hours: int) -> dict[str, Any]:
    held = current.loaded
    age = held.age_hours() if held else None
    status = "ok" if age is None or age <= stale_hours else "stale"
    return {
        "status": "no release" if held is None else "behind" if current.problem else status,
        "day": held.release.day if held else None,
        "release": held.id if held else None,
        "released_at": held.release.content.get("released_at") if held else None,
        "age_hours": age,
        "problem": current.problem,
        "version": __version__,
    }


_NO_RELEASE = {"model": models.Problem, "description": "Nothing to answer from: no release, or no champion"}
_PROBLEMS: dict[int, dict[str, Any]] = {
    404: {"model": models.Problem, "description": "No such movie, or the release has no such part"},
    409: {
        "model": models.SeveralMovies,
        "description": "Several movies have that title",
        "content": {"application/json": {"example": examples.SEVERAL}},
    },
    413: {"model": models.Problem, "description": f"The body is larger than {MAX_BODY_BYTES:,} bytes"},
    422: {"model": models.Problem, "description": "A field or a parameter is not what it should be; it is named"},
    503: _NO_RELEASE,
}


def _documented(model: Any, example: Any, *problems: int, body: bool = False) -> dict[str, Any]:
    """Return how a path is documented; the model is not run over the answers."""
    responses = {200: {"content": {"application/json": {"example": example}}}}
    told: dict[str, Any] = {
        "response_model": model,
        "responses": responses | {status: _PROBLEMS[status] for status in (*problems, 422, 503)},
    }
    if body:
        schema = {
            "type": "object",
            "description": f"Some of {', '.join(DESCRIBED)}: see docs/predicting.md",
            "properties": {
                **{field: {} for field in DESCRIBED},
                "title_type": {"enum": [*TITLE_TYPES, None], "default": TITLE_TYPES[0]},
            },
            "additionalProperties": False,
        }
        content = {"application/json": {"schema": schema, "example": examples.DESCRIBED}}
        told["openapi_extra"] = {"requestBody": {"required": True, "content": content}}
    return told


def _answer_errors(app: FastAPI) -> None:
    """Have every error be ``{"detail": one line}``."""

    def answer(status: int, message: str, headers: dict[str, str] | None = None, **more: Any) -> Response:
        return JsonAnswer({"detail": " ".join(message.split()), **more}, status_code=status, headers=headers)

    @app.exception_handler(PipelineError)
    async def refused(request: Request, error: PipelineError) -> Response:
        if isinstance(error, SeveralMoviesError):
            return answer(409, str(error), movies=error.movies)
        if isinstance(error, UnknownMovieError):
            return answer(404, str(error))
        if isinstance(error, InputError):
            return answer(422, str(error))
        return answer(503, str(error), _RETRY)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return answer(422, f"{where}: {first['msg']}")

    @app.exception_handler(BodyError)
    async def not_taken(request: Request, error: BodyError) -> Response:
        return answer(error.status, str(error), {"connection": "close"})  # what is left of it is not to be waited for

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return answer(503, "too many such questions at once; try again in a moment", _RETRY)

    @app.exception_handler(StoppingError)
    async def stopping(request: Request, error: StoppingError) -> Response:
        return answer(503, STOPPING, _RETRY)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        told = {404: "no such path; / lists what there is", 405: "this path does not take that method; see /docs"}
        plain = error.detail in ("Not Found", "Method Not Allowed")
        return answer(error.status_code, told[error.status_code] if plain else str(error.detail))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return answer(500, "an error of the service; its log has more")
