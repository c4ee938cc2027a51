"""What a page that stands alone holds in itself: pictures, and hashes by which its policy lets its script run."""

from __future__ import annotations

import base64
import hashlib


def png_address(png: bytes) -> str:
    """Return a PNG as an address that stands for its bytes."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def csp_hash(text: str) -> str:
    """Return what lets a browser run, or apply, this text alone (Content Security Policy Level 3, section 2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
