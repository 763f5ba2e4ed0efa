"""A small client of the Kubernetes API, for machines without kubectl: what http.client can do, with a kubeconfig or without."""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from edged.model.kinds import BY_KIND

TIMEOUT_S = 10.0
HOST = "localhost"  # as requests call it: no server of ours asks for the name
Connect = Callable[[str, int], socket.socket]


class RefusedError(Exception):
    """The API answered with a Status: its code and message."""


class Client:
    """Requests to an API, each over a connection that `begin` gives, with TLS already done where there is any."""

    def __init__(self, begin: Callable[[], socket.socket]) -> None:
        self._begin = begin

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One request; its JSON answer. OSError when nobody answers, RefusedError when the answer is an error."""
        connection = http.client.HTTPConnection(HOST, timeout=TIMEOUT_S)
        try:
            connection.sock = self._begin()
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, {"Content-Type": content_type, "Accept": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise ConnectionError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise RefusedError(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:500]}")
        return json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else text.decode()

    def get(self, path: str) -> Any:
        """One object or list."""
        return self.request("GET", path)

    def watch(self, path: str, seconds: int, since: int | None = None) -> Iterator[tuple[str, Any]]:
        """The events (type, object) at a collection for so long: those after a resource version, or all of what is there first.

        OSError when it breaks off.
        """
        connection = http.client.HTTPConnection(HOST)
        try:
            connection.sock = self._begin()
            connection.sock.settimeout(seconds + TIMEOUT_S)
            asked = f"{path}?watch=true&timeoutSeconds={seconds}" + ("" if since is None else f"&resourceVersion={since}")
            connection.request("GET", asked, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise RefusedError(f"GET {path}: {answer.status} {answer.read().decode(errors='replace')[:500]}")
            while line := answer.readline():
                event = json.loads(line)
                yield event["type"], event["object"]
        except http.client.HTTPException as error:
            raise ConnectionError(f"GET {path}: {error!r}") from error
        finally:
            connection.close()

    def delete(self, path: str) -> None:
        """End an object."""
        self.request("DELETE", path)

    def create(self, manifest: Any) -> None:
        """A new object."""
        self.request("POST", collection(manifest), manifest)

    def patch(self, path: str, change: Any) -> None:
        """Change an object: by a JSON patch if `change` is a list, by a JSON merge patch if it is an object."""
        kind = "json-patch" if isinstance(change, list) else "merge-patch"
        self.request("PATCH", path, change, f"application/{kind}+json")

    def apply(self, file: Path) -> None:
        """Create each object of a manifest file, or change the one that is there."""
        for manifest in yaml.safe_load_all(file.read_text()):
            try:
                self.patch(f"{collection(manifest)}/{manifest['metadata']['name']}", manifest)
            except RefusedError as error:
                if ": 404 " not in str(error):
                    raise
                self.create(manifest)


class Kube(Client):
    """Requests to the server of a kubeconfig with its client certificate, over the connections that `connect` begins."""

    def __init__(self, kubeconfig: Path, connect: Connect) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        host, _, port = cluster["server"].removeprefix("https://").partition(":")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        pair = kubeconfig.with_suffix(".pem")  # the ssl module reads certificates and keys from files only
        pair.touch(mode=0o600)
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        tls.load_cert_chain(pair)
        server_name = cluster.get("tls-server-name", host)
        super().__init__(lambda: tls.wrap_socket(connect(host, int(port)), server_hostname=server_name))


def local(path: Path) -> Client:
    """A client of the daemon whose Unix socket is at `path`: as its own user or root, without TLS."""
    return Client(partial(_unix, path))


def _unix(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def collection(manifest: Any) -> str:
    """The path of the collection that an object belongs to."""
    row = BY_KIND[manifest["apiVersion"], manifest["kind"]]
    prefix = f"/apis/{row.api_version}" if row.group else f"/api/{row.api_version}"
    return (
        f"{prefix}/namespaces/{manifest['metadata'].get('namespace', 'default')}/{row.plural}"
        if row.namespaced
        else (f"{prefix}/{row.plural}")
    )
