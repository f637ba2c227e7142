"""Packaging of dynml: the package with its recipes and data, the command `dynml`, and the scripts on the PATH."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
REPOSITORY = "https://github.com/dynml/dynml"
"""Assumed: nothing is published there yet. It stands here and in the links of the README, which a test compares."""
SHIPPED = {"configs": "*.yaml", "scripts_python": "dynml_*.py"}
"""Folders of the repository that lie inside the installed package, where the command `dynml` finds them."""

version: dict[str, str] = {}
exec((HERE / "dynml" / "version.py").read_text(encoding="utf-8"), version)


class BuildWithShippedFolders(build_py):
    """Puts recipes and scripts into the built package; an editable installation reads them where they are."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        for folder, pattern in SHIPPED.items():
            target = Path(self.build_lib) / "dynml" / folder
            for path in [] if self.editable_mode else sorted((HERE / folder).glob(pattern)):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / path.name)


EXTRAS = {
    "comet": ["comet-ml>=3.49"],
    "fmri": ["dipy>=1.9"],
    "hub": ["huggingface_hub>=0.24"],
    "mne": ["mne>=1.6"],
    "tensorboard": ["tensorboard>=2.16"],
}

setup(
    name="dynml",
    version=version["__version__"],
    description="Learns the dynamics of the brain from many subjects' MEG, EEG and fMRI time series",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The dynml developers",
    url=REPOSITORY,
    project_urls={
        "Documentation": "https://dynml.github.io/dynml/",
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    },
    keywords=["neuroscience", "neuroimaging", "MEG", "EEG", "fMRI", "hidden Markov model", "DyNeMo", "decoding"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
    license_expression="MIT AND CC-BY-SA-3.0",
    license_files=["LICENSE", "dynml/datasets/haxby2001/NOTICE.md"],
    python_requires=">=3.11",
    packages=find_packages(include=["dynml", "dynml.*"]),
    package_data={"dynml": ["py.typed"], "dynml.datasets": ["haxby2001/*"], "dynml.report": ["templates/*"]},
    cmdclass={"build_py": BuildWithShippedFolders},
    entry_points={"console_scripts": ["dynml = dynml.cli.console:main"]},
    scripts=sorted(str(path.relative_to(HERE)) for path in (HERE / "scripts_python").glob("dynml_*.py")),
    install_requires=[
        "torch>=2.6",
        "numpy>=1.26",
        "scipy>=1.11",
        "numba>=0.60",
        "h5py>=3.11",
        "safetensors>=0.4.5",
        "jsonargparse[signatures]>=4.49",
        "PyYAML>=6.0",
        "tqdm>=4.66",
        "matplotlib>=3.8",
        "jinja2>=3.1",
        "nibabel>=5.2",
        "nilearn>=0.11",
        "scikit-learn>=1.6",
        "formulaic>=1.1",
        "threadpoolctl>=3.1",
    ],
    extras_require={
        **EXTRAS,
        "all": sorted({requirement for extra in EXTRAS.values() for requirement in extra}),
        "test": [
            "pytest>=8",
            "comet-ml>=3.49",
            "dipy>=1.9",
            "tensorboard>=2.16",
            "mne>=1.6",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "hmmlearn>=0.3.3",
            "pybv>=0.7.5",
            "edfio>=0.4",
            "eeglabio>=0.1",
        ],
        "lint": ["ruff>=0.8", "mypy>=1.13", "import-linter>=2.1"],
        "docs": ["sphinx>=8", "myst-parser>=4", "furo>=2024.8"],
    },
)
