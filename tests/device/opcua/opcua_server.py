"""A real OPC UA server (asyncua) in a process of its own, driven by lines on its standard input.

    python opcua_server.py PORT SECURE STATE_DIR      says `port N` once it serves

Lines: `set NAME JSON`, `bad NAME CODE`, `get NAME`, `drop` (break all connections), `forget` (its sessions; `forget all`
their subscriptions, too). Each is answered `done`.
"""

# ruff: noqa: T201  what is printed is the answer
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asyncua import Server, ua, uamethod
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from asyncua.crypto.permission_rules import SimpleRoleRuleset, User, UserRole
from cryptography.x509.oid import ExtendedKeyUsageOID

VALUES: dict[str, tuple[Any, ua.VariantType]] = {
    "bool": (True, ua.VariantType.Boolean),
    "sbyte": (-8, ua.VariantType.SByte),
    "byte": (8, ua.VariantType.Byte),
    "int16": (-16, ua.VariantType.Int16),
    "uint16": (16, ua.VariantType.UInt16),
    "int32": (-32, ua.VariantType.Int32),
    "uint32": (32, ua.VariantType.UInt32),
    "int64": (-(1 << 62), ua.VariantType.Int64),
    "uint64": (1 << 63, ua.VariantType.UInt64),
    "float": (21.6, ua.VariantType.Float),
    "double": (0.1, ua.VariantType.Double),
    "string": ("grün", ua.VariantType.String),
    "bytes": (b"\x01\xff", ua.VariantType.ByteString),
    "time": (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), ua.VariantType.DateTime),
    "text": (ua.LocalizedText("Kessel"), ua.VariantType.LocalizedText),
    "array": ([1, 2], ua.VariantType.Int32),
}


class Users:
    def get_user(self, _server: Any, username: Any = None, password: Any = None, certificate: Any = None) -> Any:
        if (username, password) == ("operator", "s3cret") or (username is None and certificate is not None):
            return User(role=UserRole.Admin, name="operator")
        return None


async def main(port: int, secure: bool, state: Path) -> None:
    server = Server(user_manager=Users() if secure else None)
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/")
    if secure:
        uri = "urn:edged:test"
        await server.set_application_uri(uri)
        key, certificate = state / "server-key.pem", state / "server.der"
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        await setup_self_signed_certificate(key, certificate, uri, "127.0.0.1", usage, {})
        await server.load_certificate(str(certificate))
        await server.load_private_key(str(key))
        server.set_security_policy(
            [ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt, ua.SecurityPolicyType.Basic256Sha256_Sign],
            SimpleRoleRuleset(),
        )
        server.set_identity_tokens([ua.UserNameIdentityToken, ua.AnonymousIdentityToken])
    await server.register_namespace("urn:boilers")
    boiler = await server.nodes.objects.add_object(ua.NodeId("boiler", 2), ua.QualifiedName("Boiler", 2))
    nodes = {}
    for name, (value, type_) in VALUES.items():
        nodes[name] = await boiler.add_variable(ua.NodeId(name, 2), ua.QualifiedName(name, 2), value, type_)
        if name != "byte":
            await nodes[name].set_writable()

    @uamethod
    def multiply(_parent: Any, factor: float, times: int) -> float:
        return factor * times

    kinds = [ua.VariantType.Double, ua.VariantType.UInt16]
    await boiler.add_method(ua.NodeId("multiply", 2), ua.QualifiedName("multiply", 2), multiply, kinds, [ua.VariantType.Double])
    async with server:
        print("port", server.bserver._server.sockets[0].getsockname()[1], flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).split(maxsplit=2):
            await act(server, nodes, *line)
            print("done", flush=True)


async def act(server: Server, nodes: dict[str, Any], word: str, name: str = "", argument: str = "") -> None:
    if word == "set":
        value = ua.DataValue(ua.Variant(json.loads(argument), VALUES[name][1]), SourceTimestamp=datetime.now(UTC))
        await nodes[name].write_value(value)
    elif word == "bad":
        await nodes[name].write_value(ua.DataValue(ua.Variant(), StatusCode=ua.StatusCode(int(argument, 16))))
    elif word == "drop":
        for transport in list(server.iserver.asyncio_transports):
            transport.abort()
    elif word == "forget":
        for session in list(server.iserver._external_sessions.values()):
            await session.close_session(name == "all")
    elif word == "get":
        print("value", json.dumps(await nodes[name].read_value(), default=str), flush=True)


asyncio.run(main(int(sys.argv[1]), sys.argv[2] == "secure", Path(sys.argv[3])))
