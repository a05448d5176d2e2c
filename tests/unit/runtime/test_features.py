"""The features object, and the words of failures."""

from __future__ import annotations

import errno

import pytest

from jubako.errors import KernelError, StartError
from jubako.runtime import words
from jubako.runtime.features import features


def test_the_features_are_those_of_the_specification() -> None:
    found = features()
    assert found["ociVersionMin"] == "1.0.0"
    assert {"createRuntime", "createContainer", "startContainer"} <= set(found["hooks"])
    assert {"rro", "rbind", "tmpcopyup", "nosuid"} <= set(found["mountOptions"])
    linux = found["linux"]
    assert {"user", "time", "cgroup"} <= set(linux["namespaces"])
    assert linux["capabilities"][0] == "CAP_CHOWN"
    assert linux["seccomp"]["enabled"]
    assert "SCMP_ACT_NOTIFY" not in linux["seccomp"]["actions"]
    assert linux["cgroup"] == {
        "v1": True,
        "v2": True,
        "systemd": False,
        "systemdUser": False,
        "rdma": True,
    }


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (words.program_not_in_path("x"), 127, 'exec: "x": executable file not found in $PATH'),
        (
            words.program_error("/x", errno.ENOENT, stat=True),
            127,
            'exec: "/x": stat /x: no such file or directory',
        ),
        (words.program_error("/x", errno.EACCES), 126, 'exec: "/x": permission denied'),
        (words.execute_error("/x", errno.ENOEXEC), 126, "exec /x: exec format error"),
        (words.execute_error("/x", errno.ENOENT), 127, "exec /x: no such file or directory"),
    ],
)
def test_words_and_codes(error: StartError, code: int, text: str) -> None:
    assert (error.exit_code, error.message) == (code, text)
    bare = words.whole(error, "")
    assert bare.message == f"unable to start container process: {text}"
    assert bare.exit_code == code
    assert words.whole(error, words.EXEC).message == f"{words.EXEC}{bare.message}: unknown"


def test_a_failed_step_names_operation_and_path() -> None:
    error = words.init_error(KernelError("mount", errno.ENOTDIR, path="/etc/hosts", detail="bind"))
    assert error.exit_code == 128
    assert error.message == (
        "error during container init: mount /etc/hosts (bind): Not a directory"
    )
    assert error.hint is not None and "mount a directory onto a file" in error.hint
