"""config.json: what is read, and with which words the rest is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument
from jubako.store import settings


def _load(root: Path, text: str) -> settings.Settings:
    (root / "config.json").write_text(text)
    return settings.load(str(root))


def test_a_root_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    found = settings.load(str(tmp_path))
    assert (found.log_driver, found.log_opts) == ("json-file", {})
    assert (found.record_keep_s, found.record_interval_s) == (7 * 24 * 3600, 30)
    assert found.cdi_spec_dirs == ("/etc/cdi", "/var/run/cdi")


@pytest.mark.parametrize("text", ["", "  \n", "{}"])
def test_an_empty_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert _load(tmp_path, text).record_interval_s == 30


def test_every_key(tmp_path: Path) -> None:
    found = _load(
        tmp_path,
        json.dumps(
            {
                "log-driver": "local",
                "log-opts": {"max-size": "1m"},
                "record-keep": "1h30m",
                "record-interval": "2s",
                "cdi-spec-dirs": ["/a", "/b"],
            }
        ),
    )
    assert (found.log_driver, found.log_opts) == ("local", {"max-size": "1m"})
    assert (found.record_keep_s, found.record_interval_s) == (5400, 2)
    assert found.cdi_spec_dirs == ("/a", "/b")


def test_keys_of_images(tmp_path: Path) -> None:
    keys = {
        "storage-driver": "overlay",
        "blobs": "rebuild",
        "registry-mirrors": {"ghcr.io/org": ["https://a", "http://localhost:5000"]},
        "insecure-registries": ["10.0.0.0/8", "host:80"],
        "max-concurrent-downloads": 1,
        "max-concurrent-uploads": 2,
        "max-download-attempts": 3,
    }
    found = _load(tmp_path, json.dumps(keys))
    assert (found.storage_driver, found.blobs) == ("overlay", "rebuild")
    assert found.registry_mirrors == {"ghcr.io/org": ("https://a", "http://localhost:5000")}
    assert found.insecure_registries == ("10.0.0.0/8", "host:80")
    assert (found.max_concurrent_downloads, found.max_concurrent_uploads) == (1, 2)
    assert found.max_download_attempts == 3
    as_in_docker = _load(tmp_path, '{"registry-mirrors": ["https://m"]}')
    assert as_in_docker.registry_mirrors == {"docker.io": ("https://m",)}


def test_zero_samples_nothing(tmp_path: Path) -> None:
    assert _load(tmp_path, '{"record-interval": "0"}').record_interval_s == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Expecting property name"),
        ("[]", "it is not a JSON object"),
        ("\xff", "Expecting value"),
        ('{"hosts": []}', "don't match any configuration option: hosts"),
        ('{"log-driver": 1}', "log-driver: not a text: 1"),
        ('{"log-opts": {"a": 1}}', "log-opts: not an object of texts"),
        ('{"record-keep": "7d"}', 'record-keep: time: unknown unit "d" in duration "7d"'),
        ('{"record-keep": "-1h"}', "record-keep: -1h is less than nothing"),
        ('{"record-interval": "10ms"}', "record-interval: 10ms is too short"),
        ('{"cdi-spec-dirs": ["relative"]}', "cdi-spec-dirs: not a list of absolute paths"),
        ('{"storage-driver": "btrfs"}', "storage-driver: 'btrfs' is none of auto, erofs, overlay"),
        ('{"blobs": true}', "blobs: not a text: True"),
        ('{"registry-mirrors": "x"}', "registry-mirrors: neither a list nor an object of lists"),
        ('{"registry-mirrors": {"a": [1]}}', "registry-mirrors: a: not a list of texts"),
        ('{"insecure-registries": [""]}', "insecure-registries: not a list of texts"),
        ('{"max-concurrent-downloads": 0}', "max-concurrent-downloads: not a number from 1 to 64"),
        (" " * (1 << 20) + "{}", "it is larger than 1048576 bytes"),
    ],
)
def test_bad_content_is_refused_with_the_file_and_the_reason(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        _load(tmp_path, text)
    assert f"unable to configure the engine with file {tmp_path}/config.json: " in str(caught.value)
    assert words in str(caught.value)
