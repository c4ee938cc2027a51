"""Print what pyproject.toml and the extras named after it require, one a line: an image installs it before the code."""

import sys
import tomllib
from pathlib import Path

path, *extras = sys.argv[1:]
project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
required = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
print("\n".join(required))
