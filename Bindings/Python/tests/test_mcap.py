"""Recordings of the command as MCAP files."""

import dataclasses
import enum
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Optional

import pytest

import swift_ipc as ipc

FOLDER = os.path.dirname(os.environ.get("SWIFT_IPC_LIBRARY", ""))
COMMAND = os.path.join(FOLDER, "ipc") if os.path.exists(os.path.join(FOLDER, "ipc")) else shutil.which("ipc")


class Side(enum.Enum):
    buy = ipc.case()
    sell = ipc.case()


@dataclasses.dataclass
class Order:
    number: ipc.u64
    side: Side
    price: Optional[float] = None
    note: ipc.Text[8] = ""
    legs: ipc.List[ipc.i16, 3] = dataclasses.field(default_factory=list)


@pytest.fixture
def recording(name, tmp_path):
    """A recording of two channels."""
    if COMMAND is None:
        pytest.skip("the command ipc is neither beside the library nor in the PATH")
    folder = str(tmp_path / "recording")
    orders, texts = ipc.topic(name, Order), ipc.topic(name + "/texts", bytes)
    with orders.publisher() as publisher, texts.publisher() as other:
        recorder = subprocess.Popen(
            [COMMAND, "record", name, name + "/texts", "-o", folder, "--from", "oldest", "--count", "5"],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_until_it_records(recorder, folder, name + "/texts/times")
        publisher.publish(Order(1 << 63, Side.buy, 12.5, "first", [1, -2]))
        other.publish(b"text")
        time.sleep(0.3)
        publisher.publish(Order(2, Side.sell))
        publisher.publish(Order(3, Side.sell, float("inf")))
        other.publish(b"\xff\0")
        _, told = recorder.communicate(timeout=50)
        assert recorder.returncode == 0, told
    return folder


def wait_until_it_records(recorder, folder, last):
    end = time.monotonic() + 30
    while recorder.poll() is None and time.monotonic() < end:
        try:
            ipc.describe(last, root=folder)
            return
        except ipc.NotFound:
            time.sleep(0.01)


def read(target):
    from mcap.reader import make_reader

    with open(target, "rb") as file:
        return [
            (schema, channel, message, json.loads(message.data))
            for schema, channel, message in make_reader(file).iter_messages(log_time_order=True)
        ]


def test_round_trip(name, recording, tmp_path):
    pytest.importorskip("mcap", reason="the package mcap is not installed")
    from swift_ipc import mcap

    target = tmp_path / "recording.mcap"
    assert mcap.export(recording, target, command=COMMAND) == 5
    messages = read(target)
    orders = [content for _, channel, _, content in messages if channel.topic == name]
    assert orders == [
        {"number": 1 << 63, "side": "buy", "price": 12.5, "note": "first", "legs": [1, -2]},
        {"number": 2, "side": "sell", "note": "", "legs": []},
        {"number": 3, "side": "sell", "price": "inf", "note": "", "legs": []},
    ]
    texts = [content for _, channel, _, content in messages if channel.topic == name + "/texts"]
    assert texts == [{"text": "text"}, {"hex": "ff00"}]
    times = [message.log_time for _, _, message, _ in messages]
    assert times[0] == 0 and times == sorted(times) and 250_000_000 < times[-1] < 60_000_000_000
    assert {channel.message_encoding for _, channel, _, _ in messages} == {"json"}
    schema = next(schema for schema, channel, _, _ in messages if channel.topic == name)
    assert (schema.name, schema.encoding) == ("Order", "jsonschema")
    form = json.loads(schema.data)
    assert form["type"] == "object" and form["required"] == ["number", "side", "note", "legs"]
    assert form["properties"]["side"] == {"type": "string", "enum": ["buy", "sell"]}
    assert form["properties"]["price"] == {"type": "number"} and form["properties"]["number"] == {"type": "integer"}
    assert form["properties"]["legs"] == {"type": "array", "items": {"type": "integer"}}
    with pytest.raises(FileExistsError):
        mcap.export(recording, target, command=COMMAND)


def test_errors(recording, tmp_path):
    pytest.importorskip("mcap", reason="the package mcap is not installed")
    from swift_ipc import mcap

    target = tmp_path / "none.mcap"
    with pytest.raises(ipc.NotFound, match="install the command"):
        mcap.export(recording, target, command="/nonexistent/ipc")
    with pytest.raises(ipc.IPCError, match="not a recording|does not exist"):
        mcap.export(tmp_path / "nothing", target, command=COMMAND)
    assert not target.exists()


def test_command(recording, tmp_path):
    pytest.importorskip("mcap", reason="the package mcap is not installed")
    target = str(tmp_path / "recording.mcap")
    call = [sys.executable, "-m", "swift_ipc.mcap", recording, target, "--command", COMMAND]
    done = subprocess.run(call, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0 and "exported 5 messages" in done.stderr, done.stderr
    assert len(read(target)) == 5
    again = subprocess.run(call, capture_output=True, text=True, timeout=50)
    assert again.returncode == 1 and "File exists" in again.stderr


def test_without_mcap(peer):
    child = peer(
        """
        sys.modules["mcap"] = sys.modules["mcap.writer"] = None
        try:
            import swift_ipc.mcap
        except ImportError as error:
            print(error)
        """)  # fmt: skip
    out, err = child.communicate(timeout=50)
    assert "pip install" in out and not err
