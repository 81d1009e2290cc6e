from __future__ import annotations

import base64
import logging
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes.config import incluster_config

from engine.cluster.api import connect
from engine.cluster.configuration import (
    CHECK_SECONDS,
    RENEW_SECONDS,
    ConfiguredCredentials,
    Proxy,
    find_credentials,
)
from engine.cluster.errors import ConfigurationError
from tests.engine.cluster.scripted import CERTIFICATES, ScriptedServer, answer, refusal
from tests.engine.cluster.test_transport import HandClock

Edit = Callable[[dict[str, Any]], object]
SERVER = CERTIFICATES / "server.crt"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("KUBE") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def kubeconfig(folder: Path, edit: Edit = lambda document: None) -> Path:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "edge",
        "contexts": [{"name": "edge", "context": {"cluster": "edge", "user": "berth"}}],
        "clusters": [
            {
                "name": "edge",
                "cluster": {"server": "https://localhost:6443", "certificate-authority": str(SERVER)},
            }
        ],
        "users": [{"name": "berth", "user": {"token": "secret"}}],
    }
    edit(document)
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def cluster(document: dict[str, Any]) -> dict[str, Any]:
    return document["clusters"][0]["cluster"]  # type: ignore[no-any-return]


def user(document: dict[str, Any]) -> dict[str, Any]:
    return document["users"][0]["user"]  # type: ignore[no-any-return]


BAD: dict[str, tuple[Edit, str]] = {
    "no current context": (lambda d: d.pop("current-context"), "'current-context' is not set"),
    "an unknown context": (
        lambda d: d.update({"current-context": "core"}),
        "no context 'core'; there are: edge",
    ),
    "no contexts": (lambda d: d.update(contexts=None), "no context 'edge'; there are: none"),
    "an unknown cluster": (
        lambda d: d["contexts"][0]["context"].update(cluster="gone"),
        "context 'edge' names the cluster 'gone', which is not in 'clusters'",
    ),
    "an unknown user": (
        lambda d: d["contexts"][0]["context"].update(user="gone"),
        "context 'edge' names the user 'gone', which is not in 'users'",
    ),
    "an entry without a name": (
        lambda d: d["users"].append({"user": {}}),
        "every entry of 'users' needs a 'name'",
    ),
    "no server": (
        lambda d: cluster(d).pop("server"),
        "cluster 'edge' has no 'server': give its https:// address",
    ),
    "a server without a scheme": (
        lambda d: cluster(d).update(server="localhost:6443"),
        "'server' 'localhost:6443' is not an http:// or https:// address",
    ),
    "a server with a bad port": (
        lambda d: cluster(d).update(server="https://localhost:port"),
        "'server' 'https://localhost:port': Port",
    ),
    "an authority's file that is missing": (
        lambda d: cluster(d).update({"certificate-authority": "/nowhere/ca.crt"}),
        "/nowhere/ca.crt: no such file",
    ),
    "an authority that is no certificate": (
        lambda d: cluster(d).update({"certificate-authority-data": base64.b64encode(b"hello").decode()}),
        "'certificate-authority' .*: not a PEM certificate",
    ),
    "an authority that is not base64": (
        lambda d: cluster(d).update({"certificate-authority-data": "a"}),
        "a '…-data' field is not base64",
    ),
    "a client certificate's file that is missing": (
        lambda d: user(d).update({"client-certificate": "/nowhere/c.crt", "client-key": "/nowhere/c.key"}),
        "/nowhere/c.crt: no such file",
    ),
    "a certificate and a key that do not match": (
        lambda d: user(d).update(
            {"client-certificate": str(SERVER), "client-key": str(CERTIFICATES / "stranger.key")}
        ),
        "'client-certificate' and 'client-key' of the user don't belong together",
    ),
    "a token's file that is missing": (
        lambda d: (user(d).pop("token"), user(d).update(tokenFile="/nowhere/token")),
        "/nowhere/token: No such file",
    ),
    "a plugin that is missing": (
        lambda d: d["users"][0].update(
            user={"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/plugin"}}
        ),
        "no credentials from the exec plugin: .*/nowhere/plugin.*; run the plugin's command by hand, or log in again",
    ),
    "a proxy of another kind": (
        lambda d: cluster(d).update({"proxy-url": "socks5://proxy.example:1080"}),
        "proxy 'socks5://proxy.example:1080': only http:// proxies are supported",
    ),
}


