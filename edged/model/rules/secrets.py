"""Rules for secrets (Kubernetes, `core/validation`). No cause repeats a value: answers end up in logs."""

import base64
import binascii
import json
from collections.abc import Iterator

from edged.errors import Cause
from edged.model import causes, names
from edged.model.core import Secret
from edged.model.rules.metadata import IMMUTABLE

SECRET_MAX = 1024 * 1024  # bytes of all values, as in Kubernetes
SERVICE_ACCOUNT = "kubernetes.io/service-account.name"
REDACTED = "<secret contents redacted>"

# The keys that a type must have; of BASIC_AUTH's one is enough.
NEEDED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
BASIC_AUTH, BASIC_AUTH_KEYS = "kubernetes.io/basic-auth", ("username", "password")
DOCKER = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")
TOKEN = "kubernetes.io/service-account-token"  # noqa: S105  a type's name


def secret(parsed: Secret) -> Iterator[Cause]:
    """A secret."""
    for key in parsed.data:
        if wrong := names.config_key(key):
            yield causes.invalid(f"data[{key}]", key, wrong)
    # Base64 holds three bytes in four characters.
    if sum(len(value) // 4 * 3 for value in parsed.data.values()) > SECRET_MAX:
        yield causes.too_long("data", SECRET_MAX)
    yield from _of_type(parsed)


def secret_changes(new: Secret, old: Secret) -> Iterator[Cause]:
    """The type stays; of an immutable secret all else that it holds, too."""
    if new.type != old.type:
        yield causes.invalid("type", new.type, IMMUTABLE)
    if old.immutable:
        if not new.immutable:
            yield causes.forbidden("immutable", "field is immutable when `immutable` is set")
        if new.data != old.data:
            yield causes.forbidden("data", "field is immutable when `immutable` is set")


def _of_type(parsed: Secret) -> Iterator[Cause]:
    for key in NEEDED.get(parsed.type, ()):
        if key not in parsed.data or (key == "ssh-privatekey" and not parsed.data[key]):
            yield causes.required(f"data[{key}]")
        elif parsed.type in DOCKER and not _is_json(parsed.data[key]):
            yield Cause(f"data[{key}]", "FieldValueInvalid", f'Invalid value: "{REDACTED}": must be valid JSON')
    if parsed.type == BASIC_AUTH and not parsed.data.keys() & set(BASIC_AUTH_KEYS):
        yield from (causes.required(f"data[{key}]") for key in BASIC_AUTH_KEYS)
    if parsed.type == TOKEN and not parsed.metadata.annotations.get(SERVICE_ACCOUNT):
        yield causes.required(f"metadata.annotations[{SERVICE_ACCOUNT}]")


def _is_json(value: str) -> bool:
    try:
        json.loads(base64.b64decode(value))
    except (binascii.Error, ValueError, RecursionError):
        return False
    return True
