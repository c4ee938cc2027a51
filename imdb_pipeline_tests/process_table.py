"""Which processes there are, on Linux and macOS: the dead that nobody has waited for are left out."""

import subprocess


def members(group: int) -> list[str]:
    """Return the command lines of a process group."""
    return [command for _, _, its, command in _table() if its == group]


def children(pid: int) -> dict[int, str]:
    """Return the processes that a process has started, with their command lines."""
    return {child: command for child, parent, _, command in _table() if parent == pid}


def _table() -> list[tuple[int, int, int, str]]:
    columns = ["ps", "-A", "-ww", "-o", "pid=,ppid=,pgid=,stat=,args="]
    lines = subprocess.run(columns, capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split(None, 4) for line in lines]
    return [(int(row[0]), int(row[1]), int(row[2]), row[4]) for row in rows if len(row) == 5 and "Z" not in row[3]]
