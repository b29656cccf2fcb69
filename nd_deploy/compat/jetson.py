"""What a Jetson says of itself."""

from __future__ import annotations

import re
from pathlib import Path


def jetson_release(path: Path) -> str | None:
    """The release of Jetson Linux, such as "36.4.3"; None where its file is not.

    Args:
        path: of the file, /etc/nv_tegra_release.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else None
