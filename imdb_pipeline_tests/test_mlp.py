"""The multi-layer perceptron: its rates, its steps, the study's training to the letter, and training anew."""

import numpy as np
import pytest
import torch

from imdb_pipeline.models import mlp
from imdb_pipeline.models.steps import Steps
from imdb_pipeline_tests.small_trainings import examples


@pytest.fixture(scope="module")
def parts():
    return examples(203, 1), examples(50, 2)


def study(train, selection, **changes):
    return mlp.fit(
        train, selection, seed=1, device="cpu", **{**mlp.STUDY, "first_cycle": 12, "batch_rows": 50, **changes}
    )


def test_the_rate_restarts_as_torchs_own_schedule_does():
    ends, steps, rate = [2, 6, 14], 3, 0.1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2 * steps, T_mult=2)
    expected = []
    for _ in range(ends[-1] * steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    found = mlp.epoch_rates(ends, steps, rate)
    assert found.shape == (14, 3)
    np.testing.assert_allclose(found.flatten(), expected, atol=1e-6)


@pytest.mark.parametrize(("partial", "steps"), [(False, 4), (True, 5)])
def test_an_epoch_takes_every_row_once_at_the_rates_given(partial, steps):
    inputs = torch.arange(203.0)[:, None]
    seen = []

    class Line(torch.nn.Linear):
        def forward(self, input):
            seen.append(input.flatten().tolist())
            return super().forward(input)

    network = Line(1, 1)
    rate = torch.tensor(0.0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
    trained = Steps(network, optimizer, inputs, torch.zeros(203), 50, partial=partial)
    assert trained.in_epoch == steps
    before = network.weight.detach().clone()
    trained.run_epoch(torch.zeros(steps))
    assert torch.equal(network.weight, before)
    assert [len(rows) for rows in seen] == [50] * 4 + [3] * partial
    rows = [row for batch in seen for row in batch]
    assert len(set(rows)) == len(rows)
    assert rows != sorted(rows)
    trained.run_epoch(torch.full((steps,), 0.01))
    assert not torch.equal(network.weight, before)
    assert float(rate) == pytest.approx(0.01)


def test_the_studys_training_keeps_the_last_epoch_and_says_which_was_the_best(parts):
    train, selection = parts
    model = study(train, selection, learning_rate=0.02)
    errors = [row["validation_mse"] for row in model.curve]
    assert len(errors) == 12
    assert model.settings["best_epoch"] == 1 + int(np.argmin(errors))
    last = float(np.mean((model.predict(selection.inputs) - selection.ratings) ** 2))
    assert last == pytest.approx(errors[-1], rel=1e-5)
    assert (model.settings["target_mean"], model.settings["target_deviation"]) == (0.0, 1.0)
    assert model.settings["differs_from_study"] == []
    again = mlp.refit(model, train, seed=1, device="cpu")
    assert len(again.curve) == 12
    np.testing.assert_array_equal(again.predict(selection.inputs), model.predict(selection.inputs))


def test_the_serving_model_trains_as_many_epochs_as_were_best(parts):
    train, validation = parts
    model = mlp.fit(train, validation, seed=1, device="cpu", first_cycle=3, cycles=2)
    again = mlp.refit(model, train, seed=1, device="cpu")
    assert len(again.curve) == model.settings["best_epoch"] <= len(model.curve)
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
