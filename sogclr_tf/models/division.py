"""Into what a batch of training is divided, and what that asks of its size."""

from typing import Any, NamedTuple


class Division(NamedTuple):
    """Replicas, each with an equal share of the batch, which it takes in equal chunks."""

    replicas: int = 1
    chunks: int = 1

    @property
    def parts(self) -> int:
        """What the number of examples must be a multiple of."""
        return self.replicas * self.chunks

    def fits(self, examples: Any) -> Any:
        """Whether a batch of so many examples can be used: a bool, or of a tensor a tensor."""
        return (examples >= 2) & (examples % self.parts == 0)

    @property
    def need(self) -> str:
        """What a batch must hold, as a message says it."""
        if self.parts == 1:
            return "at least 2 are needed to contrast"
        several = f"{self.parts}, for {self}" if min(self) > 1 else f"the {self}"
        return f"expected at least 2, and a multiple of {several}"

    def __str__(self) -> str:
        if self.chunks == 1:
            return f"{self.replicas} replicas"
        chunks = f"{self.chunks} chunks"
        return f"{chunks} on each of {self.replicas} replicas" if self.replicas > 1 else chunks
