"""`--log-driver` and `--log-opt`: what is refused with which sentence, and what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from jubako.containers.logs.defaults import with_defaults
from jubako.containers.logs.options import check_options, file_options
from jubako.containers.logs.plan import make_plan, readable
from jubako.containers.model import ContainerRecord
from jubako.errors import InvalidArgument, JubakoError, Unsupported

UDP = {"syslog-address": "udp://127.0.0.1:1"}
GELF = {"gelf-address": "udp://127.0.0.1:1"}
GELF_TCP = {"gelf-address": "tcp://127.0.0.1:1"}
FAILED = "failed to create task for container: failed to initialize logging driver"


def record(driver: str = "json-file", options: dict[str, str] | None = None) -> ContainerRecord:
    content: dict[str, Any] = {
        "Id": "0123456789abcdef" * 4,
        "Name": "box",
        "Created": "2026-01-01T00:00:00.000000000Z",
        "ImageId": "sha256:" + "5" * 64,
        "ImageRef": "busybox",
        "Path": "sh",
        "Args": ["-c", "true"],
        "Config": {
            "Env": ["FOO=bar", "BAZ=q=r", "EMPTY", "PATH=/bin"],
            "Labels": {"a.b": "1", "a.c": "2", "other": "3"},
        },
        "HostConfig": {"LogConfig": {"Type": driver, "Config": options or {}}},
    }
    return cast(ContainerRecord, content)


@pytest.mark.parametrize(
    ("driver", "options", "message"),
    [
        ("nope", {}, 'error looking up logging plugin nope: plugin "nope" not found'),
        ("json-file", {"foo": "1"}, "unknown log opt 'foo' for json-file log driver"),
        ("json-file", {"max-size": "many"}, "{}: invalid size: 'many'"),
        ("json-file", {"max-size": "0"}, "{}: max-size must be a positive number"),
        ("json-file", {"max-file": "0"}, "{}: max-file cannot be less than 1"),
        ("json-file", {"max-file": "x"}, '{}: strconv.Atoi: parsing "x": invalid syntax'),
        ("json-file", {"compress": "p"}, '{}: strconv.ParseBool: parsing "p": invalid syntax'),
        (
            "json-file",
            {"compress": "true", "max-file": "1"},
            "{}: compress cannot be true when max-file is less than 2 or max-size is not set",
        ),
        ("json-file", {"max-age": "-1h"}, "{}: max-age must be a positive duration"),
        ("json-file", {"mode": "foo"}, "logger: logging mode not supported: foo"),
        (
            "json-file",
            {"max-buffer-size": "4m"},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            {"mode": "non-blocking", "max-buffer-size": "zz"},
            "error parsing option max-buffer-size: invalid size: 'zz'",
        ),
        ("syslog", {"cache-disabled": "foo"}, "invalid value for option cache-disabled: foo"),
        ("local", {"max-size": "x"}, "{}: invalid value for max-size: x: invalid size: 'x'"),
        ("local", {"max-file": "-1"}, "{}: max file count cannot be less than 0"),
        (
            "local",
            {"max-file": "1"},
            "{}: compression cannot be enabled when max file count is 1",
        ),
        (
            "local",
            {"compress": "x"},
            '{}: error reading compress log option: strconv.ParseBool: parsing "x": invalid syntax',
        ),
        ("local", {"labels": "x"}, "unknown log opt 'labels' for log driver local"),
        ("syslog", {"syslog-address": "foo"}, "unsupported scheme: ''"),
        ("syslog", {"syslog-address": "http://127.0.0.1"}, "unsupported scheme: 'http'"),
        (
            "syslog",
            {"syslog-address": "unix:///nonexist"},
            "stat /nonexist: no such file or directory",
        ),
        ("syslog", {"syslog-facility": "foo"}, "invalid syslog facility"),
        ("syslog", {"syslog-facility": "24"}, "invalid syslog facility"),
        ("syslog", {"syslog-format": "foo"}, "Invalid syslog format"),
        ("syslog", {"foo": "foo"}, "unknown log opt 'foo' for syslog log driver"),
        ("syslog", {"cache-foo": "1"}, "unknown log opt 'cache-foo' for syslog log driver"),
        (
            "fluentd",
            {"fluentd-async": "foo"},
            'strconv.ParseBool: parsing "foo": invalid syntax',
        ),
        (
            "fluentd",
            {"fluentd-async": "true", "fluentd-async-connect": "true"},
            "conflicting options: cannot specify both 'fluentd-async' and 'fluentd-async-connect",
        ),
        (
            "fluentd",
            {"fluentd-address": "foo:bar"},
            'invalid fluentd-address (foo:bar): parse "tcp://foo:bar": '
            'invalid port ":bar" after host',
        ),
        (
            "fluentd",
            {"fluentd-address": "tcp://foo/bar"},
            "invalid fluentd-address (tcp://foo/bar): should not contain a path element",
        ),
        (
            "fluentd",
            {"fluentd-address": "udp://foo"},
            "invalid fluentd-address (udp://foo): unsupported scheme: 'udp'",
        ),
        (
            "fluentd",
            {"fluentd-address": "unix://"},
            "invalid fluentd-address (unix://): path is empty",
        ),
        (
            "fluentd",
            {"fluentd-address": "a:70000"},
            "invalid fluentd-address (a:70000): invalid port: "
            'strconv.ParseUint: parsing "70000": value out of range',
        ),
        ("fluentd", {"fluentd-buffer-limit": "foo"}, "invalid size: 'foo'"),
        ("fluentd", {"fluentd-retry-wait": "foo"}, 'time: invalid duration "foo"'),
        (
            "fluentd",
            {"fluentd-max-retries": "-1"},
            'strconv.ParseUint: parsing "-1": invalid syntax',
        ),
        (
            "fluentd",
            {"fluentd-async-reconnect-interval": "1ms"},
            "invalid value for fluentd-async-reconnect-interval: "
            'value ("1ms") must be between 100ms and 10s',
        ),
        ("fluentd", {"foo": "1"}, "unknown log opt 'foo' for fluentd log driver"),
        ("gelf", {"foo": "1"}, "gelf-address is a required parameter"),
        ("gelf", {**GELF, "foo": "1"}, "unknown log opt 'foo' for gelf log driver"),
        (
            "gelf",
            {"gelf-address": "udp://127.0.0.1"},
            "gelf: please provide gelf-address as proto://host:port",
        ),
        ("gelf", {"gelf-address": "http://h:1"}, "gelf: endpoint needs to be TCP or UDP"),
        (
            "gelf",
            {"gelf-address": "127.0.0.1:1"},
            'parse "127.0.0.1:1": first path segment in URL cannot contain colon',
        ),
        (
            "gelf",
            {**GELF, "gelf-compression-type": "foo"},
            'unknown value "foo" for log opt "gelf-compression-type" for gelf log driver',
        ),
        (
            "gelf",
            {**GELF, "gelf-compression-level": "10"},
            'unknown value "10" for log opt "gelf-compression-level" for gelf log driver',
        ),
        (
            "gelf",
            {**GELF_TCP, "gelf-compression-level": "1"},
            "compression is only supported on UDP",
        ),
        (
            "gelf",
            {**GELF, "gelf-tcp-max-reconnect": "2"},
            '"gelf-tcp-max-reconnect" is only valid for TCP',
        ),
        (
            "gelf",
            {**GELF_TCP, "gelf-tcp-max-reconnect": "-2"},
            '"gelf-tcp-max-reconnect" must be a positive integer',
        ),
        ("journald", {"foo": "1"}, "unknown log opt 'foo' for journald log driver"),
        (
            "json-file",
            {"tag": "{{.Foo}}"},
            'template: log-tag:1:2: executing "log-tag" at <.Foo>: '
            "can't evaluate field Foo in type *logger.Info",
        ),
        ("json-file", {"tag": "{{.ID"}, "template: log-tag:1: unclosed action"),
    ],
)
def test_wrong_options_are_refused_in_dockers_words(
    driver: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        make_plan(record(driver, options), "/log")
    assert str(refused.value) == message.replace("{}", FAILED)


def test_a_wrong_regular_expression_is_named() -> None:
    with pytest.raises(InvalidArgument, match=r"^error parsing regexp: .*: `\(`$"):
        make_plan(record(options={"env-regex": "("}), "/log")


@pytest.mark.parametrize("driver", ["awslogs", "gcplogs", "splunk"])
def test_dockers_drivers_for_other_services_are_refused(driver: str) -> None:
    with pytest.raises(Unsupported, match=f"log driver '{driver}' is not supported"):
        check_options(driver, {})


def test_logs_are_bounded_by_default() -> None:
    plan = make_plan(record(), "/log")["file"]
    assert (plan["max_size"], plan["max_files"], plan["compress"]) == (20 << 20, 5, False)
    assert plan["path"] == "/log/" + record()["Id"] + "-json.log"
    assert plan["attributes"] == {}
    assert file_options("local", {})["compress"]


def test_limits() -> None:
    assert file_options("json-file", {"max-size": "-1"})["max_size"] == -1
    assert file_options("json-file", {"max-size": "10m"})["max_size"] == 10_000_000  # as Docker
    assert file_options("local", {"max-file": "1", "compress": "false"})["max_files"] == 1
    assert file_options("json-file", {"max-age": "7d"})["max_age_s"] == 7 * 86400
    assert file_options("json-file", {"max-age": "1h30m"})["max_age_s"] == 5400


def test_labels_variables_and_tag_become_attributes() -> None:
    options = {
        "labels": "other,missing",
        "labels-regex": r"^a\.",
        "env": "BAZ,EMPTY",
        "env-regex": "^FO",
        "tag": "{{.Name}}/{{.ID}}/{{.ImageName}}/{{.ImageID}}/{{.DaemonName}}",
    }
    assert make_plan(record(options=options), "/log")["file"]["attributes"] == {
        "BAZ": "q=r",
        "FOO": "bar",
        "a.b": "1",
        "a.c": "2",
        "other": "3",
        "tag": "box/0123456789ab/busybox/sha256:55555/docker",
    }


@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("none", {"anything": "goes"}),
        ("syslog", {**UDP, "mode": "non-blocking", "cache-disabled": "true"}),
        ("syslog", {"syslog-address": "tcp+tls://h", "syslog-tls-ca-cert": "/ca"}),
        ("fluentd", {"fluentd-address": "tls://h:1", "fluentd-request-ack": "1"}),
        ("gelf", GELF),
        ("journald", {"labels": "a.b"}),
    ],
)
def test_a_plan_is_json(driver: str, options: dict[str, str]) -> None:
    plan = make_plan(record(driver, options), "/log")
    assert json.loads(json.dumps(plan)) == plan


def test_remote_drivers_keep_a_copy() -> None:
    plan = make_plan(record("syslog", UDP), "/log")
    assert plan["cache"]["path"] == "/log/container-cached.log"
    assert plan["cache"]["compress"] and plan["cache"]["max_files"] == 5
    plan = make_plan(record("syslog", {**UDP, "cache-max-size": "1m"}), "/log")
    assert plan["cache"]["max_size"] == 1_000_000
    plan = make_plan(record("syslog", {**UDP, "cache-disabled": "true"}), "/log")
    assert plan["cache"] is None
    assert readable("syslog", {}) and not readable("syslog", {"cache-disabled": "1"})
    assert not readable("none", {})


def test_a_ring_has_its_size() -> None:
    target = make_plan(record("syslog", {**UDP, "mode": "non-blocking"}), "/log")["target"]
    assert (target["mode"], target["limit"]) == ("non-blocking", 1_000_000)
    options = {**UDP, "mode": "non-blocking", "max-buffer-size": "4m"}
    assert make_plan(record("syslog", options), "/log")["target"]["limit"] == 4 << 20


def test_the_settings_choose_for_containers_that_name_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"log-driver": "local", "log-opts": {"max-size": "1m", "max-file": "7"}}'
    )
    root = str(tmp_path)
    assert with_defaults({}, root)["LogConfig"] == {
        "Type": "local",
        "Config": {"max-size": "1m", "max-file": "7"},
    }
    mine: dict[str, Any] = {"LogConfig": {"Type": "local", "Config": {"max-file": "2"}}}
    assert with_defaults(mine, root)["LogConfig"]["Config"] == {"max-size": "1m", "max-file": "2"}
    other: dict[str, Any] = {"LogConfig": {"Type": "json-file", "Config": None}}
    assert with_defaults(other, root)["LogConfig"] == {"Type": "json-file", "Config": {}}


def test_settings_that_are_wrong_say_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"log-opts": 3}')
    with pytest.raises(JubakoError, match="config.json"):
        with_defaults({}, str(tmp_path))
