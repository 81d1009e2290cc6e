"""The component ``deploy/probe``: names agree with what the command and the settings expect."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from engine.cli.probe import probe
from engine.settings import Settings
from engine.settings.reading import load_settings
from tests.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FOLDER = DEPLOY / "probe"


def documents(file: Path) -> dict[str, Any]:
    return {document["kind"]: document for document in yaml.safe_load_all(file.read_text()) if document}


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return documents(FOLDER / "probe.yaml")


@pytest.fixture(scope="module")
def container(made: dict[str, Any]) -> dict[str, Any]:
    [one] = made["DaemonSet"]["spec"]["template"]["spec"]["containers"]
    return dict(one)


def test_selectors_select_the_probes(made: dict[str, Any]) -> None:
    labels = made["DaemonSet"]["spec"]["template"]["metadata"]["labels"]
    assert made["DaemonSet"]["spec"]["selector"]["matchLabels"] == labels
    assert made["Service"]["spec"]["selector"] == labels
    scheduler = documents(DEPLOY / "deployment.yaml")["Deployment"]
    assert scheduler["spec"]["selector"]["matchLabels"] != labels


def test_the_options_are_those_of_the_command(container: dict[str, Any]) -> None:
    command, *arguments = container["args"]
    assert command == "probe"
    context = probe.make_context("probe", list(arguments))
    assert context.params["peers"] == (("berth-probe.kube-system", 10271),)
    listening = {context.params[name][1] for name in ("listen", "echo")}
    assert {port["containerPort"] for port in container["ports"]} == listening
    told = {variable["name"] for variable in container["env"]}
    options = [option for option in probe.params if isinstance(option, click.Option)]
    assert told == {option.envvar for option in options if option.envvar}


def test_the_service_is_the_one_that_is_asked(made: dict[str, Any], container: dict[str, Any]) -> None:
    service = made["Service"]
    assert service["spec"]["clusterIP"] == "None", "only a headless name resolves to all"
    ports = {(port["name"], port["port"]) for port in service["spec"]["ports"]}
    assert ports == {(port["name"], port["containerPort"]) for port in container["ports"]}
    namespace = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["namespace"]
    name = f"{service['metadata']['name']}.{namespace}"
    settings = load_settings(FOLDER / "settings.yaml")
    assert settings.probe.service == f"{name}:10270"
    assert f"--peers={name}:10271" in container["args"]


def test_the_settings_are_those_of_the_deployment_but_for_the_delays() -> None:
    plain, ours = load_settings(DEPLOY / "settings.yaml"), load_settings(FOLDER / "settings.yaml")
    assert ours.delays.source == "probe"
    differing = {
        field for field in Settings.__dataclass_fields__ if getattr(plain, field) != getattr(ours, field)
    }
    assert differing == {"delays", "probe"}


def test_both_find_the_key_where_it_is_mounted(container: dict[str, Any]) -> None:
    settings = load_settings(FOLDER / "settings.yaml")
    assert f"--key-file={settings.probe.key_file}" in container["args"]
    folder = str(Path(settings.probe.key_file).parent)
    assert [mount["mountPath"] for mount in container["volumeMounts"]] == [folder]
    text = (FOLDER / "kustomization.yaml").read_text()
    assert f"mountPath: {folder}" in text
    [generator] = yaml.safe_load(text)["secretGenerator"]
    assert generator["files"] == [Path(settings.probe.key_file).name]


def test_the_key_is_not_in_the_repository() -> None:
    assert "deploy/probe/key" in (ROOT / ".gitignore").read_text().splitlines()
    assert "openssl rand -hex 32 > deploy/probe/key" in (DEPLOY / "README.md").read_text()


def test_it_has_no_privileges(made: dict[str, Any], container: dict[str, Any]) -> None:
    pod = made["DaemonSet"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["hostNetwork"] is False
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    context = pod["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (
        True, int(user[1]), int(user[2])
    )  # fmt: skip
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    scheduler = documents(DEPLOY / "deployment.yaml")["Deployment"]["spec"]["template"]["spec"]
    assert container["image"] == scheduler["containers"][0]["image"]


@pytest.mark.integration
def test_an_api_server_accepts_it(control_plane: ControlPlane, tmp_path: Path) -> None:
    for name in ("deploy", "policies"):
        shutil.copytree(ROOT / name, tmp_path / name)
    file = tmp_path / "deploy" / "kustomization.yaml"
    text = file.read_text()
    assert "\n#components: [delays]" in text
    file.write_text(text.replace("\n#components: [delays]", "\ncomponents: [probe]"))
    (tmp_path / "deploy" / "probe" / "key").write_text("0123456789abcdef0123456789abcdef\n")
    built = list(yaml.safe_load_all(control_plane.kubectl("kustomize", tmp_path / "deploy")))
    kinds = {document["kind"]: document for document in built}
    scheduler = kinds["Deployment"]["spec"]["template"]["spec"]
    secret = kinds["Secret"]["metadata"]["name"]
    assert secret in {volume.get("secret", {}).get("secretName") for volume in scheduler["volumes"]}
    [volume] = kinds["DaemonSet"]["spec"]["template"]["spec"]["volumes"]
    assert volume["secret"]["secretName"] == secret
    [settings] = [one for one in built if one["metadata"]["name"].startswith("berth-settings")]
    assert "source: probe" in settings["data"]["settings.yaml"]
    told = control_plane.kubectl("apply", "--dry-run=server", "-k", tmp_path / "deploy")
    assert "daemonset.apps/berth-probe created" in told
