"""Who a caller is: by the client certificate of a TLS connection, or by the user at the other end of the Unix socket."""

from collections.abc import Mapping
from typing import Any, NamedTuple

ADMINS = "system:masters"  # the group that may do everything, by Kubernetes' name
ROOT = 0


class Caller(NamedTuple):
    """A name and its groups, as Kubernetes reads them from a certificate: common name and organizations."""

    user: str
    groups: frozenset[str]

    @property
    def admin(self) -> bool:
        """Whether the caller may do everything. Finer rights (RBAC) are not there yet: who is no admin may nothing."""
        return ADMINS in self.groups


def of_certificate(certificate: Mapping[str, Any] | None) -> Caller | None:
    """The caller of a verified certificate in the form of `ssl.SSLSocket.getpeercert`; None when none was shown."""
    if not certificate:
        return None
    names: dict[str, list[str]] = {}
    for relative in certificate.get("subject", ()):
        for attribute, value in relative:
            names.setdefault(attribute, []).append(value)
    user = names.get("commonName", [""])[0]
    return Caller(user, frozenset(names.get("organizationName", []))) if user else None


def of_uid(uid: int, own: int) -> Caller | None:
    """The caller on the Unix socket: the daemon's own user and root are admins, others are nobody."""
    return Caller(f"uid:{uid}", frozenset({ADMINS})) if uid in (own, ROOT) else None
