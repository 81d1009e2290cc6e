"""What ``kubectl apply -k deploy`` takes: names agree, promises of the image hold, and a real API server accepts it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.cli.notices import own_pod
from engine.cli.run import run
from engine.delay import load
from engine.model.objects import PodKey
from engine.model.placeholder import PRIORITY, PRIORITY_CLASS
from engine.settings import Settings
from engine.settings.reading import load_settings
from tests.controlplane import ControlPlane

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def documents(file: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def one(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [match] = [document for document in found if document["kind"] == kind]
    return match


@pytest.fixture(scope="module")
def deployment() -> dict[str, Any]:
    return one(documents(DEPLOY / "deployment.yaml"), "Deployment")


@pytest.fixture(scope="module")
def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def test_the_service_account_is_the_one_with_the_roles(pod: dict[str, Any]) -> None:
    rbac = documents(DEPLOY / "rbac.yaml")
    account = one(rbac, "ServiceAccount")["metadata"]
    assert pod["serviceAccountName"] == account["name"]
    assert account["namespace"] == documents(DEPLOY / "kustomization.yaml")[0]["namespace"]
    for binding in (one(rbac, "ClusterRoleBinding"), one(rbac, "RoleBinding")):
        [subject] = binding["subjects"]
        assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])


def test_placeholders_have_the_priority_that_berth_makes_for_them() -> None:
    [class_] = documents(DEPLOY / "priority-class.yaml")
    assert "priority-class.yaml" in documents(DEPLOY / "kustomization.yaml")[0]["resources"]
    assert (class_["metadata"], class_["value"]) == ({"name": PRIORITY_CLASS}, PRIORITY)
    assert (class_["preemptionPolicy"], class_["globalDefault"]) == ("Never", False)
    rules = [
        rule
        for rule in one(documents(DEPLOY / "rbac.yaml"), "ClusterRole")["rules"]
        if "resourceNames" in rule
    ]
    assert [(rule["resources"], rule["resourceNames"]) for rule in rules] == [
        (["priorityclasses"], [PRIORITY_CLASS])
    ]


def test_the_selector_selects_the_pods(deployment: dict[str, Any]) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels


def test_every_argument_names_a_file_in_a_mounted_config_map(pod: dict[str, Any]) -> None:
    generated = {
        generator["name"]: (folder, generator["files"])
        for folder in (DEPLOY, DEPLOY.parent / "policies", DEPLOY / "delays")
        for generator in documents(folder / "kustomization.yaml")[0].get("configMapGenerator", [])
    }
    for folder, names in generated.values():
        assert [name for name in names if not (folder / name).is_file()] == []
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"]}
    [container] = pod["containers"]
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    command, *options = container["args"]
    assert command == "run"
    paths = [option.partition("=")[2] for option in options]
    assert len(paths) == len(mounts)
    for path in paths:
        mounted = path if path in mounts else str(Path(path).parent)
        assert path in mounts or Path(path).name in generated[mounts[mounted]][1]


def test_the_options_are_those_of_the_command(pod: dict[str, Any]) -> None:
    known = {name for parameter in run.params for name in parameter.opts}
    used = {argument.partition("=")[0] for argument in pod["containers"][0]["args"][1:]}
    assert used | {"--delays"} <= known


def test_the_container_has_no_privileges(pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    [container] = pod["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_the_image_runs_as_the_user_that_the_pod_names(pod: dict[str, Any]) -> None:
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    context = pod["securityContext"]
    assert (int(user[1]), int(user[2])) == (context["runAsUser"], context["runAsGroup"])


def test_the_image_is_made_of_what_the_context_has() -> None:
    sent = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(sent)
    assert [name for name in sent if not (ROOT / name).exists()] == []


def test_the_image_has_the_version_of_the_package(pod: dict[str, Any]) -> None:
    version = re.search(r'version="([^"]+)"', (ROOT / "setup.py").read_text())
    assert version is not None
    image = f"berth-scheduler:{version[1]}"
    assert pod["containers"][0]["image"] == image
    for file in (ROOT / "Dockerfile", DEPLOY / "README.md"):
        assert f"docker build -t {image} ." in file.read_text()


def test_the_pod_outlives_the_shutdown(pod: dict[str, Any]) -> None:
    assert pod["terminationGracePeriodSeconds"] > load_settings(DEPLOY / "settings.yaml").shutdown_grace


def test_several_replicas_elect_a_leader(deployment: dict[str, Any]) -> None:
    leader = load_settings(DEPLOY / "settings.yaml").leader
    assert deployment["spec"]["replicas"] > 1
    assert leader.elect
    roles = [role for role in documents(DEPLOY / "rbac.yaml") if role["kind"] == "Role"]
    [role] = [role for role in roles if role["rules"][0]["resources"] == ["leases"]]
    assert role["metadata"]["namespace"] == leader.namespace
    assert role["rules"][1]["resourceNames"] == [leader.name]


def test_probes_and_prometheus_ask_where_it_answers(deployment: dict[str, Any], pod: dict[str, Any]) -> None:
    host, _, number = load_settings(DEPLOY / "settings.yaml").server.address.rpartition(":")
    assert host == "0.0.0.0", "a kubelet's probes do not come by the loopback"
    [container] = pod["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": int(number)}]
    paths = {name: container[name]["httpGet"] for name in container if name.endswith("Probe")}
    assert paths == {
        "startupProbe": {"path": "/livez", "port": "http"},
        "livenessProbe": {"path": "/livez", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == number


def test_it_is_told_who_it_is(pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {"metadata.name": "berth-0", "metadata.namespace": "kube-system", "metadata.uid": "u"}
    for variable in pod["containers"][0]["env"]:
        monkeypatch.setenv(variable["name"], fields[variable["valueFrom"]["fieldRef"]["fieldPath"]])
    assert own_pod() == PodKey("kube-system", "berth-0", "u")


def test_settings_and_delays_are_good() -> None:
    assert load_settings(DEPLOY / "settings.yaml").schedulers == Settings().schedulers
    assert load([DEPLOY / "delays" / "delays.csv"]).warnings == ()


@pytest.fixture
def with_delays(tmp_path: Path) -> Path:
    """The folder as it is after the README's last sentence."""
    for name in ("deploy", "policies"):
        shutil.copytree(ROOT / name, tmp_path / name)
    file = tmp_path / "deploy" / "kustomization.yaml"
    text = file.read_text()
    assert "\n#components:" in text
    file.write_text(text.replace("\n#components:", "\ncomponents:"))
    return tmp_path / "deploy"


@pytest.mark.integration
def test_an_api_server_accepts_it(control_plane: ControlPlane) -> None:
    told = control_plane.kubectl("apply", "--dry-run=server", "-k", DEPLOY)
    assert "deployment.apps/custom-scheduler created" in told
    assert told.count("configmap/berth-") == 2
    assert re.search(r"serviceaccount/custom-scheduler (created|configured|unchanged)", told)


@pytest.mark.integration
def test_an_api_server_accepts_it_with_delays(control_plane: ControlPlane, with_delays: Path) -> None:
    made = list(yaml.safe_load_all(control_plane.kubectl("kustomize", with_delays)))
    pod = one(made, "Deployment")["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-1] == "--delays=/etc/berth/delays/delays.csv"
    names = {document["metadata"]["name"] for document in made if document["kind"] == "ConfigMap"}
    assert {volume["configMap"]["name"] for volume in pod["volumes"]} == names
    assert "created" in control_plane.kubectl("apply", "--dry-run=server", "-k", with_delays)
