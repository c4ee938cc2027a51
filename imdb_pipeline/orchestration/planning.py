"""What a run has to do: the steps whose result is not held under its key, in the order of the data."""

from dataclasses import dataclass, field

from imdb_pipeline.champions import VERSION
from imdb_pipeline.orchestration.requests import Request
from imdb_pipeline.orchestration.stages import ALL_STAGES, STAGES
from imdb_pipeline.store import Store


def has_champion(store: Store) -> bool:
    """Whether the newest day with a champion holds one that this version of the code can serve."""
    days = store.days("champion")
    if not days:
        return False
    manifest = store.get("champion", days[-1]).manifest
    return bool(manifest["rows"]) and manifest["code_version"] == VERSION


@dataclass(frozen=True)
class Plan:
    """Assets to make and assets already held, and of these the ones whose files expired; in the order of the data."""

    todo: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    expired: list[str] = field(default_factory=list)


def plan(request: Request, *, assets: list[str] | None = None, force: bool = False) -> Plan:
    """Sort the assets of a day into those to make and those already held.

    A step is held when all its inputs are, and its key (code version, hashes of its inputs, settings, seed) is that of
    the newest revision.

    Parameters
    ----------
    assets
        Those wanted; by default all of a day's graph.
    force
        Make all of them, held or not.

    Raises
    ------
    InputError
        The source cannot be asked what it holds.
    NotPublishedError
        An input that is not among the wanted is not published.
    """
    wanted = [name for name in ALL_STAGES if name in (STAGES if assets is None else assets)]
    result = Plan()
    for name in wanted:
        stage = ALL_STAGES[name]
        if force or any(source in result.todo for source in (*stage.inputs, *stage.optional)):
            result.todo.append(name)
            continue
        revision = request.store.latest(name, request.day)
        key = stage.key(stage.settings(request), stage.resolve_inputs(request.store, request.day))
        if revision is None or revision.key != key:
            result.todo.append(name)
            continue
        result.held.append(name)
        if revision.expired:
            result.expired.append(name)
    return result
