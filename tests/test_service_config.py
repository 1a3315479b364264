"""The configuration of the service: what it may say, and one sentence for everything else."""

from __future__ import annotations

import urllib.parse
from dataclasses import fields, replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yolowatch import config
from yolowatch.config import SERVICE_KEYS
from yolowatch.errors import ConfigError
from yolowatch.model.attach import AttachPolicy
from yolowatch.model.notifications import Notifications
from yolowatch.model.plan import Policy
from yolowatch.model.push import Otlp
from yolowatch.model.service import MODES, DirectoryRule, ServiceConfig, UserRule

EVERYTHING = """
mode: observe
attach: preloaded
metrics: "[::1]:9480"
web_config: /etc/yolowatch/web.yaml
notifications: {urls: ["json://ann:word@host/hook"], about: person, group_seconds: 5, per_hour: 3}
otlp:
  endpoint: https://collector:4318/v1/metrics
  every_seconds: 30
  headers_file: /etc/yolowatch/otlp.headers
  ca_file: /etc/ssl/site.pem
control_group: gpu-operators
state_dir: /var/lib/yolowatch
minimum_uid: 500
others_grace_seconds: 90
policy:
  margin: 0.1
users:
  - {user: alice, mode: auto}
  - {uid: 1234, mode: recommend, policy: {keep_checkpoints: 5}}
  - {group: students, mode: observe}
directories:
  - {path: /data/shared/, mode: observe}
"""


def read(*texts: str) -> ServiceConfig:
    return config.service((f"{i}.yaml", text) for i, text in enumerate(texts))


def test_nothing_said_is_the_default() -> None:
    assert read() == read("") == read("# a comment\n", "") == ServiceConfig()
    assert ServiceConfig().mode == ServiceConfig().policy.mode == "recommend"


def test_everything_can_be_said() -> None:
    base = Policy(mode="observe", margin_ratio=0.1)
    assert read(EVERYTHING) == ServiceConfig(
        mode="observe",
        attach=AttachPolicy.PRELOADED,
        metrics="[::1]:9480",
        web_config="/etc/yolowatch/web.yaml",
        notifications=Notifications(("json://ann:word@host/hook",), "person", 5.0, 3),
        otlp=Otlp(
            "https://collector:4318/v1/metrics",
            30.0,
            "/etc/yolowatch/otlp.headers",
            "/etc/ssl/site.pem",
        ),
        control_group="gpu-operators",
        state_dir="/var/lib/yolowatch",
        minimum_uid=500,
        others_grace_seconds=90.0,
        policy=base,
        users=(
            UserRule("auto", user="alice"),
            UserRule(
                "recommend", uid=1234, policy=replace(base, mode="recommend", keep_checkpoints=5)
            ),
            UserRule("observe", group="students"),
        ),
        directories=(DirectoryRule("/data/shared", "observe"),),
    )
    assert set(yaml.safe_load(EVERYTHING)) == set(SERVICE_KEYS)
    assert set(SERVICE_KEYS) == {each.name for each in fields(ServiceConfig)}


def test_whom_to_tell_is_read_key_by_key() -> None:
    urls = 'notifications: {urls: ["json://host/"], per_hour: 3}'
    found = read(urls, "notifications: {about: person}").notifications
    assert found == Notifications(("json://host/",), "person", per_hour=3)
    assert read(urls, "notifications: {urls: []}").notifications.urls == ()
    assert "json" not in repr(read(urls))


@pytest.mark.parametrize(
    "urls", ["s3cr3t-word", "[s3cr3t-word]", "[7]", "['json://s3cr3t-word with a blank']"]
)
def test_a_bad_url_is_never_shown(urls: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"notifications: {{urls: {urls}}}")
    assert "s3cr3t-word" not in str(caught.value)
    assert "urls" in str(caught.value)


