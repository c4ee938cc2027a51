"""Steps of training on data that stay on the device; on CUDA one is recorded as a CUDA graph, and replayed ever after.

An epoch then costs the host a call a step, and nothing waits for the GPU before its end.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from imdb_pipeline.embeddings.model_files import first_line

if TYPE_CHECKING:
    import torch

WARM_UP_STEPS = 3
"""Steps on CUDA before one is recorded: libraries and the optimizer set themselves up in them."""

logger = logging.getLogger(__name__)


class Steps:
    """The steps of an epoch, with the squared error. Which rows a step takes and at what rate stands on the device.

    Parameters
    ----------
    inputs, target
        float32, shapes (n, dimension) and (n,), on the device.
    rows
        Rows a step.
    partial
        Whether the rows that do not fill one make one of their own.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        inputs: torch.Tensor,
        target: torch.Tensor,
        rows: int,
        *,
        partial: bool,
    ) -> None:
        import torch

        self._network, self._optimizer = network, optimizer
        self._inputs, self._target = inputs, target
        device = inputs.device
        left = len(inputs) % rows if partial else 0
        # of one row a batch normalisation knows no variance
        self._sizes = [rows] * max(1, len(inputs) // rows) + [left] * (left > 1)
        self.in_epoch = len(self._sizes)
        self._order = torch.arange(len(inputs), device=device)
        self._rates = torch.zeros(self.in_epoch, device=device)
        self._done_rows, self._done_steps = (torch.zeros(1, dtype=torch.long, device=device) for _ in range(2))
        self._total = torch.zeros((), device=device)
        self._records = inputs.is_cuda
        self._warm_up = dict.fromkeys(self._sizes, WARM_UP_STEPS)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    def run_epoch(self, rates: torch.Tensor) -> float:
        """Train an epoch, in an order drawn from torch's generator, and return its mean squared error.

        Parameters
        ----------
        rates
            float32, shape (steps,).
        """
        import torch

        torch.randperm(len(self._order), out=self._order)
        self._rates.copy_(rates)
        for tensor in (self._done_rows, self._done_steps, self._total):
            tensor.zero_()
        for size in self._sizes:
            self._step(size)
        return float(self._total) / sum(self._sizes)

    def _step(self, size: int) -> None:
        """Do a step: on CUDA, after the first few, by replaying the one that was recorded."""
        if self._records and size not in self._graphs:
            if self._warm_up[size]:
                self._warm_up[size] -= 1
                self._on_side_stream(size)
                return
            self._record(size)
        if size in self._graphs:
            self._graphs[size].replay()
        else:
            self._compute(size)

    def _compute(self, size: int) -> None:
        import torch
        from torch.nn.functional import mse_loss

        self._optimizer.zero_grad(set_to_none=True)
        rate: Any = self._optimizer.param_groups[0]["lr"]
        rate.copy_(self._rates.index_select(0, self._done_steps).squeeze(0))
        places = self._done_rows + torch.arange(size, device=self._order.device)
        rows = self._order.index_select(0, places)
        loss = mse_loss(
            self._network(self._inputs.index_select(0, rows)).squeeze(1), self._target.index_select(0, rows)
        )
        loss.backward()
        self._optimizer.step()
        self._total += loss.detach() * size
        self._done_rows += size
        self._done_steps += 1

    def _on_side_stream(self, size: int) -> None:
        """Do a step where PyTorch wants those that come before a recording."""
        import torch

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self._compute(size)
        torch.cuda.current_stream().wait_stream(side)

    def _record(self, size: int) -> None:
        """Record a step, which does not do it; where that fails, steps are done as they are from now on."""
        import torch

        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            # a stream of its own: torch's is for good on the GPU where the process recorded first
            with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
                self._compute(size)
        except RuntimeError as error:
            logger.warning("going on without a CUDA graph: %s", first_line(error))
            self._records = False
            # torch leaves the stream current, and dropout's generator as if it were still being recorded
            torch.cuda.set_stream(before)
            generator = torch.cuda.default_generators[before.device_index]
            generator.graphsafe_set_state(generator.clone_state())
            return
        self._graphs[size] = graph
