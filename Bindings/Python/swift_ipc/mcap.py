"""Exports recordings of ``ipc record`` to MCAP, which robotics tools open: ``python -m swift_ipc.mcap RECORDING TARGET.mcap``.

It needs the package ``mcap`` (``pip install "swift-ipc[mcap]"``) and the command ``ipc``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from typing import Any, Dict, Optional, Tuple, Union

from . import _types as types
from . import topic
from ._errors import IPCError, error_of

try:
    from mcap.writer import Writer  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    raise ImportError('swift_ipc.mcap needs the package mcap: pip install "swift-ipc[mcap]"') from None

_Path = Union[str, "os.PathLike[str]"]
#: The beginning of a line of ``ipc replay --format jsonl``: seconds since the first message, exactly.
_time = re.compile(r'\{"time":(-?)(\d+)\.(\d{9}),')


def export(recording: _Path, target: _Path, *, command: str = "ipc") -> int:
    """Writes the messages of a recording to a new file, and returns their number.

    Messages are JSON, with a JSON schema for each channel. Their times are nanoseconds since the first message: a recording has no
    others. A message that is no structure is the member ``value`` of an object, or ``text`` or ``hex`` if it is bytes. Members
    without a value are left out. A message that is no value of its type is left out, with a warning.

    ``command`` is the ``ipc`` command, which reads the recording. Raises ``IPCError`` with what it says; ``FileExistsError`` if
    there is such a file.
    """
    recording, target = os.fspath(recording), os.fspath(target)
    with open(target, "xb") as file:
        try:
            count, told = _write(file, recording, command)
        except BaseException:
            os.unlink(target)
            raise
    if told:
        warnings.warn(f"export {recording}: {told}", stacklevel=2)
    return count


def _write(file: Any, recording: str, command: str) -> Tuple[int, str]:
    writer: Any = Writer(file)
    writer.start(profile="", library="swift-ipc")
    channels: Dict[str, Tuple[int, types.Node]] = {}
    count = 0
    with tempfile.TemporaryFile() as errors:
        try:
            replay = subprocess.Popen(
                [command, "replay", recording, "--format", "jsonl"], stdout=subprocess.PIPE, stderr=errors,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            raise error_of(
                2, f"run {command}: {error.strerror}; install the command (Scripts/install.sh), or give its path as command=",
                error.errno or 0,
            ) from None  # fmt: skip
        assert replay.stdout is not None
        try:
            for line in replay.stdout:
                text = line.decode()
                content = json.loads(text)
                name = content["channel"]
                if name not in channels:
                    channels[name] = _channel(writer, recording, name)
                channel, node = channels[name]
                time = _time.match(text)
                if time is None:
                    raise error_of(99, f"export {recording}: a line of {command} has no time; use the command of this release")
                # Time may have gone backwards; MCAP has no time before 0.
                nanoseconds = 0 if time[1] else int(time[2]) * 1_000_000_000 + int(time[3])
                message = json.dumps(_content(node, content), ensure_ascii=False, separators=(",", ":"))
                writer.add_message(
                    channel_id=channel, log_time=nanoseconds, publish_time=nanoseconds, data=message.encode(), sequence=count
                )  # fmt: skip
                count += 1
        finally:
            replay.stdout.close()
            code = replay.wait()
            errors.seek(0)
            told = errors.read().decode("utf-8", "replace").strip()
    if code:
        raise error_of(99, f"export {recording}: {told or f'{command} ended with {code}'}")
    writer.finish()
    return count, told


def _channel(writer: Any, recording: str, name: str) -> Tuple[int, types.Node]:
    with topic(name, root=recording, timeout=0) as channel:
        node = channel._codec.node
    title = node.title if isinstance(node, types.Struct) and node.title else name
    schema = writer.register_schema(name=title, encoding="jsonschema", data=json.dumps(_schema_of_message(node)).encode())
    return writer.register_channel(topic=name, message_encoding="json", schema_id=schema), node


# ---- Messages as objects ----


def _content(node: types.Node, line: Dict[str, Any]) -> Any:
    if "message" not in line:
        return {key: line[key] for key in ("text", "hex") if key in line}
    value = line["message"]
    if isinstance(node, types.FramedNode):
        return {"header": _value(node.header, value["header"]), "bytes": _value(types.Bytes(), value["bytes"])}
    value = _value(node, value)
    return value if isinstance(node, types.Struct) else {} if value is None else {"value": value}


def _value(node: types.Node, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(node, types.OptionalNode):
        return _value(node.of, value)
    if isinstance(node, types.Struct):
        # A tuple is a list in JSON: tools take lists of one type only.
        parts = [
            (field.name, _value(field.node, value[index if isinstance(value, list) else field.name]))
            for index, field in enumerate(node.fields)
        ]
        return {name: part for name, part in parts if part is not None}
    if isinstance(node, (types.ArrayNode, types.ListNode)):
        return [_value(node.of, element) for element in value]
    if isinstance(node, (types.Opaque, types.Bytes)) and isinstance(value, dict):
        return value["hex"]
    return value


def _schema_of_message(node: types.Node) -> Dict[str, Any]:
    if isinstance(node, types.Bytes):
        return {"type": "object", "properties": {"text": {"type": "string"}, "hex": {"type": "string"}}}
    if isinstance(node, types.Coded):
        return {"type": "object"}
    if isinstance(node, types.FramedNode):
        return {"type": "object", "properties": {"header": _schema(node.header), "bytes": {"type": "string"}}}
    if isinstance(node, types.Struct):
        return _schema(node)
    return {"type": "object", "properties": {"value": _schema(node)}}


def _schema(node: types.Node) -> Dict[str, Any]:
    """One type for each part, which is what tools take: numbers that JSON does not have are strings nevertheless."""
    if isinstance(node, types.OptionalNode):
        return _schema(node.of)
    if isinstance(node, types.Struct):
        required = [field.name for field in node.fields if not isinstance(field.node, types.OptionalNode)]
        return {
            "type": "object", "title": node.title, "required": required,
            "properties": {field.name: _schema(field.node) for field in node.fields},
        }  # fmt: skip
    if isinstance(node, (types.ArrayNode, types.ListNode)):
        return {"type": "array", "items": _schema(node.of)}
    if isinstance(node, types.EnumNode):
        return {"type": "string", "enum": [name for name, _ in node.cases]}
    if isinstance(node, types.Simple) and node.kind != "char":
        return {"type": "boolean" if node.kind == "bool" else "number" if node.kind[0] == "f" else "integer"}
    return {"type": "string"}


def main(arguments: Optional[Any] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m swift_ipc.mcap", description="Export a recording of ipc record to MCAP."
    )
    parser.add_argument("recording", help="folder that ipc record made")
    parser.add_argument("target", help="file to write; it must not exist")
    parser.add_argument("--command", default="ipc", help="the ipc command (default: ipc)")
    given = parser.parse_args(arguments)
    try:
        count = export(given.recording, given.target, command=given.command)
    except (IPCError, OSError) as error:
        print(f"swift_ipc.mcap: {error}", file=sys.stderr)
        return 1
    print(f"exported {count} messages to {given.target}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
