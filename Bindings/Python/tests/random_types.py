"""Reads types and values from a file, as Swift lays them out; writes each value anew. Started by RandomTypeTests of the Swift library.

Each line is of one type: its layout, its schema, and messages with the JSON of their values. For each, a line with the messages that Python
writes for the values.
"""

import json
import struct
import sys

from swift_ipc import _types as types
from swift_ipc._values import Codec


def laid_out(node):
    """The same type, with every offset and every mark of none found by Python's own rules."""
    # A vector of the processor is larger than its fields.
    if isinstance(node, types.Struct) and not node.title.startswith("SIMD"):
        return types.Struct.laid_out(node.title, [(field.name, laid_out(field.node)) for field in node.fields])
    if isinstance(node, types.OptionalNode):
        return types.OptionalNode.laid_out(laid_out(node.of))
    if isinstance(node, types.ArrayNode):
        return types.ArrayNode(node.count, laid_out(node.of))
    if isinstance(node, types.ListNode):
        return types.ListNode(node.capacity, laid_out(node.of))
    return node


def same(value, expected):
    """Whether they are the same JSON. Swift's has whole numbers without a fraction, and no more digits than a number of its size needs."""
    if isinstance(expected, list):
        return isinstance(value, (list, tuple)) and len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(expected, dict):
        return isinstance(value, dict) and list(value) == list(expected) and all(map(same, value.values(), expected.values()))
    if isinstance(value, float):
        return type(expected) in (int, float) and any(
            struct.unpack(size, struct.pack(size, expected))[0] == value for size in ("<e", "<f", "<d")
        )
    return type(value) is type(expected) and value == expected


def fail(*what):
    print(*what)
    sys.exit(1)


for line in open(sys.argv[1], encoding="utf-8"):
    given = json.loads(line)
    node = types.node_of_form(given["schema"])
    optional = types.OptionalNode.laid_out(node)
    layout = [node.size, node.alignment, node.stride, optional.size]
    if layout != given["layout"] or laid_out(node).form() != given["schema"] or node.form() != given["schema"]:
        fail(given["type"], layout, given["layout"], laid_out(node).form(), given["schema"])
    codec = Codec(node)
    read = codec.decoder("dict")
    written = []
    for text, expected in given["messages"]:
        message = bytes.fromhex(text)
        value = read(message)
        again = bytes(codec.encode(expected))
        if not same(value, expected) or not same(read(again), expected):
            fail(given["type"], given["schema"], text, value, expected, again.hex())
        # As a record of NumPy, no byte is lost.
        if codec.dtype is not None and codec.decoder("numpy")(message).tobytes() != message:
            fail(given["type"], given["schema"], text, codec.dtype)
        written.append(again.hex())
    print(",".join(written))
