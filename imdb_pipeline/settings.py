"""A home's ``settings.toml``: the one configuration that the command line, the UI, the schedules and the sensor read.

A home belongs to one catalogue and one encoder. The first run records both; another is refused afterwards.
"""

from __future__ import annotations

import os
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from imdb_pipeline.errors import InputError

IMDB_BASE_URL = "https://datasets.imdbws.com/"
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class SampleSettings:
    """The synthetic catalogue that the source ``sample`` writes."""

    movies: Annotated[int, Field(ge=20)] = 3000
    """movies with enough votes to learn from"""
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, config=_STRICT)
class ImdbSettings:
    """IMDb over HTTP."""

    base_url: str = IMDB_BASE_URL
    """where the four files are; the source may also be another address"""
    accept_licence: bool = False
    """the licence of IMDb's data has been read: personal and non-commercial use, no republication"""


@dataclass(frozen=True, config=_STRICT)
class CatalogueSettings:
    """Which movies are learnt from, and which are embedded and predicted besides."""

    min_votes: Annotated[int, Field(ge=1)] = 30
    """votes from which a movie's rating is learnt from"""
    recent_years: Annotated[int, Field(ge=0)] = 2
    """the last years whose movies are embedded and predicted whatever their votes, beside the coming ones"""


@dataclass(frozen=True, config=_STRICT)
class GateSettings:
    """How far a day may be from the last good one, and how much of it may be wrong, before it is refused."""

    max_row_loss: Annotated[float, Field(ge=0, le=1)] = 0.02
    """share of rows that may be missing against the last good day, for each day since"""
    max_row_gain: Annotated[float, Field(ge=0, le=10)] = 0.05
    """share of rows that may have come, for each day since"""
    row_slack: Annotated[int, Field(ge=0)] = 50
    """so many rows more, fewer or wrong are always allowed"""
    max_rejected_rows: Annotated[float, Field(ge=0, le=1)] = 0.0001
    """share of a file's rows that may be left out because they cannot be read"""
    max_unknown_people: Annotated[float, Field(ge=0, le=1)] = 0.02
    """share of the movies' credits whose person may be missing from name.basics"""
    max_unknown_titles: Annotated[float, Field(ge=0, le=1)] = 0.02
    """share of the ratings whose title may be missing from title.basics"""
    max_null_rise: Annotated[float, Field(ge=0, le=1)] = 0.05
    """by how much the share of movies without a value may rise in a column, for each day since"""
    max_changed: Annotated[float, Field(ge=0, le=1)] = 0.25
    """share of the movies that may have changed, for each day since"""


@dataclass(frozen=True, config=_STRICT)
class MapSettings:
    """How UMAP lays out the map."""

    neighbours: Annotated[int, Field(ge=2, le=101)] = 30
    """of each movie that the layout keeps together, the movie itself counted"""
    min_dist: Annotated[float, Field(ge=0, le=1)] = 0.0
    """how near movies may come to one another: 0 packs clusters tightly"""
    init: Literal["pca", "random"] = "pca"
    """where a layout from scratch starts: the vectors' two main components, or anywhere"""
    epochs: Annotated[int, Field(ge=0)] = 0
    """of a layout from scratch; 0: 500, or 200 for more than 10,000 movies"""


@dataclass(frozen=True, config=_STRICT)
class TrainingSettings:
    """How the predictors are trained."""

    every_days: Annotated[int, Field(ge=1)] = 7
    """the training schedule starts a run when the newest champion is this old"""
    folds: Annotated[int, Field(ge=2, le=20)] = 4
    """parts of the training movies, each predicted by a champion that was fitted without it"""
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, config=_STRICT)
class ExecutionSettings:
    """Where the steps of a run from the UI, a schedule or the sensor run; see docs/fan-out.md."""

    executor: Literal["multiprocess", "in_process", "ray", "kubernetes"] = "multiprocess"
    workers: Annotated[int, Field(ge=1)] = 1
    """steps on a GPU at once, and shares that a day's new documents are embedded in"""
    config: str = ""
    """a YAML file with options of the executor, absolute or in the home; empty: none"""


@dataclass(frozen=True, config=_STRICT)
class RetentionSettings:
    """What a collection keeps: files of how many of the newest days that the home holds, and revisions of a day."""

    dumps_days: Annotated[int, Field(ge=1)] = 7
    """of the dumps as fetched"""
    days: Annotated[int, Field(ge=1)] = 30
    """of all other results, but the small ones"""
    documents_days: Annotated[int, Field(ge=1)] = 400
    """of the small ones: a day's list of documents, changes, split, leaderboard, champion, release"""
    revisions: Annotated[int, Field(ge=1)] = 2
    """the newest revisions of a day, the published one among them"""
    quarantine_days: Annotated[int, Field(ge=1)] = 14
    """calendar days after which refused files are deleted"""


@dataclass(frozen=True, config=_STRICT)
class AlertSettings:
    """Who is told of a failed run and of stale data; see docs/alerts.md."""

    webhook: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = field(default="", repr=False)
    """an http(s) address, and a secret; empty: nobody is told"""
    stale_hours: Annotated[int, Field(ge=1)] = 36
    """age from which data is stale"""


@dataclass(frozen=True, config=_STRICT)
class ServeSettings:
    """The HTTP service; see docs/serving.md."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")] = "http://127.0.0.1:8000"
    """where it is reached: the links in Dagster's metadata lead there"""
    allowed_hosts: tuple[str, ...] = ()
    """names, beside those of loopback, that requests may come to"""


