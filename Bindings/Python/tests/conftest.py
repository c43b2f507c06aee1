"""A root of its own for the tests, and a time limit for each of them."""

import faulthandler
import os
import shutil
import subprocess
import sys
import textwrap

import pytest

ROOT = f"/dev/shm/ipc-test-python-{os.getpid()}"
os.environ["IPC_ROOT"] = ROOT
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Seconds that a test may take. The machine may be busy.
LIMIT = 60


@pytest.fixture(scope="session", autouse=True)
def root():
    yield ROOT
    shutil.rmtree(ROOT, ignore_errors=True)


def pytest_configure(config):
    # pytest's own capture would keep what is written before the exit.
    global _stderr
    manager = config.pluginmanager.getplugin("capturemanager")
    manager.suspend_global_capture()
    _stderr = os.fdopen(os.dup(2), "w")
    manager.resume_global_capture()


@pytest.fixture(autouse=True)
def time_limit():
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()


_numbers = iter(range(1_000_000))


@pytest.fixture
def name():
    """The name of a channel that no other test has."""
    return f"test/{next(_numbers)}"


@pytest.fixture
def peer():
    """Starts a Python process of this code; its first line of output is what ``ready`` returns."""
    children = []

    def start(code, *arguments):
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys\nimport swift_ipc as ipc\n" + textwrap.dedent(code), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        )  # fmt: skip
        children.append(child)
        return child

    yield start
    for child in children:
        if child.poll() is None:
            child.kill()
        child.communicate()
