"""What `pip install ./folder` does for a package of pure Python: a copy, its name, version and entry points."""

import shutil
import tomllib


def install(folder, site):
    """Copy the package of the same name that a folder with a pyproject.toml holds, and describe it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shutil.copytree(folder / folder.name, site / folder.name)
    describe(site, project["name"], project["version"], project["entry-points"])


def describe(site, name, version, entry_points):
    """Write what tells Python of a package: `entry_points` maps groups to names to "module:Attribute"."""
    information = site / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [
        f"[{group}]\n" + "".join(f"{entry} = {value}\n" for entry, value in entries.items())
        for group, entries in entry_points.items()
    ]
    (information / "entry_points.txt").write_text("\n".join(groups))
