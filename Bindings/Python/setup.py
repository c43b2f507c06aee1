"""Builds the wheel, with the library inside: that of $SWIFT_IPC_LIBRARY, or one that Scripts/library.sh builds."""

import os
import pathlib
import platform
import shutil
import subprocess
import tempfile

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # before setuptools 70.1
    from wheel.bdist_wheel import bdist_wheel


class BuildWithLibrary(build_py):
    def run(self):
        super().run()
        # With --editable the library is found by $SWIFT_IPC_LIBRARY.
        if getattr(self, "editable_mode", False):
            return
        target = pathlib.Path(self.build_lib, "swift_ipc", "libipc.so")
        target.parent.mkdir(parents=True, exist_ok=True)
        given = os.environ.get("SWIFT_IPC_LIBRARY")
        if given:
            shutil.copyfile(given, target)
            return
        script = pathlib.Path(__file__).resolve().parents[2] / "Scripts" / "library.sh"
        if not script.exists():
            raise SystemExit(f"build swift-ipc: there is no {script}; set SWIFT_IPC_LIBRARY to the file of libipc.so")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["bash", str(script), folder], check=True)
            shutil.copyfile(pathlib.Path(folder, "libipc.so"), target)


class WheelForAllVersions(bdist_wheel):
    """It has no extension module: one wheel for all versions of Python, for this platform."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self):
        return "py3", "none", f"linux_{platform.machine()}"


class WithLibrary(Distribution):
    def has_ext_modules(self):
        return True


setup(cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": WheelForAllVersions}, distclass=WithLibrary)
