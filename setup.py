"""Packaging. The pinned set that is tested together is requirements.txt with constraints.txt."""

from setuptools import find_packages, setup

setup(
    name="sentinai",
    version="0.1.0",
    description="Business exceptions, accepted once and resolved: never lost, never twice, never out of order",
    python_requires=">=3.11",
    packages=find_packages(include=["service", "service.*", "tasks", "tasks.*"]),
    package_data={"service": ["**/*.html", "**/*.json", "**/*.xml", "**/*.yaml"]},
    entry_points={"console_scripts": ["sentinai = service.cli:main"]},
)
