"""What a container may do, read off the engine and off the container itself.

    python -m tests.stack.scan CONTAINER...

prints what is wrong with each, and ends with 1 if anything is.
"""

from __future__ import annotations

import json
import subprocess
import sys

# The kernel's own, in every container.
KERNEL = {"/dev/mqueue", "/dev/shm"}
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def writable(container: str) -> set[str]:
    """The paths that compose.yaml names as those to write to: volumes, and folders in memory."""
    (told,) = json.loads(_docker("inspect", container))
    volumes = {mount["Destination"] for mount in told["Mounts"] if mount["RW"]}
    return volumes | set(told["HostConfig"].get("Tmpfs") or {})


def faults(container: str) -> list[str]:
    """What is wrong; an empty list if nothing is."""
    (told,) = json.loads(_docker("inspect", container))
    host, found = told["HostConfig"], []
    if not host["ReadonlyRootfs"]:
        found.append("its root file system can be written")
    if host["Privileged"] or host["CapAdd"] or host["CapDrop"] != ["ALL"]:
        found.append("it has capabilities")
    if not any(option.startswith("no-new-privileges") for option in host["SecurityOpt"] or ()):
        found.append("it may gain privileges")
    if not host["Memory"] or not host["PidsLimit"]:
        found.append("its memory or processes have no limit")
    if "host" in (host["NetworkMode"], host["PidMode"], host["IpcMode"], host["UTSMode"]):
        found.append("it shares a namespace with the machine")
    for port, bindings in (host["PortBindings"] or {}).items():
        found += [
            f"{port} is published on {one['HostIp'] or 'every address'}"
            for one in bindings
            if one["HostIp"] != "127.0.0.1"
        ]
    found += [
        f"{mount['Source']} of the machine can be written"
        for mount in told["Mounts"]
        if mount["Type"] == "bind" and mount["RW"]
    ]
    return [*found, *_processes(container), *_paths(container)]


def _processes(container: str) -> list[str]:
    found = []
    for status in _docker("exec", container, "sh", "-c", "cat /proc/[0-9]*/status").split("Name:"):
        facts = dict(line.split(":\t", 1) for line in status.splitlines()[1:] if ":\t" in line)
        name = status.split("\n", 1)[0].strip()
        if not facts:
            continue
        if "0" in facts["Uid"].split() + facts["Gid"].split():
            found.append(f"{name} runs as root")
        if any(int(facts[kind], 16) for kind in CAPABILITIES):
            found.append(f"{name} has capabilities")
        if facts["NoNewPrivs"].strip() != "1":
            found.append(f"{name} may gain privileges")
    return found


def _paths(container: str) -> list[str]:
    """Where it can write, as the kernel decides and not as was asked for."""
    look = "find / '(' -path /proc -o -path /sys ')' -prune -o -type d -writable -print"
    found = _docker("exec", container, "sh", "-c", f"{look} 2>/dev/null; true").splitlines()
    # /var/run is a link to /run in most images.
    named = {
        path.removeprefix("/var") if path.startswith("/var/run/") else path
        for path in writable(container)
    } | KERNEL
    return [
        f"{path} can be written"
        for path in found
        if not any(path == one or path.startswith(f"{one}/") for one in named)
    ]


def main(containers: list[str]) -> None:
    found = {container: faults(container) for container in containers}
    for container, wrong in found.items():
        print(f"{container}: {'; '.join(wrong) or 'nothing found'}")
    sys.exit(any(found.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
