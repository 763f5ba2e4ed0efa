"""What things of the mesh are called."""

from typing import NamedTuple


class Name(NamedTuple):
    """Which service."""

    namespace: str
    service: str

    def __str__(self) -> str:
        """`default/web`, as in logs."""
        return f"{self.namespace}/{self.service}"
