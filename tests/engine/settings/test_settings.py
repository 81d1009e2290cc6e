"""The settings file: what it may say, what is told where it may not, and that schema and documentation are true."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from engine.settings import Settings
from engine.settings.reading import SettingsError, load_settings, parse_settings
from engine.settings.schema import all_settings, make_schema, make_table, published_schema
from engine.settings.tree import SECTIONS

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "settings.md"


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, "s.yaml")
    assert str(caught.value).splitlines() == list(caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "---\n"])
def test_an_empty_file_means_the_defaults(text: str) -> None:
    assert parse_settings(text, "s.yaml") == Settings()


def test_defaults() -> None:
    settings = Settings()
    assert settings.schedulers == ("custom-scheduler",)
    assert settings.shutdown_grace == 2.0
    assert (settings.queue.backoff_initial, settings.queue.backoff_max) == (1.0, 10.0)
    assert settings.delays.period == 60.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.seed = 1  # type: ignore[misc]


FULL = {
    "schedulers": ["a", "b.c-1"],
    "seed": -3,
    "shutdownGrace": "1s500ms",
    "binder": {"workers": 32, "attempts": 2, "deadline": "1min", "volumeTimeout": "2min"},
    "queue": {"backoffInitial": "500ms", "backoffMax": "1h"},
    "delays": {
        "source": "prometheus",
        "period": "2min",
        "glance": "1s",
        "maxAge": "10min",
        "window": 5,
        "percentile": 80,
        "timeout": "3s",
        "tokenFile": "token",
        "caFile": "ca.crt",
    },
    "goldpinger": {"url": "http://goldpinger"},
    "prometheus": {
        "url": "https://prometheus:9090/base",
        "query": "rtt",
        "fromLabel": "a",
        "toLabel": "b",
        "unit": "ms",
    },
    "probe": {"service": "berth-probe.kube-system:10270", "keyFile": "key"},
    "reserve": {"namespace": "edge", "image": "pause:1"},
    "events": {"capacity": 1000, "repeat": "1h"},
    "log": {"level": "debug", "format": "json"},
    "leader": {
        "elect": True,
        "namespace": "edge",
        "name": "berth-2",
        "identity": "me",
        "leaseDuration": "6s",
        "renewDeadline": "4s",
        "retryPeriod": "1s",
    },
    "server": {"address": "[::1]:0", "stuck": "1min"},
    "simulation": {"nodeGrace": "10s", "startUp": "0s", "stop": "0s", "jobDuration": "5s"},
}


@pytest.mark.parametrize("indent", [None, 2, "\t"], ids=["line", "blanks", "tabs"])
def test_every_setting_can_be_set(tmp_path: Path, indent: int | str | None) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(FULL, indent=indent))
    settings = load_settings(file)
    assert settings.schedulers == ("a", "b.c-1")
    assert settings.shutdown_grace == 1.5
    assert settings.queue.backoff_max == 3600.0
    assert settings.log.format == "json"
    default = Settings()
    for field in dataclasses.fields(Settings):
        set_, unset = getattr(settings, field.name), getattr(default, field.name)
        if field.name in SECTIONS:
            for inner in dataclasses.fields(set_):
                assert getattr(set_, inner.name) != getattr(unset, inner.name), inner.name
        else:
            assert set_ != unset, field.name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "seed: 1\nbinder:\n  worker: 3\n",
            ["s.yaml:3: binder.worker: unknown key; did you mean workers?"],
            id="misspelt",
        ),
        pytest.param(
            "delays:\n  foo: 1\n",
            [
                "s.yaml:2: delays.foo: unknown key; there are source, period, glance, maxAge, window, percentile, "
                "timeout, tokenFile, caFile"
            ],
            id="unknown",
        ),
        pytest.param(
            "sed: 1\nbinders: {}\nlog: {level: verbose, fromat: x}\n",
            [
                "s.yaml:1: sed: unknown key; did you mean seed?",
                "s.yaml:2: binders: unknown key; did you mean binder?",
                "s.yaml:3: log.fromat: unknown key; did you mean format?",
                "s.yaml:3: log.level: 'verbose' is none of debug, info, warning, error",
            ],
            id="all-at-once",
        ),
        pytest.param(
            "log:\n  level: warn\n",
            ["s.yaml:2: log.level: 'warn' is none of debug, info, warning, error"],
            id="choice",
        ),
        pytest.param(
            "log:\n  level: Warning\n",
            ["s.yaml:2: log.level: 'Warning' is none of debug, info, warning, error; did you mean warning?"],
            id="choice-case",
        ),
        pytest.param(
            "binder:\n  workers: eight\n  attempts: yes\n",
            [
                "s.yaml:2: binder.workers: 'eight' is no whole number; write one, such as 16",
                "s.yaml:3: binder.attempts: True is no whole number; write one, such as 5",
            ],
            id="no-number",
        ),
        pytest.param(
            "binder:\n  workers: 0\n",
            ["s.yaml:2: binder.workers: 0 is out of range; write 1 to 64"],
            id="too-small",
        ),
        pytest.param(
            "delays:\n  period: 60\n",
            [
                "s.yaml:2: delays.period: 60 is not a duration; "
                "write a number with its unit (ms, s, min, h), such as 30s or 1h30min"
            ],
            id="no-unit",
        ),
        pytest.param(
            "delays:\n  period: 60 s\n",
            [
                "s.yaml:2: delays.period: '60 s' is not a duration; "
                "write a number with its unit (ms, s, min, h), such as 30s or 1h30min"
            ],
            id="blank-before-unit",
        ),
        pytest.param(
            "delays:\n  period: |\n    60s\n",
            [
                "s.yaml:2: delays.period: '60s\\n' is not a duration; "
                "write a number with its unit (ms, s, min, h), such as 30s or 1h30min"
            ],
            id="line-break",
        ),
        pytest.param(
            "delays:\n  period: 100ms\n  glance: 0s\n",
            [
                "s.yaml:2: delays.period: 100ms is out of range; write 1s to 24h",
                "s.yaml:3: delays.glance: 0s is out of range; write 100ms to 1h",
            ],
            id="duration-range",
        ),
        pytest.param(
            "queue:\n  backoffInitial: 20s\n",
            [
                "s.yaml:2: queue.backoffInitial: 20s is longer than queue.backoffMax, 10s; change one of them",
            ],
            id="backoff-order",
        ),
        pytest.param(
            "delays:\n  period: 2s\n",
            ["s.yaml:2: delays.glance: 5s is longer than delays.period, 2s; change one of them"],
            id="glance-order",
        ),
        pytest.param(
            "binder:\nlog: text\n",
            [
                "s.yaml:1: binder: empty; write its keys below it, or leave it out",
                "s.yaml:2: log: 'text' is no mapping; write its keys below it, or leave it out",
            ],
            id="sections",
        ),
        pytest.param("- a\n", ["s.yaml:1: not a mapping; write keys such as seed: 1"], id="list"),
        pytest.param(
            "schedulers: []\n", ["s.yaml:1: schedulers: [] is empty; name one scheduler at least"], id="no-scheduler"
        ),
        pytest.param(
            "schedulers: mine\n",
            ["s.yaml:1: schedulers: 'mine' is no list; write [custom-scheduler]"],
            id="scheduler-text",
        ),
        pytest.param(
            "schedulers:\n- a\n- A_b\n",
            ["s.yaml:3: schedulers.1: 'A_b' is no scheduler's name; it has only a-z, 0-9, - and ."],
            id="scheduler-name",
        ),
        pytest.param(
            "schedulers: [a, a]\n",
            ["s.yaml:1: schedulers: ['a', 'a'] names a scheduler twice; keep one"],
            id="scheduler-twice",
        ),
        pytest.param(
            "leader:\n  elect: 1\n  name: Berth\n  identity: 7\n",
            [
                "s.yaml:2: leader.elect: 1 is neither true nor false",
                "s.yaml:3: leader.name: 'Berth' is not what is expected here; write it like berth",
                "s.yaml:4: leader.identity: 7 is no text; write it in quotes, such as 'edge-1'",
            ],
            id="leader",
        ),
        pytest.param(
            "leader:\n  leaseDuration: 10s\n",
            ["s.yaml:2: leader.renewDeadline: 10s is no shorter than leader.leaseDuration, 10s; change one of them"],
            id="lease-order",
        ),
        pytest.param(
            "server: {address: localhost}\n",
            ["s.yaml:1: server.address: 'localhost' is not what is expected here; write it like 0.0.0.0:10269"],
            id="no-port",
        ),
        pytest.param(
            "server: {address: 'localhost:65536'}\n",
            [
                "s.yaml:1: server.address: 'localhost:65536' is not what is expected here; write it like 0.0.0.0:10269",
            ],
            id="port",
        ),
        pytest.param(
            "server:\n  address: |\n    localhost:80\n",
            ["s.yaml:2: server.address: ends in a line break; take it away"],
            id="address-line-break",
        ),
        pytest.param(
            "delays:\n  source: prometheus\n",
            [
                "s.yaml:2: delays.source: prometheus needs prometheus.query; write it, or choose another source",
                "s.yaml:2: delays.source: prometheus needs prometheus.url; write it, or choose another source",
            ],
            id="source-without-its-settings",
        ),
        pytest.param(
            "goldpinger: {url: http://g}\ndelays:\n  period: 10min\n  source: goldpinger\n",
            [
                "s.yaml:3: delays.maxAge: 5min is shorter than delays.period, 10min, so that nothing would count "
                "until it is measured again; change one of them"
            ],
            id="too-old-before-the-next",
        ),
        pytest.param(
            "goldpinger:\n  url: goldpinger:80\n",
            [
                "s.yaml:2: goldpinger.url: 'goldpinger:80' is not what is expected here; "
                "write it like http://goldpinger.default:80"
            ],
            id="url",
        ),
        pytest.param("a: [", ["s.yaml:2:1: not YAML: did not find expected node content"], id="no-yaml"),
        pytest.param("seed: 1\nseed: 2", ["s.yaml:2:1: seed stands there already in line 1; keep one"], id="twice"),
        pytest.param("seed: 99999999999999999999", ["s.yaml:1: seed: 99999999999999999999 is out of range; "
            "write -9223372036854775808 to 9223372036854775807"], id="seed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none.yaml: no such file or directory; check the path"):
        load_settings(tmp_path / "none.yaml")
    with pytest.raises(SettingsError, match="is a directory"):
        load_settings(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"seed: 1\n# \xff\n")
    with pytest.raises(SettingsError, match=r"latin.yaml:2: not UTF-8"):
        load_settings(tmp_path / "latin.yaml")


def test_the_published_schema_is_that_of_the_tree() -> None:
    assert published_schema() == make_schema(), "run: python -m engine.settings schema"
    jsonschema.Draft202012Validator.check_schema(published_schema())


def test_the_defaults_satisfy_their_own_schema() -> None:
    def defaults(schema: dict[str, Any]) -> Any:
        if "properties" in schema:
            return {key: defaults(inner) for key, inner in schema["properties"].items()}
        return schema["default"]

    text = json.dumps(defaults(published_schema()))
    assert parse_settings(text, "defaults.json") == Settings()


def test_every_setting_has_a_reason() -> None:
    for path, setting, _ in all_settings():
        assert len(setting.reason) > 30, path
        assert setting.reason.endswith("."), path


def test_the_documentation_has_the_table() -> None:
    _, _, table = DOCUMENT.read_text().partition("<!-- table -->\n")
    assert table == make_table(), "run: python -m engine.settings table"


def test_the_documentation_shows_what_happens() -> None:
    example = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert example is not None
    settings = parse_settings(example[1], "example.yaml")
    assert settings.binder.workers == 32
    assert settings.log.level == "warning"
    shown = re.search(r"```text\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert shown is not None
    with pytest.raises(SettingsError) as caught:
        parse_settings("seed: 1\nbinder:\n  worker: 3\ndelays:\n  period: 60\n", "settings.yaml")
    assert str(caught.value) == shown[1].strip()
