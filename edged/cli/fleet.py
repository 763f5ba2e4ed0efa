"""`edged fleet`, `edged join`, `edged kubeconfig`: identities made, installed and handed to kubectl."""
# ruff: noqa: PLC0415  certificates take a while to import, and most commands need none

import argparse
import datetime
import os
import sys
from pathlib import Path

from edged import config
from edged.cli import exits
from edged.errors import AlreadyExistsError, InvalidError
from edged.kit.address import parse_address
from edged.kit.files import private_dir, write_private
from edged.kit.settings import ConfigError

STANDARD = Path("-")  # as a file's name: stdin or stdout
MAX_USER = 64  # characters of a common name (RFC 5280, appendix A.1)
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  where an API that listens everywhere is reached from here


def init(arguments: argparse.Namespace) -> int:
    """`edged fleet init`: make a fleet's authority."""
    from edged.identity.authority import Authority

    authority = Authority.create(arguments.directory, arguments.name, _now())
    _say(f"{arguments.directory}: the authority of fleet {authority.fleet}; keep it off the gateways")
    return exits.OK


def issue(arguments: argparse.Namespace) -> int:
    """`edged fleet issue`: make a node's join bundle."""
    from edged.identity.authority import Authority

    try:
        config.check_relays(arguments.relay)
    except ValueError as error:
        raise InvalidError(f"--relay: {error}") from error
    authority = Authority.load(arguments.dir)
    bundle = authority.issue(
        *(arguments.name, arguments.group, arguments.relay, _now()),
        limited=arguments.limited,
        observes=arguments.observe,
    )
    out = arguments.output or Path(f"{arguments.name}.bundle")
    _write(out, bundle.dump(), force=arguments.force)
    if out != STANDARD:
        _say(f"{out}: a join bundle for {bundle.subject.uri}; whoever has it is this node")
    return exits.OK


def relay(arguments: argparse.Namespace) -> int:
    """`edged fleet relay`: make a relay's key and certificate."""
    from edged.identity.authority import Authority

    for host in arguments.host:
        try:
            parse_address(f"[{host}]:0" if ":" in host else f"{host}:0")
        except ValueError as error:
            raise InvalidError(f"--host: expected a DNS name or an IP address, got {host!r}") from error
    bundle = Authority.load(arguments.dir).issue_relay(arguments.name, arguments.host, _now())
    directory = private_dir(arguments.output or Path(arguments.name))
    files = {"relay.crt": bundle.certificate, "relay.key": bundle.key, "authority.crt": bundle.authority}
    for name, data in files.items():
        _write(directory / name, data, force=arguments.force)
    _say(f"{directory}: {', '.join(files)} for {bundle.subject.uri}")
    return exits.OK


def join(arguments: argparse.Namespace) -> int:
    """`edged join`: install a bundle in the state directory."""
    from edged.identity.bundle import MAX_BUNDLE, load_bundle
    from edged.identity.bundle import join as install

    state_dir = config.load(arguments.config, os.environ).state_dir
    if arguments.bundle == STANDARD:
        data = sys.stdin.buffer.read(MAX_BUNDLE + 1)
    else:
        with arguments.bundle.open("rb") as file:
            data = file.read(MAX_BUNDLE + 1)
    bundle = load_bundle(data)
    if bundle.subject.role != "node":
        raise InvalidError(f"the bundle is for {bundle.subject.uri}, which is no node")
    subject = install(bundle, state_dir, replace=arguments.force)
    _say(f"this machine is node {subject.name} of group {subject.group} in fleet {subject.fleet}; `edged run` starts it")
    return exits.OK


def kubeconfig(arguments: argparse.Namespace) -> int:
    """`edged kubeconfig`: print (or write) a kubeconfig for this node's API."""
    from edged.api.kubeconfig import kubeconfig as made
    from edged.identity.node import Identity

    if not 1 <= len(arguments.user) <= MAX_USER:
        raise InvalidError(f"--user: expected 1 to {MAX_USER} characters, got {len(arguments.user)}")
    settings = config.load(arguments.config, os.environ)
    identity = Identity.load(settings.state_dir)
    group = arguments.group
    if group is not None and (group == identity.group or not identity.subject.may_hold(group)):
        raise InvalidError(f"--group: {identity.subject.uri} does not observe {group!r}")
    server = arguments.server or _server(settings.api.listen)
    text = made(settings.state_dir, server, identity.name, identity.authority_pem, _now(), arguments.user, group)
    _write(arguments.output or STANDARD, text.encode(), force=True)
    return exits.OK


def _server(listen: str) -> str:
    address = parse_address(listen)
    if address.port == 0:
        raise ConfigError("api.listen: has port 0, so only the running daemon knows its port: give --server https://host:port")
    return f"https://{address._replace(host=EVERYWHERE.get(address.host, address.host))}"


def _write(path: Path, data: bytes, *, force: bool) -> None:
    """Write a private file, or stdout."""
    if path == STANDARD:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    elif path.exists() and not force:
        raise AlreadyExistsError(f"{path} exists: --force replaces it")
    else:
        write_private(path, data)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
