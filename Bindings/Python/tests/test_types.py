"""Types and values: layouts, what is refused, and random types whose values the library reads alike."""

import dataclasses
import enum
import json
import math
import random
import struct
from typing import Annotated, Optional

import pytest

import swift_ipc as ipc
from swift_ipc import _types as types
from swift_ipc._values import Codec

numpy = pytest.importorskip("numpy")


class Side(enum.Enum):
    buy = ipc.case()
    sell = ipc.case()


class Level(enum.IntEnum):
    low = 1
    high = 2


class Colour(str, enum.Enum):
    red = "r"
    green = "g"


@dataclasses.dataclass
class Point:
    x: ipc.f32
    y: ipc.f32


@dataclasses.dataclass
class Everything:
    flag: bool
    number: int
    small: ipc.u8
    ratio: float
    letter: ipc.char
    side: Side
    level: Level
    colour: Colour
    point: Point
    name: ipc.Text[10]
    numbers: ipc.List[ipc.u16, 3]
    points: ipc.Array[Point, 2]
    maybe: Optional[ipc.i32]
    maybe_flag: Optional[bool]
    maybe_side: Optional[Side]
    maybe_point: Optional[Point]
    big: ipc.u128
    written: Annotated[str, ipc.Text(4)]


VALUE = Everything(
    True, -5, 200, 0.1, "é", Side.sell, Level.high, Colour.green, Point(1, 2), "grüße", [1, 2], [Point(3, 4), Point(5, 6)],
    None, None, None, None, 1 << 100, "x",
)  # fmt: skip
OTHER = dataclasses.replace(VALUE, maybe=7, maybe_flag=False, maybe_side=Side.buy, maybe_point=Point(8, 9), numbers=[])


def test_everything(name):
    with ipc.topic(name, Everything) as topic, topic.subscribe() as subscription, topic.publisher() as publisher:
        for value in (VALUE, OTHER):
            publisher.publish(value)
            assert subscription.receive(1) == value
            text = topic.to_json(value)
            assert topic.from_json(text) == bytes(topic._codec.encode(value))
        assert json.loads(topic.to_json(VALUE))["maybe_side"] is None
        form = topic.schema["message"]["struct"]
        offsets = {field["name"]: field["offset"] for field in form["fields"]}
        assert (offsets["flag"], offsets["number"], offsets["small"], offsets["ratio"]) == (0, 8, 16, 24)
        with topic.subscribe(as_="dict") as plain:
            publisher.publish(OTHER)
            got = plain.receive(1)
            assert got["side"] == "sell" and got["maybe_point"] == {"x": 8, "y": 9} and got["colour"] == "green"
        with topic.subscribe(as_="numpy") as raw:
            publisher.publish(OTHER)
            got = raw.receive(1)
            assert got["side"] == 1 and got["name"]["count"] == 7 and got["maybe_flag"] == 0


@pytest.mark.parametrize(
    "type, none, size",
    [
        (Optional[bool], {"value": 2, "size": 1, "offset": 0}, 1),
        (Optional[Side], {"value": 2, "size": 1, "offset": 0}, 1),
        (Optional[int], "byte", 9),
        (Optional[Point], "byte", 9),
        (Optional[ipc.char], "byte", 5),
    ],
)
def test_optionals_as_in_swift(type, none, size):
    node = types.node_of_type(type)
    assert node.form()["optional"]["none"] == none and node.size == size


def test_spare_values_of_structures():
    @dataclasses.dataclass
    class Two:
        number: ipc.u32
        side: Side
        flag: bool

    # Both have 254 spare numbers: the first one's are used.
    node = types.OptionalNode.laid_out(types.Struct.laid_out("Two", [
        ("number", types.simple("u32")), ("side", types.node_of_type(Side)), ("flag", types.simple("bool"))
    ]))  # fmt: skip
    assert node.none == (2, 1, 4)
    # An optional of an optional takes the next one.
    assert types.OptionalNode.laid_out(node).none == (3, 1, 4)
    many = types.EnumNode("Many", [(f"c{index}", None) for index in range(256)])
    assert types.OptionalNode.laid_out(many).none is None
    assert types.EnumNode("More", [(f"c{index}", None) for index in range(257)]).size == 2


