"""What the user is told when a program cannot be started, word for word as Docker says it."""

from __future__ import annotations

import os
from typing import Any

import pytest

from jubako.errors import StartError
from tests.integration.runtime_tools import Box, box, in_child, rootfs

__all__ = ["box", "rootfs"]

CREATE = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
    "jubako-runtime create failed: unable to start container process: "
)
EXEC = "OCI runtime exec failed: exec failed: unable to start container process: "

NOT_FOUND = [
    (["nope"], 'exec: "nope": executable file not found in $PATH: unknown', 127),
    ([""], 'exec: "": executable file not found in $PATH: unknown', 127),
    (["etc"], 'exec: "etc": executable file not found in $PATH: unknown', 127),
    (["/nope"], 'exec: "/nope": stat /nope: no such file or directory: unknown', 127),
    (["/etc"], 'exec: "/etc": is a directory: unknown: permission denied', 126),
    (["./etc"], 'exec: "./etc": is a directory: unknown: permission denied', 126),
    (["etc/passwd"], 'exec: "etc/passwd": permission denied: unknown', 126),
    (["/etc/passwd"], 'exec: "/etc/passwd": permission denied: unknown', 126),
]


def failure(call: Any) -> tuple[str, int]:
    with pytest.raises(StartError) as caught:
        call()
    return caught.value.message, caught.value.exit_code


@pytest.mark.parametrize(("args", "text", "code"), NOT_FOUND)
def test_create_names_a_program_that_cannot_run(
    args: list[str], text: str, code: int, box: Box
) -> None:
    assert in_child(lambda: failure(lambda: box.run(*args))) == (CREATE + text, code)


def test_exec_names_a_program_that_cannot_run(box: Box) -> None:
    def scenario() -> list[tuple[str, int]]:
        box.start("sleep", "1000")
        return [failure(lambda args=args: box.exec(*args)) for args, _, _ in NOT_FOUND]

    assert in_child(scenario) == [(EXEC + text, code) for _, text, code in NOT_FOUND]


def test_start_names_a_program_that_the_kernel_refuses(box: Box) -> None:
    for name, content in (("badinterp", "#!/no/such/file\n"), ("badformat", "garbage\n")):
        (box.rootfs / "bin" / name).write_text(content)
        (box.rootfs / "bin" / name).chmod(0o755)

    def scenario() -> list[tuple[str, int]]:
        found = [failure(lambda name=name: box.run(name)) for name in ("badinterp", "badformat")]
        box.start("sleep", "1000")
        return [*found, failure(lambda: box.exec("badformat"))]

    start = "OCI runtime start failed: unable to start container process: "
    assert in_child(scenario) == [
        (start + "exec /bin/badinterp: no such file or directory: unknown", 127),
        (start + "exec /bin/badformat: exec format error: unknown", 126),
        (EXEC + "exec /bin/badformat: exec format error: unknown", 126),
    ]


def test_the_search_goes_by_the_path_of_the_container(box: Box) -> None:
    (box.rootfs / "opt").mkdir()
    os.link(box.rootfs / "bin/busybox", box.rootfs / "opt/hostname")

    def scenario() -> None:
        assert box.run("hostname", env=["PATH=/opt"]).status == 0
        for path in ("PATH=", "PATH=/nope", "X=/bin"):
            message, code = failure(lambda path=path: box.run("true", env=[path]))
            assert (code, "executable file not found in $PATH" in message) == (127, True)
        message, code = failure(lambda: box.run("hostname", env=["PATH=opt"]))
        assert "cannot run executable found relative to current directory" in message

    in_child(scenario)


def test_the_lookup_is_that_of_the_user(box: Box) -> None:
    (box.rootfs / "bin/secret").write_text("#!/bin/sh\n")
    (box.rootfs / "bin/secret").chmod(0o700)

    def scenario() -> None:
        assert box.run("secret").status == 0
        message, code = failure(lambda: box.run("/bin/secret", user={"uid": 1000, "gid": 1000}))
        assert (code, message.endswith("permission denied: unknown")) == (126, True)

    in_child(scenario)


def test_a_missing_working_directory_is_made_for_init_and_an_error_for_exec(box: Box) -> None:
    def scenario() -> None:
        assert box.run("pwd", cwd="/new/dir").output == "/new/dir\n"
        message, code = failure(lambda: box.run("pwd", cwd="/etc/passwd"))
        assert 'cwd ("/etc/passwd") set in config.json failed: not a directory' in message
        box.start("sleep", "1000")
        assert failure(lambda: box.exec("pwd", cwd="/nope")) == (
            EXEC + 'chdir to cwd ("/nope") set in config.json failed: '
            "no such file or directory: unknown",
            128,
        )

    in_child(scenario)
