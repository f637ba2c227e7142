"""Packaging of dynml: the package, its data and the scripts that land on the PATH."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
version: dict[str, str] = {}
exec((HERE / "dynml" / "version.py").read_text(encoding="utf-8"), version)

setup(
    name="dynml",
    version=version["__version__"],
    description="Learns the dynamics of the brain from many subjects' MEG, EEG and fMRI time series",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["dynml", "dynml.*"]),
    package_data={"dynml": ["py.typed"], "dynml.datasets": ["haxby2001/*"], "dynml.report": ["templates/*"]},
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
        "dipy>=1.9",
        "scikit-learn>=1.6",
        "threadpoolctl>=3.1",
        "comet-ml>=3.49",
    ],
    extras_require={
        "tensorboard": ["tensorboard>=2.16"],
        "mne": ["mne>=1.6"],
        "test": [
            "pytest>=8",
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