def test_optionals_of_optionals_and_lists(name):
    twice = types.OptionalNode.laid_out(types.OptionalNode.laid_out(types.simple("bool")))
    assert (twice.size, twice.none, twice.of.none) == (1, (3, 1, 0), (2, 1, 0))
    codec = Codec(twice)
    for value, byte in ((None, 3), ({"some": None}, 2), ({"some": False}, 0), ({"some": True}, 1)):
        assert bytes(codec.encode(value)) == bytes([byte]) and codec.decoder("dict")(bytes([byte])) == value
    for wrong in (True, {}, {"some": None, "more": None}, {"other": None}):
        with pytest.raises(ipc.InvalidArgument):
            codec.encode(wrong)
    # None is marked in the first element, if there is one.
    flags = types.OptionalNode.laid_out(types.ListNode(3, types.simple("bool")))
    assert (flags.size, flags.none) == (7, (2, 1, 4))
    assert types.OptionalNode.laid_out(types.ListNode(0, types.simple("bool"))).none is None
    assert (types.ListNode(0, types.simple("u64")).size, types.ListNode(0, types.simple("u64")).alignment) == (4, 4)
    assert types.ArrayNode(0, types.simple("u64")).alignment == 1
    with ipc.topic(name, Optional[ipc.List[bool, 3]]) as topic, topic.subscribe() as subscription:
        with topic.publisher() as publisher:
            for value in (None, [], [True, False]):
                publisher.publish(value)
                assert subscription.receive(1) == value
    # Of a schema by hand, a value may have the mark.
    by_hand = Codec(types.node_of_form({"optional": {"of": "u8", "none": {"value": 7, "size": 1, "offset": 0}}}))
    assert by_hand.decoder("dict")(b"\7") is None
    with pytest.raises(ipc.InvalidArgument):
        by_hand.encode(7)


def test_raw_values():
    assert types.node_of_type(Level).form()["enum"]["cases"] == [{"name": "low", "raw": 1}, {"name": "high", "raw": 2}]
    assert types.node_of_type(Colour).form()["enum"]["cases"][0] == {"name": "red", "raw": "r"}
    assert types.node_of_type(Side).form()["enum"]["cases"] == ["buy", "sell"]


def test_sizes_without_the_padding_at_the_end(name):
    @dataclasses.dataclass
    class Inner:
        a: ipc.u64
        b: ipc.u8

    inner = types.node_of_type(Inner)
    assert (inner.size, inner.alignment, inner.stride) == (9, 8, 16)
    outer = types.Struct.laid_out("Outer", [("inner", inner), ("after", types.simple("u8"))])
    assert outer.fields[1].offset == 9 and outer.size == 10
    dtype = numpy.dtype([("a", "u8"), ("b", "u1")], align=True)
    assert types.node_of_type(dtype, "Inner").form() == inner.form()
    with ipc.topic(name, dtype, name="Inner") as topic, topic.subscribe() as subscription:
        with topic.publisher() as publisher:
            publisher.publish_many(numpy.array([(1, 2), (3, 4)], dtype))
            assert subscription.receive_many(5)["b"].tolist() == [2, 4]


