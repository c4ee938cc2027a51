"""What a check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    check
        What was looked at.
    status
        ``ok``; ``warn``: it works, but not as well as it could, or not for long; ``fail``: a run would not succeed.
    found
        What is so.
    advice
        What to do; empty where nothing is to be done.
    """

    check: str
    status: str
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check, "ok", found)


def warn(check: str, found: str, advice: str) -> Finding:
    return Finding(check, "warn", found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    return Finding(check, "fail", found, advice)