def test_where_to_push_is_read_key_by_key() -> None:
    push = "otlp: {endpoint: 'http://[::1]:4318/v1/metrics', headers_file: /etc/headers}"
    found = read(push, "otlp: {every_seconds: 15}").otlp
    assert found == Otlp("http://[::1]:4318/v1/metrics", 15.0, "/etc/headers")
    assert read(push, "otlp: {endpoint: none, headers_file: none}").otlp == Otlp()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("http://host:4318/", "0.yaml: otlp must be a mapping with endpoint."),
        ("{endpiont: x}", "0.yaml: otlp has the unknown key 'endpiont': did you mean 'endpoint'?"),
        ("{endpoint: 'host:4318'}", "otlp: endpoint must be the whole URL, https://HOST:PORT/PATH"),
        ("{endpoint: 'ftp://host/'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: 'http://host:4318'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: 'http://host:70000/v1/metrics'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: 'http://host:0/v1/metrics'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: 'http://[:::]:4318/'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: 'http://a..b:4318/'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: 'http://höst:4318/'}", "otlp: endpoint must be the whole URL"),
        ("{endpoint: ['http://host/']}", "otlp: endpoint must be the whole URL"),
        ('{endpoint: "http://host/a\\nX: y"}', "otlp: endpoint must be the whole URL"),
        ("{every_seconds: 0}", "otlp: every_seconds must be seconds from 5 to 3600, not 0."),
        ("{every_seconds: 1m}", "otlp: every_seconds must be seconds from 5 to 3600, not '1m'."),
        ("{headers_file: headers}", "headers_file must be an absolute path or none"),
        ("{ca_file: 7}", "otlp: ca_file must be an absolute path or none, not 7."),
        (
            "{endpoint: 'http://collector:4318/v1/metrics', headers_file: /etc/headers}",
            "otlp: headers_file would be sent for everybody to read: write an endpoint that begins",
        ),
        ("{endpoint: 'http://127.0.0.1.evil.org/', headers_file: /h}", "for everybody to read"),
    ],
)
def test_where_to_push_is_right_or_a_sentence(said: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(f"otlp: {said}")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["https://ann:s3cr3t-word@host/v1", "https://host/v1?key=s3cr3t-word", "s3cr3t-word@h"]
)
def test_a_password_is_no_part_of_an_endpoint(url: str) -> None:
    with pytest.raises(ConfigError, match="belongs in headers_file") as raised:
        read(f"otlp: {{endpoint: '{url}'}}")
    assert "s3cr3t-word" not in str(raised.value)