@pytest.mark.parametrize("kind", ["bool", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64", "f16", "f32", "f64", "u128", "i128", "f80", "char"])
def test_scalars(name, kind):
    value = {"bool": True, "char": "ß", "f16": 0.5, "f32": 0.25, "f64": -0.1, "f80": -1.5}.get(kind, 100)
    with ipc.latest(name, kind) as latest, latest.setter() as setter, latest.getter() as getter:
        setter.set(value)
        got = getter.next(1)
        assert got == value and type(got) is type(value)
        assert json.loads(latest.to_json(value)) == value


def test_scalars_by_batches(name):
    with ipc.topic(name, float) as topic, topic.subscribe() as subscription, topic.publisher() as publisher:
        publisher.publish_many(numpy.arange(5))
        publisher.publish(1.5)
        batch = subscription.receive_many(10)
        assert batch.dtype == numpy.dtype("f8") and batch.tolist() == [0, 1, 2, 3, 4, 1.5]


def test_batches_of_dataclasses(name):
    with ipc.topic(name, Everything) as topic, topic.subscribe() as subscription, topic.publisher() as publisher:
        assert publisher.publish_many([VALUE, OTHER]) == 2
        assert subscription.receive_many(10, timeout=1) == [VALUE, OTHER]


def test_framed_and_coded(name):
    with ipc.topic(name, ipc.Framed.of(Point)) as topic:
        with topic.subscribe() as subscription, topic.publisher() as publisher:
            publisher.publish(ipc.Framed(Point(1, 2), b"pixels"))
            publisher.publish({"header": {"x": 1, "y": 2}, "bytes": b"pixels"})
            assert subscription.receive(1) == (Point(1, 2), b"pixels") == subscription.receive(1)
            with ipc.topic(name, timeout=1) as same, same.subscribe() as subscription:
                publisher.publish((Point(1, 2), b""))
                assert subscription.receive(1) == ({"x": 1, "y": 2}, b"")
    coded = {"coded": {"type": "Order", "coder": "JSON"}}
    with ipc.topic(name + "/coded", schema=coded) as topic:
        with topic.subscribe() as subscription, topic.publisher() as publisher:
            publisher.publish({"a": [1, None]})
            publisher.publish(b"{")
            assert subscription.receive(1) == {"a": [1, None]}
            with pytest.raises(ipc.Corrupted):
                subscription.receive(1)


def test_refused_types():
    @dataclasses.dataclass
    class Node:
        next: "Optional[Node]"

    Node.__annotations__["next"] = Optional[Node]

    @dataclasses.dataclass
    class WithText:
        text: str

    class Empty(enum.Enum):
        pass

    for wrong in (Node, WithText, Empty, str, list, object(), 5, numpy.dtype("U5"), numpy.dtype("c16"), numpy.dtype(">u4"),
                  numpy.dtype("M8[s]"), numpy.dtype("O")):  # fmt: skip
        with pytest.raises(ipc.InvalidArgument):
            ipc.topic("test/refused", wrong)
    for wrong in (-1, 1 << 32, "x"):
        with pytest.raises(ipc.InvalidArgument):
            ipc.Text[wrong]
    with pytest.raises(ipc.InvalidArgument):
        ipc.topic("test/refused", int, name="Int")
    with pytest.raises(ipc.InvalidArgument):
        ipc.topic("test/refused", int, schema="u8")


@pytest.mark.parametrize(
    "value, path",
    [
        (dataclasses.replace(VALUE, small=256), "small"), (dataclasses.replace(VALUE, name="x" * 11), "name"),
        (dataclasses.replace(VALUE, numbers=[1] * 4), "numbers"), (dataclasses.replace(VALUE, numbers=[1, -1]), "numbers"),
        (dataclasses.replace(VALUE, points=[Point(1, 2)]), "points"), (dataclasses.replace(VALUE, side="up"), "side"),
        (dataclasses.replace(VALUE, flag=1), "flag"), (dataclasses.replace(VALUE, letter="ab"), "letter"),
        (dataclasses.replace(VALUE, point=(1,)), "point"), (dataclasses.replace(VALUE, big=-1), "big"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(value, path):
    with pytest.raises(ipc.InvalidArgument, match=path):
        Codec(types.node_of_type(Everything)).encode(value)


# ---- Hostile bytes and schemas ----


def test_hostile_values(name):
    """Bytes that no value has are an error, wherever they are, with every style but the raw ones."""
    rng = random.Random(5)
    with ipc.topic(name, Everything) as topic, topic.subscribe() as subscription, topic.publisher() as publisher:
        good = bytes(topic._codec.encode(OTHER))
        errors = 0
        for _ in range(500):
            message = bytearray(good)
            for _ in range(rng.randrange(1, 8)):
                message[rng.randrange(len(message))] = rng.randrange(256)
            publisher.publish(bytes(message))
            try:
                subscription.receive(1)
            except ipc.Corrupted:
                errors += 1
        assert errors > 50


def hostile_schemas():
    rng = random.Random(6)
    yield from (
        "", "{", "null", "[]", "7", '"nope"', '{"struct":{}}', '{"message":{"message":"u8"}}', "{" * 100_000,
        '{"array":{"count":4294967295,"of":{"array":{"count":4294967295,"of":"u64"}}}}', "[" * 100_000,
        '{"array":{"count":-1,"of":"u8"}}', '{"text":{"capacity":1e3}}', '{"enum":{"name":"E","cases":[]}}',
        '{"optional":{"of":"u8","none":{"value":2,"size":4,"offset":9}}}', "\0", '{"framed":"bytes"}',
        '{"struct":{"name":"S","size":4,"alignment":3,"fields":[]}}', '{"list":{"capacity":4294967296,"of":"u8"}}',
        '{"request":"u8"}', '{"array":{"count":3}}', '{"optional":{"of":"u8"}}', '{"optional":' * 50 + '"u8"' + "}" * 50,
    )  # fmt: skip
    form = json.dumps(types.node_of_type(Everything).form())
    for _ in range(300):
        text = list(form)
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(text))
            text[place : place + rng.randrange(3)] = rng.choice(['"', "{", "}", "9", "-", "", "null", "\\", "[", ",", "é"])
        yield "".join(text)


def test_hostile_schemas(name):
    for number, text in enumerate(hostile_schemas()):
        try:
            with ipc.topic(f"{name}/{number}", schema=text, capacity=4096) as topic:
                with topic.subscribe() as subscription:
                    subscription.try_receive()
        except ipc.IPCError:
            pass
    for wrong in ({"message": {1, 2}}, {"struct": 5}, {}, {"a": 1, "b": 2}, {"u8": float("nan")}):
        with pytest.raises(ipc.IPCError):
            ipc.topic(f"{name}/wrong", schema=wrong)


def test_large_messages_take_no_memory_before_they_come(name):
    schema = {"array": {"count": 4294967295, "of": "u8"}}
    try:
        with ipc.topic(name, schema=schema) as topic, topic.subscribe() as subscription:
            assert subscription.try_receive() is None
    except ipc.IPCError:
        pass


# ---- Random types ----


def random_form(rng, depth):
    simple = ["bool", "char", "f16", "f32", "f64", "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "f80"]
    kind = rng.randrange(10 if depth else 3)
    if kind < 3:
        return types.simple(rng.choice(simple))
    if kind == 3:
        return types.TextNode(rng.randrange(0, 20))
    if kind == 4:
        count = rng.choice([1, 2, 3, 255, 256, 257])
        raw = rng.choice([None, 1, "s"])
        cases = [(f"c{index}", None if raw is None else raw * (index + 1)) for index in range(count)]
        return types.EnumNode("E", cases)
    if kind == 5:
        return types.ArrayNode(rng.randrange(0, 4), random_form(rng, depth - 1))
    if kind == 6:
        return types.ListNode(rng.randrange(0, 4), random_form(rng, depth - 1))
    if kind == 7:
        return types.OptionalNode.laid_out(random_form(rng, depth - 1))
    if kind == 8:
        return types.Opaque(rng.randrange(1, 10), rng.choice([1, 2, 4, 8]))
    count = rng.randrange(0, 6)
    is_tuple = rng.random() < 0.2
    parts = [(str(index) if is_tuple else f"f{index}", random_form(rng, depth - 1)) for index in range(count)]
    return types.Struct.laid_out("" if is_tuple else "S", parts)


def random_value(rng, node):
    if isinstance(node, types.Simple):
        if node.kind == "bool":
            return rng.random() < 0.5
        if node.kind == "char":
            return rng.choice(["a", "é", "\0", "\U0001f600", '"', "\\", "\n"])
        if node.kind[0] == "f":
            number = rng.choice([0.0, -0.0, 1.5, -2.25, rng.uniform(-1000, 1000), math.inf, -math.inf, math.nan, 1e-5])
            return {"f16": lambda: struct.unpack("<e", struct.pack("<e", number))[0],
                    "f32": lambda: struct.unpack("<f", struct.pack("<f", number))[0]}.get(node.kind, lambda: number)()  # fmt: skip
        bits = int(node.kind[1:])
        low, high = (0, (1 << bits) - 1) if node.kind[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
        return rng.choice([low, high, 0, rng.randint(low, high)])
    if isinstance(node, types.TextNode):
        text = rng.choice(["", "hello", "grüße", "日本", '"\\\n'])
        return text if len(text.encode()) <= node.capacity else ""
    if isinstance(node, types.EnumNode):
        return rng.choice(node.cases)[0]
    if isinstance(node, types.ArrayNode):
        return [random_value(rng, node.of) for _ in range(node.count)]
    if isinstance(node, types.ListNode):
        return [random_value(rng, node.of) for _ in range(rng.randint(0, node.capacity))]
    if isinstance(node, types.OptionalNode):
        if rng.random() < 0.4:
            return None
        value = random_value(rng, node.of)
        return {"some": value} if isinstance(node.of, types.OptionalNode) else value
    if isinstance(node, types.Opaque):
        return bytes(rng.choice([rng.randrange(256), 65]) for _ in range(node.size))
    values = {field.name: random_value(rng, field.node) for field in node.fields}
    return tuple(values.values()) if node.is_tuple else values


def as_json(node, value):
    """What the library's JSON has for a value."""
    if isinstance(node, types.Simple) and node.kind[0] == "f":
        return "nan" if math.isnan(value) else value if math.isfinite(value) else "inf" if value > 0 else "-inf"
    if isinstance(node, (types.ArrayNode, types.ListNode)):
        return [as_json(node.of, element) for element in value]
    if isinstance(node, types.OptionalNode):
        if value is not None and isinstance(node.of, types.OptionalNode):
            return {"some": as_json(node.of, value["some"])}
        return None if value is None else as_json(node.of, value)
    if isinstance(node, types.Opaque):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(node, types.Struct):
        if node.is_tuple:
            return [as_json(field.node, part) for field, part in zip(node.fields, value)]
        return {field.name: as_json(field.node, value[field.name]) for field in node.fields}
    return value


def loads(text):
    return json.loads(text, parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


def same(node, text, expected):
    """Whether JSON of the library is this value. Short floats have few digits."""
    if isinstance(node, types.Simple) and node.kind in ("f16", "f32") and isinstance(text, (int, float)):
        code = {"f16": "<e", "f32": "<f"}[node.kind]
        return struct.pack(code, text) == struct.pack(code, expected)
    if isinstance(node, (types.ArrayNode, types.ListNode)):
        return len(text) == len(expected) and all(same(node.of, *pair) for pair in zip(text, expected))
    if isinstance(node, types.OptionalNode) and text is not None and expected is not None:
        if isinstance(node.of, types.OptionalNode):
            return list(text) == ["some"] and same(node.of, text["some"], expected["some"])
        return same(node.of, text, expected)
    if isinstance(node, types.Struct):
        if node.is_tuple:
            return len(text) == len(expected) and all(
                same(field.node, *pair) for field, pair in zip(node.fields, zip(text, expected))
            )
        return list(text) == list(expected) and all(
            same(field.node, text[field.name], expected[field.name]) for field in node.fields
        )
    return text == expected


@pytest.mark.parametrize("seed", range(6))
def test_random_types(name, seed):
    rng = random.Random(seed)
    for number in range(40):
        node = random_form(rng, 4)
        if node.size > 50_000:
            continue
        with ipc.topic(f"{name}/{number}", node) as topic:
            assert topic.schema["message"] == node.form()
            assert types.node_of_form(node.form()).form() == node.form()
            codec = topic._codec
            assert topic._codec.size == node.size
            # The spare numbers are the library's too: the same layout comes from its own schema.
            for _ in range(5):
                value = random_value(rng, node)
                message = bytes(codec.encode(value))
                got = codec.decoder("dict")(message)
                expected = as_json(node, value)
                assert same(node, as_json(node, got), expected) or "nan" in repr(expected)
                text = topic.to_json(message)
                assert same(node, loads(text), expected), (node.form(), value, text)
                # What the library writes from JSON, Python reads as the same.
                again = as_json(node, codec.decoder("dict")(topic.from_json(text)))
                assert same(node, loads(text), again), (node.form(), text)
                if codec.dtype is not None:
                    assert codec.decoder("numpy")(message).tobytes() == message, (node.form(), codec.dtype)
