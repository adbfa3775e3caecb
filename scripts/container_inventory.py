"""List what a container holds: an SBOM in CycloneDX and one line of licence for each part.

Usage: container_inventory.py ENVIRONMENT FOLDER [DEBIAN]. ENVIRONMENT is the virtual
environment that holds cereflow, DEBIAN a file with one `package<TAB>version` per line. Runs with
the Python that has cyclonedx-bom.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

SBOM = "sbom.cdx.json"
LICENCES = "licences.tsv"
COPYRIGHTS = Path("/usr/share/doc")
# How the licence texts that are not machine-readable speak of a licence that every Debian carries.
COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+-]*[A-Za-z0-9])")
MACHINE_READABLE = re.compile(r"^Format", re.MULTILINE)
STATED = re.compile(r"^License:[ \t]*(\S.*)$", re.MULTILINE)
# Longer than this, the field of a wheel holds the licence's text and not its name.
LONGEST_NAME = 100


def python_licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """Return the licence that a Python package states of itself, or `unstated`."""
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License :: ") and line != "License :: OSI Approved"
    ]
    if classifiers:
        return "; ".join(classifiers)
    field = (metadata.get("License") or "").strip()
    if field and len(field) <= LONGEST_NAME and "\n" not in field:
        return field
    texts = metadata.get_all("License-File") or []
    if texts:
        return f"see {', '.join(texts)}"
    return "several: see the METADATA of its dist-info" if field else "unstated"


def debian_licence(package: str, copyrights: Path = COPYRIGHTS) -> str:
    """Return the names in a Debian package's copyright file, or `unstated`."""
    path = copyrights / package.partition(":")[0] / "copyright"
    if not path.is_file():
        return "unstated"
    text = path.read_text(encoding="utf-8", errors="replace")
    if MACHINE_READABLE.search(text):
        return "; ".join(sorted({name.strip() for name in STATED.findall(text)}))
    named = ", ".join(sorted(set(COMMON.findall(text))))
    return f"see {path}" + (f", which names {named} among others" if named else "")


def python_parts(environment: Path) -> list[tuple[str, str, str]]:
    """Return name, version and licence of every Python package of an environment."""
    folders = [str(folder) for folder in environment.glob("lib/python3*/site-packages")]
    found = importlib.metadata.distributions(path=folders)
    parts = {(d.metadata["Name"], d.version, python_licence(d.metadata)) for d in found}
    return sorted(parts, key=lambda part: part[0].lower())


def debian_parts(listing: Path) -> list[tuple[str, str, str]]:
    """Return name, version and licence of every Debian package in a listing."""
    rows = [line.split("\t") for line in listing.read_text(encoding="utf-8").splitlines()]
    return sorted((name, version, debian_licence(name)) for name, version in rows)


def sbom(environment: Path, debian: list[tuple[str, str, str]]) -> dict:
    """Return the CycloneDX document of the environment, Debian packages included."""
    program = Path(sys.executable).parent / "cyclonedx-py"
    command = [program, "environment", "--output-reproducible", "--output-format", "JSON"]
    command += ["--spec-version", "1.6", environment / "bin" / "python"]
    document = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    # The one thing in it that is not of the container but of the hour of its making.
    document["metadata"].pop("timestamp", None)
    for name, version, licence in debian:
        bare, _, architecture = name.partition(":")
        suffix = f"?arch={architecture}" if architecture else ""
        component = {
            "type": "library",
            "bom-ref": f"deb:{name}",
            "name": bare,
            "version": version,
            "licenses": [{"license": {"name": licence}}],
            "purl": f"pkg:deb/debian/{bare}@{version.replace(':', '%3A')}{suffix}",
        }
        document["components"].append(component)
    return document


def main() -> None:
    """Write both lists."""
    environment, folder = Path(sys.argv[1]).absolute(), Path(sys.argv[2])
    debian = debian_parts(Path(sys.argv[3])) if len(sys.argv) > 3 else []
    document = json.dumps(sbom(environment, debian), indent=1, sort_keys=True)
    (folder / SBOM).write_text(document + "\n", encoding="utf-8")
    lines = ["kind\tname\tversion\tlicence"]
    for kind, parts in (("python", python_parts(environment)), ("debian", debian)):
        lines += ["\t".join((kind, *part)) for part in parts]
    (folder / LICENCES).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
