"""What the service takes and answers, field by field, for OpenAPI. The same fields as ``--json`` and the Python API."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_K = 1_000

Tconst = Annotated[str, Field(description="The movie's IMDb id")]
Year = Annotated[int | None, Field(description="The year of its release; null where not known")]
Rating = Annotated[float | None, Field(description="Its average rating, 1 to 10; null where it has none")]
Votes = Annotated[int | None, Field(description="How many votes that rests on")]
Effect = Annotated[float, Field(description="The movie's prediction less that of the changed movie")]
Changed = Annotated[float, Field(description="The prediction of the changed movie")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Filters(Strict):
    """How many movies to list, and which."""

    k: int = Field(10, ge=1, le=MAX_K, description="How many movies")
    from_year: int | None = Field(None, ge=0, le=9999, description="Only movies of this year or later")
    to_year: int | None = Field(None, ge=0, le=9999, description="Only movies of this year or earlier")
    min_votes: int = Field(0, ge=0, le=10**12, description="Only movies with so many votes or more")


class OfMovie(Filters):
    mask_title: bool = Field(False, description="Let a title count only as far as people or genres support it")


class OfTitle(OfMovie):
    title: str | None = Field(
        None, min_length=1, max_length=300, description="A title in any case, `Title (2013)`, or an id"
    )
    text: str | None = Field(
        None, min_length=1, max_length=2_000, description="Free text instead: its embedding is compared"
    )


class Titled(Strict):
    title: str = Field(min_length=1, max_length=300, description="Text that the title holds, in any case")
    limit: int = Field(10, ge=1, le=100, description="How many movies")


class Directors(Strict):
    director: list[Annotated[str, Field(min_length=1, max_length=300)]] = Field(
        [], max_length=10, description="A name or an id: how the movie would be with this director. Repeatable"
    )


class ListedMovie(Strict):
    tconst: Tconst
    title: str
    release_year: Year
    average_rating: Rating
    num_votes: Votes


class SimilarMovie(ListedMovie):
    cosine: float = Field(description="How alike the two are: 1 is the same. With `mask_title` not of the embeddings")


class Credit(Strict):
    nconst: str = Field(description="The person's IMDb id")
    category: str = Field(description="As IMDb has it: actor, director, composer, ...")
    name: str | None


class Movie(Strict):
    tconst: Tconst
    title: str
    original_title: str
    title_type: str = Field(description="movie or tvMovie")
    is_adult: bool
    release_year: Year
    runtime_minutes: int | None
    genres: list[str] | None
    average_rating: Rating
    num_votes: Votes
    credits: list[Credit] = Field(description="In billing order")


class Predicted(Strict):
    title: str
    release_year: Year
    model: str = Field(description="The champion's predictor")
    model_id: str = Field(description="Which fit of it")
    prediction: float = Field(description="The predicted average rating, 1 to 10")
    low: float = Field(description="Where its 90 % interval begins")
    high: float = Field(description="Where it ends")
    basis: str = Field(description="Who predicted: out_of_fold, held_out, future or few_votes")


class Prediction(Predicted):
    tconst: Tconst
    split: str | None = Field(description="Its part of the split by id; null where it is in none")
    average_rating: Rating
    num_votes: Votes


class OtherPerson(Strict):
    nconst: str
    credits: int


class Ambiguous(Strict):
    field: str = Field(description="Of the document")
    name: str
    people_of_that_name: int
    nconst: str = Field(description="Who is meant: the one with most such credits")
    credits: int
    others: list[OtherPerson]


class Unknown(Strict):
    field: str
    person: str


class Repeated(Strict):
    field: str
    value: str = Field(description="A person or a genre")


class Notes(BaseModel):
    ambiguous: list[Ambiguous] = Field(description="Names that several people have")
    unknown: list[Unknown] = Field(description="People who are not in the catalogue")
    unknown_genres: list[str] = Field(description="Genres that the catalogue does not have")
    unknown_categories: list[str] = Field(description="Categories in principals that the catalogue does not have")
    repeated: list[Repeated] = Field(description="People and genres that a field gave more than once; they count once")
    missing: list[str] = Field(description="Fields that were not given")


class DescribedPrediction(Predicted, Notes):
    """Of a movie that was described."""


class FieldEffect(Strict):
    field: str
    prediction: Changed
    effect: Effect


class PersonEffect(FieldEffect):
    name: str | None
    nconst: str


class DirectorEffect(Strict):
    name: str | None
    nconst: str
    prediction: Changed
    effect: float = Field(description="What the change would add")


class Part(Strict):
    field: str
    effect: float


class Contributions(Strict):
    model: str = Field(description="Whose trees they are")
    base: float = Field(description="The trees' mean prediction")
    fields: list[Part]
    prediction: float = Field(description="The trees' own: the sum of all")


class Explained(Strict):
    title: str
    release_year: Year
    prediction: float = Field(description="Of the model that serves, not of the predictions table")
    low: float
    high: float
    model: str
    model_id: str
    fields: list[FieldEffect] = Field(description="What each field adds, the largest effect first")
    people: list[PersonEffect] = Field(description="What each of the first ten people adds")
    other_directors: list[DirectorEffect]
    contributions: Contributions | None = Field(None, description="Where the champion is or holds trees: exact")
    learned: bool = Field(description="Whether the model was fitted on this movie's own rating")
    says: str = Field(description="How to read the effects")


class Explanation(Explained):
    tconst: Tconst
    ambiguous: list[Ambiguous] = Field(description="Of the directors asked for: names that several people have")
    unknown: list[Unknown] = Field(description="Of the directors asked for: people who are not in the catalogue")


class DescribedExplanation(Explained, Notes):
    """Of a movie that was described."""


class LeaderboardRow(BaseModel):
    """A predictor; more figures stand beside these, by time too."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str
    n_train: int | None
    validation_mse: float | None
    test_mse: float | None
    r2: float | None
    r2_low: float | None = Field(description="Where its 95 % bootstrap interval begins")
    r2_high: float | None
    fit_seconds: float
    device: str


class Health(Strict):
    status: str = Field(
        description="ok; stale: the data is older than [alerts] stale_hours; behind: a newer release cannot be loaded"
    )
    day: str | None = Field(description="Of the release that answers; null where there is none")
    release: str | None = Field(description="Day and a hash of the revisions: another release, another id")
    released_at: str | None
    age_hours: float | None = Field(description="Since the source published the data; null where it is not dated")
    problem: str | None = Field(description="Why the newest release is not the one that answers")
    version: str


class Problem(Strict):
    detail: str = Field(description="One line that says what is wrong and what to do")


class MeantMovie(Strict):
    tconst: Tconst
    title: str
    release_year: Year


class SeveralMovies(Problem):
    movies: list[MeantMovie] = Field(description="The most voted of those of that title")
