"""A small client of the Kubernetes API, for machines without kubectl: what a kubeconfig and http.client can do."""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from edged.model.kinds import BY_KIND

TIMEOUT_S = 10.0
Connect = Callable[[str, int], socket.socket]


class RefusedError(Exception):
    """The API answered with a Status: its code and message."""


class Kube:
    """Requests to the server of a kubeconfig with its client certificate, over the connections that `connect` begins."""

    def __init__(self, kubeconfig: Path, connect: Connect) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._host, _, port = cluster["server"].removeprefix("https://").partition(":")
        self._port = int(port)
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        self._server_name = cluster.get("tls-server-name", self._host)
        pair = kubeconfig.with_suffix(".pem")  # the ssl module reads certificates and keys from files only
        pair.touch(mode=0o600)
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self._tls.load_cert_chain(pair)
        self._connect = connect

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """One request; its JSON answer. OSError when nobody answers, RefusedError when the answer is an error."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            plain = self._connect(self._host, self._port)
            connection.sock = self._tls.wrap_socket(plain, server_hostname=self._server_name)
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


def collection(manifest: Any) -> str:
    """The path of the collection that an object belongs to."""
    row = BY_KIND[manifest["apiVersion"], manifest["kind"]]
    prefix = f"/apis/{row.api_version}" if row.group else f"/api/{row.api_version}"
    return (
        f"{prefix}/namespaces/{manifest['metadata'].get('namespace', 'default')}/{row.plural}"
        if row.namespaced
        else (f"{prefix}/{row.plural}")
    )
