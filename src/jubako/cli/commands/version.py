"""`jubako version`: which versions of what are at work."""

from __future__ import annotations

from jubako.cli import table
from jubako.cli.flags import STRING, Command, Flag
from jubako.cli.inspecting import Struct, write_one

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jubako.cli.flags import Call
    from jubako.cli.session import Session

COMMAND = Command("[OPTIONS]", (Flag("format", "f", STRING),))


def run(session: Session, call: Call) -> int:
    layout = call.text("format")
    server = session.engine.version()
    data = {"Client": client(server), "Server": server}
    if not layout:
        session.out(_page(data))
        return 0
    return write_one(session, Struct("system.versionInfo", data), layout)


def client(server: Any) -> dict[str, Any]:
    """There is no daemon: command line and engine are one program."""
    return {
        "Version": server["Version"],
        "ApiVersion": server["ApiVersion"],
        "DefaultAPIVersion": server["ApiVersion"],
        "GitCommit": server.get("GitCommit", ""),
        "Os": server["Os"],
        "Arch": server["Arch"],
        "BuildTime": server.get("BuildTime", ""),
        "Context": "default",
    }


def _page(data: Any) -> str:
    client, server = data["Client"], data["Server"]
    lines = [
        "Client:",
        f" Version:\t{client['Version']}",
        f" API version:\t{client['ApiVersion']}",
        f" OS/Arch:\t{client['Os']}/{client['Arch']}",
        f" Context:\t{client['Context']}",
        "",
        "Server:",
    ]
    for component in server.get("Components") or ():
        details = component.get("Details") or {}
        lines.append(f" {component['Name']}:")
        lines.append(f"  Version:\t{component['Version']}")
        if component["Name"] == "Engine":
            minimum = f"(minimum version {details['MinAPIVersion']})"
            lines.append(f"  API version:\t{details['ApiVersion']} {minimum}")
            lines.append(f"  Python version:\t{details['PythonVersion']}")
            lines.append(f"  OS/Arch:\t{details['Os']}/{details['Arch']}")
            lines.append(f"  Kernel version:\t{details['KernelVersion']}")
            lines.append(f"  Experimental:\t{details['Experimental']}")
        else:
            lines += [f"  {name}:\t{details[name]}" for name in sorted(details)]
    return table.align("\n".join(lines), minimum=20, padding=1)
