"""Lays the Python package of Milvus out as its own images are: `bin`, `lib` and `configs`.

unpack.py FOLDER TO, where FOLDER has the wheel. It needs nothing but a Python: it runs while an image is built.
"""

import lzma
import re
import sys
import zipfile
from pathlib import Path, PurePosixPath

#: `{{ port(int): 19530 }}` in the package's configuration: what its own starter fills in, and what stands there else.
_FILLED_IN = re.compile(r"\{\{\s*\w+(?:\(\w+\))?(?::\s*(?P<usual>.*?))?\s*\}\}")


def unpack(wheel: Path, to: Path) -> None:
    """Write the program, its libraries and its configuration."""
    for folder in ("bin", "lib", "configs"):
        (to / folder).mkdir(parents=True)
    with zipfile.ZipFile(wheel) as package:
        for name in package.namelist():
            file = PurePosixPath(name)
            # The library that finds addresses belongs to the C library, which is the image's own.
            if file.suffix == ".lzma" and not file.name.startswith("libresolv"):
                path = to / ("bin" if file.stem == "milvus" else "lib") / file.stem
                path.write_bytes(lzma.decompress(package.read(name)))
                path.chmod(0o755)
            elif file.name == "config.yaml.template":
                filled = _FILLED_IN.sub(lambda found: found["usual"] or "", package.read(name).decode())
                (to / "configs/milvus.yaml").write_text(filled)
            elif file.name == "glog.conf":
                (to / "configs/glog.conf").write_bytes(package.read(name))


if __name__ == "__main__":
    (found,) = Path(sys.argv[1]).glob("*.whl")
    unpack(found, Path(sys.argv[2]))
