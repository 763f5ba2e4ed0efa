"""The kinds of coordination.k8s.io/v1 with the fields that edged acts on: Lease."""

from edged.model.meta import Kind, Part


class LeaseSpec(Part, frozen=True):
    """Who holds the lease, since when (`acquire_time`, a MicroTime), and how often it went from one to another."""

    holder_identity: str = ""
    acquire_time: str | None = None
    lease_transitions: int = 0


class Lease(Kind, frozen=True):
    """Shows who leads a group. It decides nothing: nodes agree by what they say to each other, not through an object."""

    spec: LeaseSpec = LeaseSpec()