def test_the_file_of_headers_is_read_line_by_line() -> None:
    text = "# of the site\n\nAuthorization: Bearer a b\nX-Scope-OrgID:lab\n"
    assert config.headers(text, "h") == (("Authorization", "Bearer a b"), ("X-Scope-OrgID", "lab"))
    assert config.headers("", "h") == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s3cr3t-word", "h, line 1 must be NAME: VALUE"),
        ("a: b\ns3cr3t word: x", "h, line 2 must be NAME: VALUE"),
        ("Authorization: s3cr3t-word\x07", "h, line 1 must be NAME: VALUE"),
        ("Authorization: s3cr3t-wörd", "h, line 1 must be NAME: VALUE"),
        ("Authorization:", "h, line 1 must be NAME: VALUE"),
        ("Content-Length: 7", "h, line 1 sets a header that yolowatch sets itself."),
        ("host: s3cr3t-word", "h, line 1 sets a header that yolowatch sets itself."),
        ("a: b\n" * 40, "h must have at most 32 headers."),
    ],
)
def test_a_bad_header_is_never_shown(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config.headers(text, "h")
    assert str(raised.value).startswith(sentence)
    assert "s3cr3t" not in str(raised.value)


def test_a_later_document_replaces_values_and_adds_rules() -> None:
    merged = read(
        "mode: observe\npolicy: {margin: 0.1, keep_checkpoints: 4}\n"
        "users: [{user: alice, mode: observe, policy: {emergency: any}}]",
        "mode: auto\npolicy: {margin: 0.2}\nusers: [{user: bob, mode: auto}]",
    )
    assert merged.mode == merged.policy.mode == "auto"
    assert (merged.policy.margin_ratio, merged.policy.keep_checkpoints) == (0.2, 4)
    assert [rule.user for rule in merged.users] == ["alice", "bob"]
    # A rule's policy stands on what all documents together make of the service's.
    alice = merged.users[0].policy
    assert alice is not None
    assert (alice.margin_ratio, alice.emergency, alice.mode) == (0.2, "any", "observe")


def test_every_word_survives_yaml() -> None:
    for mode in MODES:
        assert read(f"mode: {mode}").mode == mode
    for attach in AttachPolicy:
        assert read(f"attach: {attach.value}").attach is attach


def test_no_metrics_is_a_word_too() -> None:
    assert read("metrics: none").metrics is None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("mdoe: auto", "0.yaml has the unknown key 'mdoe': did you mean 'mode'?"),
        ("mode: on", "0.yaml: mode must be one of: observe, recommend, auto, not True (which is"),
        ("attach: off", "attach must be one of: none, preloaded, safe, debugger, not False"),
        ("attach: gdb", "attach must be one of: none, preloaded, safe, debugger, not 'gdb'."),
        ("metrics: 9466", "metrics must be HOST:PORT or none, not 9466."),
        ("metrics: localhost:99999", "metrics must be HOST:PORT or none"),
        ("others_grace_seconds: soon", "must be seconds from 0 to 3600, not 'soon'."),
        ("state_dir: var", "state_dir must be an absolute path, not 'var'."),
        ("control_group: 12", "control_group must be the name of a group, not 12."),
        ("policy: [margin]", "policy must be a mapping"),
        ("policy: {marign: 1}", "has the unknown key 'marign': did you mean 'margin'?"),
        ("policy: {levers: [model parallelism]}", "model parallelism is refused always"),
        ("users: {user: a}", "users must be a list of rules"),
        ("users: [{mode: auto}]", "must name exactly one of: user, uid, group."),
        ("users: [{user: a, uid: 1, mode: auto}]", "must name exactly one of"),
        ("users: [{user: 12, mode: auto}]", "in quotes where it is a number, not 12."),
        ("users: [{uid: '12', mode: auto}]", "uid must be a user's number, not '12'."),
        ("users: [{user: a}]", "mode must be one of: observe, recommend, auto, not None."),
        ("users: [{usr: a, mode: auto}]", "unknown key 'usr': did you mean 'user'?"),
        ("users: [{user: a, mode: auto, policy: {x: 1}}]", "unknown key 'x'"),
        ("directories: [{mode: auto}]", "path must be an absolute path, not None."),
        ("directories: [{path: data, mode: auto}]", "path must be an absolute path, not 'data'."),
        ("directories: [/data]", "directories must be a list of rules"),
        ("mode: [", "0.yaml, line 1 is no YAML"),
        ("- a", "0.yaml must be a mapping"),
        ("&a mode: *b", "is no YAML"),
    ],
)
def test_what_is_wrong_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(text)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_document_at_fault_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^1\.yaml: mode"):
        read("mode: auto", "mode: automatic")


def test_a_value_without_end_is_quoted_in_part() -> None:
    layers = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(ConfigError) as raised:
        read("users:\n - k0: &k0 [x]\n" + "".join(f"   {line}\n" for line in layers.split("\n")))
    assert len(str(raised.value)) < 500
    with pytest.raises(ConfigError) as raised:
        read("state_dir: &a [" + "x, " * 10000 + "]")
    assert len(str(raised.value)) < 500


_LINES = st.from_regex(r"(mode|users|directories|policy|otlp): .*", fullmatch=True)


@given(st.from_regex(r"https?://[\[\]a-z0-9:._/-]{1,40}/", fullmatch=True))
def test_any_endpoint_that_is_taken_can_be_asked_for(url: str) -> None:
    try:
        found = read(f"otlp: {{endpoint: '{url}'}}").otlp.endpoint
    except ConfigError:
        return
    parts = urllib.parse.urlsplit(found or "")
    assert parts.hostname
    assert parts.port != 0
    assert parts.path


@given(st.text(max_size=200) | _LINES)
def test_any_text_is_a_configuration_or_a_sentence(text: str) -> None:
    said = "0.yaml"
    try:
        read(text)
    except ConfigError as error:
        said = str(error)
    assert said.startswith("0.yaml")
