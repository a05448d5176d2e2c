"""--security-opt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jubako.containers.definition import security
from jubako.errors import InvalidArgument
from jubako.oci import runtime_defaults


def test_nothing_given() -> None:
    options = security.parse([])
    assert (options.seccomp, options.apparmor, options.no_new_privileges) == ("", "", False)
    assert options.writable_cgroups is None


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("no-new-privileges", True),
        ("no-new-privileges:true", True),
        ("no-new-privileges=true", True),
        ("no-new-privileges=1", True),
        ("no-new-privileges:false", False),
    ],
)
def test_no_new_privileges(option: str, expected: bool) -> None:
    assert security.parse([option]).no_new_privileges is expected


def test_other_options() -> None:
    options = security.parse(
        ["seccomp=unconfined", "apparmor:profile", "writable-cgroups=true", "label=type:x_t"]
    )
    assert options.seccomp == "unconfined"
    assert options.apparmor == "profile"
    assert options.writable_cgroups is True
    assert security.parse(["writable-cgroups"]).writable_cgroups is True
    assert security.parse(["label=disable"]).process_label == ""


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("foo", 'invalid --security-opt 1: "foo"'),
        ("foo=bar", 'invalid --security-opt 2: "foo=bar"'),
        ("no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'),
        ("label=nonsense", 'bad label option "nonsense"'),
        ("label=colour:red", 'bad label option "colour:red"'),
    ],
)
def test_bad_options(option: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        security.parse([option])
    assert str(caught.value) == message


def test_seccomp_choices() -> None:
    names = runtime_defaults.CAPABILITIES
    default = security.seccomp(security.parse([]), names, privileged=False)
    assert default is not None and default["defaultAction"] == "SCMP_ACT_ERRNO"
    assert security.seccomp(security.parse(["seccomp=builtin"]), names, privileged=False) == default
    unconfined = security.parse(["seccomp=unconfined"])
    assert security.seccomp(unconfined, names, privileged=False) is None
    own = security.parse(['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'])
    assert security.seccomp(own, names, privileged=False) == {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [],
    }


def test_privileged_has_a_filter_only_when_asked() -> None:
    assert security.seccomp(security.parse([]), (), privileged=True) is None
    asked = security.parse(['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'])
    assert security.seccomp(asked, (), privileged=True) is not None


@given(st.text(max_size=40))
def test_any_text_is_an_option_or_refused(text: str) -> None:
    try:
        security.parse([text])
    except InvalidArgument:
        pass
