"""Steps that are recorded and replayed train as those that are done; what records stands in for CUDA's graphs."""

import contextlib
from types import SimpleNamespace

import torch

from imdb_pipeline.models.mlp import build_network
from imdb_pipeline.models.steps import Steps


class Recorder:
    """Replays a step by doing it. While it is recorded it must leave nothing behind, as on a GPU, which waits."""

    def __init__(self, monkeypatch, *, fails=False):
        self.fails, self.restored = fails, False
        self.main = self.current = SimpleNamespace(device_index=0, wait_stream=lambda other: None)
        stands_in = {
            "Stream": lambda: SimpleNamespace(device_index=0, wait_stream=lambda other: None),
            "current_stream": lambda: self.current,
            "set_stream": lambda stream: setattr(self, "current", stream),
            "stream": self.stream,
            "CUDAGraph": SimpleNamespace,
            "graph": self.graph,
            "default_generators": [SimpleNamespace(clone_state=lambda: "clone", graphsafe_set_state=self.restore)],
        }
        for name, value in stands_in.items():
            monkeypatch.setattr(torch.cuda, name, value)

    def train(self, *, records, epochs=6):
        """Return the errors of the epochs: of steps of 50 rows, and one of 3."""
        torch.manual_seed(0)
        network = build_network(8, 2, 16, 0.3).train()
        rate = torch.tensor(0.0)
        optimizer = torch.optim.AdamW(network.parameters(), lr=rate, fused=True)
        inputs = torch.randn(203, 8)
        self.steps = Steps(network, optimizer, inputs, inputs[:, 0].clone(), 50, partial=True)
        self.steps._records = records
        self.tensors = lambda: [
            *network.state_dict().values(),
            *(tensor for state in optimizer.state.values() for tensor in state.values()),
            *(rate, self.steps._total, self.steps._done_rows, self.steps._done_steps),
        ]
        return [self.steps.run_epoch(torch.full((self.steps.in_epoch,), 0.01)) for _ in range(epochs)]

    @contextlib.contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextlib.contextmanager
    def graph(self, graph, *, stream):
        before, self.current = self.current, stream
        held, draws = [tensor.clone() for tensor in self.tensors()], torch.get_rng_state()
        yield
        with torch.no_grad():
            for tensor, value in zip(self.tensors(), held, strict=True):
                tensor.copy_(value)
        torch.set_rng_state(draws)
        if self.fails:  # as torch does, with the stream still current
            raise torch.AcceleratorError("CUDA error: operation not permitted when stream is capturing")
        self.current = before

    def restore(self, state):
        self.restored = state == "clone"


def test_recorded_steps_train_as_steps_that_are_done(monkeypatch):
    def record(steps, size, record=Steps._record):
        record(steps, size)
        steps._graphs[size].replay = lambda: (replayed.append(size), steps._compute(size))

    recorder, replayed = Recorder(monkeypatch), []
    monkeypatch.setattr(Steps, "_record", record)
    assert recorder.train(records=True) == recorder.train(records=False)
    assert (replayed.count(50), replayed.count(3)) == (6 * 4 - 3, 6 - 3)


def test_after_a_recording_that_failed_steps_are_done(monkeypatch, caplog):
    recorder = Recorder(monkeypatch, fails=True)
    assert recorder.train(records=True) == recorder.train(records=False)
    assert "going on without a CUDA graph: CUDA error: operation not permitted" in caplog.text
    assert recorder.current is recorder.main
    assert recorder.restored