@dataclass(frozen=True, config=_STRICT)
class Settings:
    """Everything in ``settings.toml``; every key is documented in docs/settings.md."""

    source: Annotated[str, Field(min_length=1)] = "sample"
    """``sample``, ``imdb``, a folder with the four files, or the address of one"""
    encoder: str = "auto"
    """``auto``, a Hub id, or a folder; the first run writes down which one it took"""
    encoder_revision: str = ""
    """the commit of a Hub encoder, or the hash of a folder's files"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    sample: SampleSettings = field(default_factory=SampleSettings)
    imdb: ImdbSettings = field(default_factory=ImdbSettings)
    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    map: MapSettings = field(default_factory=MapSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    serve: ServeSettings = field(default_factory=ServeSettings)


def home_path(home: str | Path | None = None) -> Path:
    """Return the home as an absolute path: the argument, else ``IMDB_PIPELINE_HOME``, else ``./data``."""
    return Path(home or os.environ.get("IMDB_PIPELINE_HOME") or "data").expanduser().absolute()


def settings_path(home: Path) -> Path:
    return home / "settings.toml"


def load_settings(home: Path) -> Settings:
    """Read ``settings.toml``; a home without one has the defaults.

    Raises
    ------
    InputError
        The file is not TOML, has an unknown key, or a value out of range.
    """
    import tomllib

    path = settings_path(home)
    if not path.exists():
        return Settings()
    try:
        return TypeAdapter(Settings).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML ({error}); correct it or delete it to start from defaults") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: {key}: {first['msg']}; see docs/settings.md for the keys and their ranges") from None


def normal_source(source: str) -> str:
    """Return the one spelling of a source: a folder becomes absolute, an address ends with a slash.

    Raises
    ------
    InputError
        The source is none of ``sample``, ``imdb``, an existing folder, an http(s) address.
    """
    if source in ("sample", "imdb"):
        return source
    if source.startswith(("http://", "https://")):
        return _checked_address(source if source.endswith("/") else source + "/")
    folder = Path(source).expanduser().resolve()
    if not folder.is_dir():
        raise InputError(
            f"source {source}: no such folder; give `sample`, `imdb`, an http(s) address, "
            "or a folder with the four .tsv.gz files"
        )
    return str(folder)


def _checked_address(address: str) -> str:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        if not parts.hostname or parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        raise InputError(
            "source: not the address of a folder on a server; give http(s)://HOST/PATH/, to which file names are added"
        ) from None
    return address


def _absolute_source(source: str, home: Path) -> str:
    """Return a recorded source with a folder made absolute; a relative one in ``settings.toml`` is relative to it."""
    if source in ("sample", "imdb") or source.startswith(("http://", "https://")):
        return source
    return str((home / Path(source).expanduser()).resolve())


def settle(home: Path, *, source: str | None = None, encoder: str | None = None, device: str | None = None) -> Settings:
    """Return the settings of a run: the home's, with what the user asked for and the encoder settled. Writes nothing.

    Parameters
    ----------
    source, encoder
        What the user asked for; None (or the encoder ``auto``) takes what the home has recorded.
    device
        For this run alone; it is not recorded.

    Raises
    ------
    InputError
        The home already belongs to another source or encoder, or one of them does not exist.
    """
    from imdb_pipeline.dumps.transport import without_userinfo
    from imdb_pipeline.embeddings.model_files import choose_encoder
    from imdb_pipeline.store import Store

    settings = load_settings(home)
    if device is not None:
        if device not in ("auto", "cpu", "cuda"):
            raise InputError(f"device {device}: unknown; give auto, cpu or cuda")
        settings = replace(settings, device=device)
    held = Store(home / "store").assets()
    settings = replace(settings, source=_absolute_source(settings.source, home))
    wanted = settings.source if source is None else normal_source(source)
    if held and wanted != settings.source:
        raise InputError(
            f"{home} holds the catalogue of {without_userinfo(settings.source)}, not of {without_userinfo(wanted)}: "
            "a home belongs to one source; give another folder with --home"
        )
    asked = settings.encoder if encoder in (None, "auto") else encoder
    same = asked == settings.encoder
    chosen = choose_encoder(asked, settings.encoder_revision if same else "", device=settings.device)
    if not same and chosen.name == settings.encoder:
        chosen = choose_encoder(settings.encoder, settings.encoder_revision, device=settings.device)
    if "movie_embeddings" in held and chosen.name != settings.encoder:
        raise InputError(
            f"{home} holds embeddings of {settings.encoder}, not of {chosen.name}: "
            "a home keeps its encoder; give another folder with --home"
        )
    return replace(settings, source=wanted, encoder=chosen.name, encoder_revision=chosen.revision)


def record(home: Path, settings: Settings) -> None:
    """Write down which source and encoder the home belongs to; once written they change nothing.

    A folder that stands there relative to the home stays so: the home can be moved with it.
    """
    written = load_settings(home).source
    source = written if _absolute_source(written, home) == settings.source else settings.source
    _record(home, source=source, encoder=settings.encoder, encoder_revision=settings.encoder_revision)


def accept_licence(home: Path) -> None:
    """Write down that the licence of IMDb's data has been read and accepted."""
    _record(home, imdb={"accept_licence": True})


def _record(home: Path, **values: object) -> None:
    """Set keys in ``settings.toml``, keeping the user's comments; the file appears whole or not at all."""
    import tomlkit

    from imdb_pipeline.store import write_atomically

    path = settings_path(home)
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else tomlkit.document()
    before = document.as_string()
    for key, value in values.items():
        if isinstance(value, dict):
            table = document.setdefault(key, tomlkit.table())
            table.update(value)
        else:
            document[key] = value
    if document.as_string() != before:
        home.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (document.as_string().rstrip("\n") + "\n").encode())
