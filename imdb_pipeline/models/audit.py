"""What would be wrong if it were so: how a predictor does on shuffled ratings, and what forbidden features would give.

Nothing here serves. The trees are the predictor's own, of one seed, with one column more.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imdb_pipeline.models import boosting
from imdb_pipeline.models.evaluate import compare, evaluate
from imdb_pipeline.models.leaks import CHANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import polars as pl

    from imdb_pipeline.models.examples import Examples, Parts
    from imdb_pipeline.models.finished import Finished
    from imdb_pipeline.models.fitting import Model

SHUFFLES = 5


def permuted_labels(
    fit: Callable[..., Model],
    parts: Parts,
    *,
    seed: int,
    device: str,
    shuffles: int = SHUFFLES,
    finished: Finished | None = None,
) -> dict[str, Any]:
    """Fit a predictor on ratings that were shuffled among the movies, and judge it on the true ones of the test set.

    Parameters
    ----------
    fit
        As of a predictor's module: ``fit(train, validation, seed=, device=)``.
    shuffles
        How often, at least twice: what is learned from shuffled ratings points anywhere, by chance the right way.
    finished
        What a run that was killed had finished of it: the predictions of each time.

    Returns
    -------
    dict
        ``r2_each``, R² of each time; ``r2``, their mean, with its 95 % interval ``r2_low`` and ``r2_high`` over the
        shuffles (Student's t). It is about 0 or below, unless something tells of the test set's ratings. ``passed``:
        whether the interval is not above ``leaks.CHANCE``.
    """
    import numpy as np
    from scipy.stats import t

    from imdb_pipeline.models.finished import Finished

    done = Finished(None, "") if finished is None else finished
    ratings = parts.test.ratings.astype(np.float64)
    of_mean = ((ratings - parts.train.ratings.mean(dtype=np.float64)) ** 2).mean()
    each = []
    for shuffle in range(shuffles):

        def predict(shuffle: int = shuffle) -> np.ndarray:
            generator = np.random.default_rng((seed, shuffle))
            train, validation = _shuffled(parts.train, generator), _shuffled(parts.validation, generator)
            return fit(train, validation, seed=seed, device=device).predict(parts.test.inputs)

        predicted = done.predictions(f"shuffle-{shuffle}", predict)
        each.append(float(1 - ((predicted - ratings) ** 2).mean() / of_mean))
    mean, margin = np.mean(each), t.ppf(0.975, shuffles - 1) * np.std(each, ddof=1) / math.sqrt(shuffles)
    low, high = float(mean - margin), float(mean + margin)
    return {"r2_each": each, "r2": float(mean), "r2_low": low, "r2_high": high, "passed": low <= CHANCE}


def forbidden_features(
    parts: Parts,
    forbidden: Mapping[str, Callable[[Examples], np.ndarray]],
    *,
    seed: int,
    finished: Finished | None = None,
) -> list[dict[str, Any]]:
    """Say what features that no predictor may read would give the boosted trees.

    Parameters
    ----------
    forbidden
        By name, what makes the column of some examples: shape (n,).
    finished
        What a run that was killed had finished of it: the predictions with each column.

    Returns
    -------
    list of dict
        Of each ``feature``: on test ``mse``, ``r2`` with it, ``clean_mse``, ``clean_r2`` without, and ``gain``, the MSE
        without less that with it, paired, each but the clean ones with its 95 % interval; ``better``, whether that of
        the gain is above 0.
    """
    import numpy as np
    import polars as pl

    from imdb_pipeline.models.finished import Finished

    done = Finished(None, "") if finished is None else finished
    # Movies of few votes are left out: the columns are made of examples alone.
    train = replace(parts.train, few_votes=None)

    def predict(extra: pl.DataFrame | None) -> np.ndarray:
        model = boosting.fit(train, parts.validation, seed=seed, device="cpu", seeds=1, extra=extra)
        return model.predict(parts.test.inputs)

    mean = np.full(len(parts.test), train.ratings.mean(dtype=np.float64))
    without = done.predictions("none", lambda: predict(None))
    judged = evaluate(without, parts.test.ratings, mean, seed=seed)
    rows = []
    for name, column in forbidden.items():
        columns = [
            part.inputs.movies.select("tconst", pl.Series(name, column(part), dtype=pl.Float64))
            for part in (train, parts.validation, parts.test)
        ]
        extra = pl.concat(columns)
        predicted = done.predictions(name.replace(" ", "-"), lambda extra=extra: predict(extra))
        metrics = evaluate(predicted, parts.test.ratings, mean, seed=seed)
        figures = ("n", "mse", "mse_low", "mse_high", "r2", "r2_low", "r2_high")
        rows.append(
            {
                "feature": name,
                **{figure: metrics[figure] for figure in figures},
                "clean_mse": judged["mse"],
                "clean_r2": judged["r2"],
                **compare(predicted, without, parts.test.ratings, seed=seed),
            }
        )
    return rows


def num_votes(examples: Examples) -> np.ndarray:
    """Return the votes: how many people saw a movie says a lot of how they liked it, and is not known beforehand."""
    return examples.votes


def id_number(examples: Examples) -> np.ndarray:
    """Return the number in ``tconst``: movies are numbered as they are entered, well-known ones before they are out."""
    import polars as pl

    return examples.inputs.movies["tconst"].str.strip_prefix("tt").cast(pl.Int64).to_numpy()


def known_for(names: Path, movies: pl.DataFrame) -> Callable[[Examples], np.ndarray]:
    """Return what gives the share of a movie's people who are known for it: IMDb picks what did well.

    Parameters
    ----------
    names
        ``name.basics.tsv.gz``.
    movies
        All movies that the column is wanted for: ``tconst``, ``credits``.

    Raises
    ------
    InputError
        The file is not whole, or its columns are not the dump's.
    """
    import polars as pl

    from imdb_pipeline.dumps.rows import Rejected, read_batches
    from imdb_pipeline.dumps.tables import NAMES

    people = (
        movies.select("tconst", nconst=pl.col("credits").list.eval(pl.element().struct.field("nconst")).list.unique())
        .explode("nconst")
        .drop_nulls()
    )
    batches = read_batches(names, NAMES, Rejected(), ids=people["nconst"].unique())
    known = pl.concat([batch.rows("nconst", "knownForTitles") for batch in batches])
    titles = known.select("nconst", tconst=pl.col("knownForTitles").str.split(",")).explode("tconst").drop_nulls()
    shares = (
        people.join(titles.unique().with_columns(known=pl.lit(1.0)), on=["nconst", "tconst"], how="left")
        .group_by("tconst")
        .agg(share=pl.col("known").fill_null(0.0).mean())
    )

    def share(examples: Examples) -> np.ndarray:
        rows = examples.inputs.movies.select("tconst")
        return rows.join(shares, on="tconst", how="left", maintain_order="left")["share"].fill_null(0.0).to_numpy()

    return share


def _shuffled(examples: Examples, generator: np.random.Generator) -> Examples:
    """Return the examples with all their ratings dealt out anew, those of ``few_votes`` among themselves."""
    few = examples.few_votes
    few = None if few is None else replace(few, ratings=generator.permutation(few.ratings))
    return replace(examples, ratings=generator.permutation(examples.ratings), few_votes=few)
