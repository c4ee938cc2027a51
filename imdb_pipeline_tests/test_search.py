"""The best setting lies inside what was tried, or the edge is named."""

from __future__ import annotations

import math

import pytest

from imdb_pipeline.models.search import Axis, search


def bowl(**lowest: float):
    """An error that is lowest at the given settings, rising with their ratios."""

    def errors_of(points: list[dict[str, float]]) -> list[float]:
        tried.extend(points)
        return [sum(math.log(point[name] / value) ** 2 for name, value in lowest.items()) for point in points]

    tried: list[dict[str, float]] = []
    return errors_of, tried


@pytest.mark.parametrize("lowest", [0.06, 0.5, 1.0, 2.0, 8.2, 30.0])
def test_the_search_goes_on_to_where_the_best_lies_inside(lowest):
    errors_of, tried = bowl(c=lowest)
    found = search({"c": Axis((0.5, 1.0, 2.0), 2.0, 0.01, 100.0)}, errors_of)
    assert found.on_edge == []
    assert abs(math.log2(found.best["c"] / lowest)) <= 0.5
    values = sorted(point["c"] for point in tried)
    place = values.index(found.best["c"])
    assert 0 < place < len(values) - 1
    assert len(values) == len(set(values))


@pytest.mark.parametrize(("lowest", "edge"), [(0.001, 0.25), (1000.0, 8.0)])
def test_a_best_at_the_limit_is_named(lowest, edge):
    errors_of, _ = bowl(c=lowest)
    found = search({"c": Axis((1.0, 2.0), 2.0, 0.2, 9.0)}, errors_of)
    assert (found.best["c"], found.on_edge) == (edge, ["c"])


def test_all_axes_are_followed_and_each_named_by_itself():
    errors_of, tried = bowl(gamma=16.0, c=0.001)
    axes = {"gamma": Axis((1.0, 2.0), 2.0, 0.1, 100.0), "c": Axis((1.0, 2.0), 2.0, 0.5, 4.0)}
    found = search(axes, errors_of)
    assert (found.best["gamma"], found.best["c"], found.on_edge) == (16.0, 0.5, ["c"])
    assert [{name: row[name] for name in axes} for row in found.tried] == tried
    assert found.best["validation_mse"] == min(row["validation_mse"] for row in found.tried)


def test_an_axis_may_start_at_nothing_or_hold_its_values_alone():
    assert Axis.fixed(0.0).values() == [0.0]
    assert Axis.fixed(0.5, 0.8).values() == [0.5, 0.8]
    assert Axis((0.0, 10.0), 2.0, 1.0, 40.0).values() == [0.0, 10.0, 20.0, 40.0]


def test_of_equal_errors_the_lowest_settings_are_taken():
    found = search({"c": Axis((1.0, 2.0, 4.0), 2.0, 1.0, 4.0)}, lambda points: [1.0] * len(points))
    assert (found.best["c"], found.on_edge) == (1.0, ["c"])
