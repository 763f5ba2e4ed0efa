"""What a node is called on links: NAME in one's own group, GROUP/NAME in another. Pure."""

from edged.identity.certificates import Subject
from edged.identity.node import Identity


def called(group: str, name: str) -> str:
    """What a node of `group` is called; the own group is ""."""
    return f"{group}/{name}" if group else name


def parted(node: str) -> tuple[str, str]:
    """The group, "" for the own one, and the name."""
    group, _, name = node.rpartition("/")
    return group, name


def abroad(node: str) -> bool:
    """Whether a node is of another group."""
    return "/" in node


def named(subject: Subject, identity: Identity) -> str:
    """What the node of a certificate is called here."""
    return called("" if subject.group == identity.group else subject.group, subject.name)


def own_name(identity: Identity, peer: str) -> str:
    """What `peer` calls this node: both ends of a link compare the same two names."""
    return called(identity.group if abroad(peer) else "", identity.name)