@pytest.mark.parametrize(("edit", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_kubeconfig_is_named_with_its_field(tmp_path: Path, edit: Edit, message: str) -> None:
    path = kubeconfig(tmp_path, edit)
    with pytest.raises(ConfigurationError, match=message) as caught:
        connect(path)
    assert str(caught.value).startswith(f"kubeconfig {path}")


TEXTS: dict[str, tuple[str, str]] = {
    "not YAML": ("clusters:\n  - name: [unclosed\n", "line 3, column 1 not YAML: "),
    "a list": ("- 1\n", "not a kubeconfig: a mapping with 'clusters'"),
    "empty": ("", "not a kubeconfig"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS.keys())
def test_a_file_that_is_no_kubeconfig(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "k"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"kubeconfig {path}:.*{message}"):
        connect(path)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"kubeconfig {tmp_path}/gone: no such file"):
        connect(tmp_path / "gone")


def test_nothing_is_configured_at_all() -> None:
    with pytest.raises(
        ConfigurationError, match=r"no kubeconfig given.*not a pod of a cluster: give the kubeconfig"
    ):
        connect(None)


def test_a_context_can_be_chosen(tmp_path: Path) -> None:
    def two(document: dict[str, Any]) -> None:
        document["contexts"].append({"name": "core", "context": {"cluster": "core", "user": "berth"}})
        document["clusters"].append({"name": "core", "cluster": {"server": "http://core.example/prefix/"}})

    path = kubeconfig(tmp_path, two)
    access = find_credentials(path, "core").current()
    assert access.url == "http://core.example:80/prefix"
    assert access.origin == f"kubeconfig {path}, context 'core'"
    assert find_credentials(path).current().url == "https://localhost:6443"
    with pytest.raises(ConfigurationError, match="no context 'far'; there are: core, edge"):
        find_credentials(path, "far")


def test_a_list_of_files_and_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    kubeconfig(tmp_path / "home" / ".kube").rename(tmp_path / "home" / ".kube" / "config")
    assert find_credentials(None).current().host == "localhost"
    other = kubeconfig(tmp_path, lambda d: cluster(d).update(server="https://listed.example"))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/missing{os.pathsep}{other}")
    assert find_credentials(None).current().host == "listed.example"


def test_proxies_and_their_exceptions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kubeconfig(
        tmp_path, lambda d: cluster(d).update({"proxy-url": "http://me:it%40s@proxy.example:3128"})
    )
    assert find_credentials(path).current().proxy == Proxy("proxy.example", 3128, "Basic bWU6aXRAcw==")
    monkeypatch.setenv("NO_PROXY", "localhost,.example")
    monkeypatch.setenv("no_proxy", "localhost,.example")
    assert find_credentials(path).current().proxy is None


def test_the_servers_name_and_skipped_verification(tmp_path: Path) -> None:
    def lenient(document: dict[str, Any]) -> None:
        cluster(document).pop("certificate-authority")
        cluster(document).update({"insecure-skip-tls-verify": True, "tls-server-name": "kubernetes.default"})

    access = find_credentials(kubeconfig(tmp_path, lenient)).current()
    assert access.server_name == "kubernetes.default"
    assert access.tls is not None
    assert not access.tls.check_hostname


def test_a_token_file_is_read_again_when_its_token_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    ok = answer(200, {"gitVersion": "v1.36.3"})

    def from_file(document: dict[str, Any]) -> None:
        document["users"][0]["user"] = {"tokenFile": str(token)}
        cluster(document)["server"] = f"https://127.0.0.1:{server.port}"

    with ScriptedServer([refusal(401)], [ok], tls=True) as server:
        path = kubeconfig(tmp_path, from_file)
        api = connect(path)
        token.write_text("new\n")
        assert api.server_version() == "v1.36.3"
        api.close()
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer old", "Bearer new"]


def plugin(folder: Path, body: str) -> Edit:
    """A user whose token comes from a plugin written in Python."""
    script = folder / "plugin"
    script.write_text(f"#!{sys.executable}\n{body}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    spec = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}
    return lambda document: document["users"][0].update(user={"exec": spec})


COUNTING = """
import json, pathlib
count = pathlib.Path(__file__).with_name("count")
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
status = {"token": f"token-{number}", "expirationTimestamp": EXPIRY}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def test_a_plugins_token_is_renewed_before_it_expires(tmp_path: Path) -> None:
    clock = HandClock()
    path = kubeconfig(tmp_path, plugin(tmp_path, COUNTING.replace("EXPIRY", "'2020-01-01T00:00:00Z'")))
    credentials = find_credentials(path, clock=clock)
    assert credentials.current().authorization == "Bearer token-1"
    clock.time += CHECK_SECONDS - 1
    assert credentials.current().authorization == "Bearer token-1"
    before = credentials.current()
    clock.time += 1
    after = credentials.current()
    assert after.authorization == "Bearer token-2"
    assert after.tls is before.tls


def test_a_plugins_token_that_is_good_for_long_is_kept_until_it_is_refused(tmp_path: Path) -> None:
    clock = HandClock()
    path = kubeconfig(tmp_path, plugin(tmp_path, COUNTING.replace("EXPIRY", "'2999-01-01T00:00:00Z'")))
    credentials = find_credentials(path, clock=clock)
    clock.time += 3600
    first = credentials.current()
    assert first.authorization == "Bearer token-1"
    second = credentials.renew(first)
    assert second.authorization == "Bearer token-2"
    assert credentials.renew(first) is second  # another thread had the old one refused too
    assert credentials.renew(second) is second  # not more often than that
    clock.time += RENEW_SECONDS
    assert credentials.renew(second).authorization == "Bearer token-3"


def test_a_plugin_that_fails_says_what_it_said(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, plugin(tmp_path, "raise SystemExit('please log in')"))
    with pytest.raises(ConfigurationError, match=r"no credentials from the exec plugin: .*please log in"):
        connect(path)


def test_a_renewal_that_fails_keeps_what_there_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = HandClock()
    path = kubeconfig(tmp_path)
    credentials = find_credentials(path, clock=clock)
    before = credentials.current()
    path.write_text("{")
    with caplog.at_level(logging.WARNING):
        assert credentials.renew(before) is before
    assert "reading them again failed: kubeconfig" in caplog.text


class Hooked:
    """A configuration of which the hook is what a test says."""

    def __init__(self, hook: Callable[[Any], None]) -> None:
        self.configuration = SimpleNamespace(
            host="http://localhost:1", api_key={"authorization": "bearer one\n"}, refresh_api_key_hook=hook
        )

    def __call__(self) -> Any:
        return self.configuration


def test_the_key_under_which_version_36_files_a_token() -> None:
    credentials = ConfiguredCredentials(Hooked(lambda configuration: None), "test")
    assert credentials.current().authorization == "bearer one"


def test_a_hook_that_fails_keeps_the_old_token(caplog: pytest.LogCaptureFixture) -> None:
    def fail(configuration: Any) -> None:
        raise OSError("the token's file is being replaced")

    clock = HandClock()
    credentials = ConfiguredCredentials(Hooked(fail), "the pod's service account", clock)
    clock.time += CHECK_SECONDS
    with caplog.at_level(logging.WARNING):
        assert credentials.current().authorization == "bearer one"
    assert "renewing the credentials failed, the old ones stay in use: the token's file" in caplog.text


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a pod's service account."""
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("mounted\n")
    authority.write_text(SERVER.read_text())
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    return tmp_path


def test_in_a_pod(pod: Path) -> None:
    clock = HandClock()
    credentials = find_credentials(None, clock=clock)
    access = credentials.current()
    assert (access.url, access.host) == ("https://[fd00::1]:443", "fd00::1")
    assert access.authorization == "bearer mounted"
    (pod / "token").write_text("rotated\n")
    clock.time += CHECK_SECONDS
    assert credentials.renew(access).authorization == "bearer rotated"


@pytest.mark.parametrize(("file", "message"), [("token", "Service token file"), ("ca.crt", "Service cert")])
def test_in_a_pod_without_its_files(pod: Path, file: str, message: str) -> None:
    (pod / file).unlink()
    with pytest.raises(ConfigurationError, match=f"the pod's service account: {message}"):
        connect(None)


def test_in_a_pod_there_are_no_contexts(pod: Path) -> None:
    with pytest.raises(ConfigurationError, match="context 'edge' asked for, but there is no kubeconfig"):
        connect(None, "edge")
