"""Packaging of Berth.

The import packages ``engine`` and ``grammar`` live at the top level of the repository;
``package_dir={"": "."}`` is what keeps type checkers working in an editable install.
"""

from pathlib import Path

from setuptools import find_packages, setup

setup(
    name="berth-scheduler",
    version="0.1.0",
    description="A delay-aware, failure-aware Kubernetes scheduler for the edge, steered by policies",
    long_description=(Path(__file__).parent / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["engine*", "grammar*"]),
    package_dir={"": "."},
    package_data={
        "engine": ["py.typed", "**/*.json", "**/*.policy"],
        "grammar": ["py.typed", "**/*.lark", "**/*.json", "**/*.md"],
    },
    install_requires=[
        # Configuration, credentials and their renewal, and the API's paths.
        "kubernetes>=36.0.2,<38",
        # The parser of the policy language.
        "lark>=1.3,<2",
        # Settings files and scenario files are checked against published schemas.
        "jsonschema>=4.23,<5",
        # Asks Goldpinger, Prometheus and the probes; the kubernetes client already depends on it.
        "urllib3>=2.5,<3",
        # Every retry in the project: the binder's and the watch's.
        "tenacity>=9,<10",
        # The columns of the snapshot.
        "numpy>=2.1,<3",
        # Decodes only the fields that are used, a hundred times faster than typed models.
        "msgspec>=0.20,<0.23",
        # CEL, in which claims of devices say which devices they mean.
        "common-expression-language>=0.10,<0.11",
        # Sub-commands, options and their help.
        "click>=8.2,<9",
        # Tables, colours and progress, on a terminal only.
        "rich>=14,<16",
        # The text of /metrics; the numbers are ours, and plain.
        "prometheus_client>=0.22,<1",
        # Manifests and scenarios; the kubernetes client already depends on it.
        "pyyaml>=6,<7",
    ],
    extras_require={
        "dev": [
            "build>=1.2,<2",  # makes the wheel that the packaging test installs
            "hypothesis>=6.120,<7",  # property tests
            "interegular>=0.3,<1",  # lark's strict mode, which a test of the grammar uses
            "import-linter>=2.3,<3",  # the layers are a contract
            "ortools>=9.12,<10",  # the least that can be kept in reserve, which the benchmark compares with
            "mypy>=1.18,<3",  # types, strict
            "pytest>=8.4,<10",  # the test runner
            "pytest-xdist>=3.6,<4",  # both cores
            "ruff>=0.12,<1",  # style and formatting
            "types-PyYAML",  # stubs for mypy
            "types-setuptools",  # stubs for mypy
            "types-jsonschema",  # stubs for mypy
        ],
    },
    entry_points={"console_scripts": ["berth=engine.cli:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Typing :: Typed",
    ],
)
