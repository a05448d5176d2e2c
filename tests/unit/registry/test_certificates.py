from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from jubako.errors import InvalidArgument
from jubako.registry import certificates


def test_the_usual_places() -> None:
    for_root = certificates.default_directories({"HOME": "/home/me"}, root=True)
    assert for_root == ("/etc/docker/certs.d", "/etc/containers/certs.d", "/etc/jubako/certs.d")
    for_me = certificates.default_directories({"HOME": "/home/me"}, root=False)
    assert for_me == (
        *for_root,
        "/home/me/.config/docker/certs.d",
        "/home/me/.config/containers/certs.d",
        "/home/me/.config/jubako/certs.d",
    )
    assert certificates.default_directories({}, root=False) == for_root


def put(directory: Path, *names: str) -> None:
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).touch()


def test_the_files_of_a_host_from_all_directories(tmp_path: Path) -> None:
    put(tmp_path / "a" / "reg.example:5000", "ca.crt", "me.cert", "me.key", "README")
    put(tmp_path / "b" / "reg.example:5000", "other.crt")
    put(tmp_path / "b" / "reg.example", "no.crt")
    found = certificates.find([f"{tmp_path}/a", f"{tmp_path}/b"], "reg.example", 5000)
    here = f"{tmp_path}/a/reg.example:5000"
    assert found.authorities == (f"{here}/ca.crt", f"{tmp_path}/b/reg.example:5000/other.crt")
    assert found.pairs == ((f"{here}/me.cert", f"{here}/me.key"),)


def test_the_port_of_https_need_not_be_named(tmp_path: Path) -> None:
    put(tmp_path / "reg.example", "a.crt")
    put(tmp_path / "reg.example:443", "b.crt")
    found = certificates.find([str(tmp_path)], "reg.example", 443)
    assert [Path(path).name for path in found.authorities] == ["b.crt", "a.crt"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("me.cert", "missing key me.key"), ("me.key", "missing client certificate me.cert")],
)
def test_a_certificate_without_its_other_half(tmp_path: Path, name: str, message: str) -> None:
    put(tmp_path / "h:1", name)
    with pytest.raises(InvalidArgument, match=message):
        certificates.find([str(tmp_path)], "h", 1)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    put(tmp_path / "h:1", "bad.crt")
    files = certificates.find([str(tmp_path)], "h", 1)
    with pytest.raises(InvalidArgument, match=r"certificate of a registry .*bad\.crt"):
        certificates.make_context(files, verify=True)


def test_verification_is_complete_or_absent() -> None:
    none = certificates.Certificates((), ())
    checked = certificates.make_context(none, verify=True)
    assert (checked.check_hostname, checked.verify_mode) == (True, ssl.CERT_REQUIRED)
    free = certificates.make_context(none, verify=False)
    assert (free.check_hostname, free.verify_mode) == (False, ssl.CERT_NONE)
    assert checked.minimum_version == free.minimum_version == ssl.TLSVersion.TLSv1_2
