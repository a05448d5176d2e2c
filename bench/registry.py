"""A registry on the loopback of Docker's network namespace, for all sides."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from side import enter_network_of

from jubako.linux import prctl

_START_S = 10.0


class Registry:
    """Debian's `docker-registry`, with everything it holds below `directory`.

    A context manager: it runs inside the block, in the network namespace of process `network_of`.
    """

    def __init__(self, directory: Path, port: int, network_of: int):
        self._directory = directory
        self._network_of = network_of
        self._process: subprocess.Popen[bytes] | None = None
        self._port = port

    @property
    def address(self) -> str:
        """Host and port, as image names begin with."""
        return f"127.0.0.1:{self._port}"

    def __enter__(self) -> Registry:
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "log: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self._directory}/data}}}}\n"
            f"http: {{addr: '{self.address}'}}\n"
        )
        self._process = subprocess.Popen(
            ["docker-registry", "serve", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=self._settle,
        )
        self._wait()
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()

    def files(self) -> Iterator[Path]:
        """Everything that it holds."""
        return (path for path in self._directory.rglob("*") if path.is_file())

    def empty(self) -> None:
        """Start again, at the same address, with nothing in it."""
        self.__exit__()
        shutil.rmtree(self._directory / "data", ignore_errors=True)
        self.__enter__()

    def copy(self, archive: Path, name: str) -> None:
        """Put the image of an archive there, with gzip layers, if there is none of that name."""
        target = f"docker://{name}"
        tls = "--tls-verify=false"
        if self._skopeo("inspect", tls, "--raw", target).returncode == 0:
            return
        done = self._skopeo(
            "copy", "--insecure-policy", f"--dest-{tls[2:]}", f"docker-archive:{archive}", target
        )
        if done.returncode:
            raise RuntimeError(f"skopeo copy to {name}: {done.stderr}")

    def _skopeo(self, command: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["skopeo", command, *args],
            capture_output=True,
            text=True,
            preexec_fn=lambda: enter_network_of(self._network_of),
        )

    def _settle(self) -> None:
        prctl.set_pdeathsig(signal.SIGKILL)
        enter_network_of(self._network_of)

    def _wait(self) -> None:
        listening = f"0100007F:{self._port:04X} 00000000:0000 0A"  # proc_net(5): LISTEN
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if listening in Path(f"/proc/{self._network_of}/net/tcp").read_text():
                return
            time.sleep(0.02)
        raise RuntimeError(f"docker-registry does not listen at {self.address}")
