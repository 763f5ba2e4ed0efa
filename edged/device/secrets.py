"""Secrets of a device's namespace: who this node is to a device or to a target of its readings. Pure."""

import base64
from collections.abc import Callable, Mapping

from edged.device.configdata import invalid
from edged.errors import Cause
from edged.model.core import Secret
from edged.model.meta import JSON

NAME = "secretName"  # of configData: the Secret that has the fields below
FIELDS = {"USERNAME": "userName", "PASSWORD": "password"}

Find = Callable[[str], Mapping[str, str] | None]  # the texts of a Secret by its name, None: there is none


def texts(secret: Secret) -> dict[str, str]:
    """The texts in a Secret; what is no text is not there."""
    found = {}
    for name, value in secret.data.items():
        try:
            found[name] = base64.b64decode(value).decode().rstrip("\r\n")
        except ValueError:
            continue
    return found


def signed(config: JSON, find: Find) -> JSON:
    """ConfigData with what its Secret holds, when it names one. InvalidError: there is no such Secret, or nothing in it."""
    if NAME not in config:
        return config
    held = find(str(config[NAME]))
    if held is None:
        raise invalid([Cause(NAME, "FieldValueInvalid", f'there is no Secret "{config[NAME]}"')])
    given = {field: held[name] for name, field in FIELDS.items() if name in held}
    if not given:
        raise invalid([Cause(NAME, "FieldValueInvalid", f'the Secret "{config[NAME]}" has neither {" nor ".join(FIELDS)}')])
    return {field: value for field, value in config.items() if field != NAME} | given
