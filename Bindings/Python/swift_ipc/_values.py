"""Values in the bytes of messages, and back."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import struct
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import _types as types
from ._errors import error_of
from ._types import Node, numpy as numpy

#: Reads a value from a memoryview at an offset.
Read = Callable[[Any, int], Any]
#: Writes a value into a bytearray at an offset.
Write = Callable[[bytearray, int, Any], None]

_formats = {
    "u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i8": "b", "i16": "h", "i32": "i", "i64": "q",
    "f16": "e", "f32": "f", "f64": "d",
}  # fmt: skip


def _corrupted(path: str, what: str) -> Exception:
    return error_of(12, f"read message: {path or 'it'} has {what}; see what its sender wrote")


def _unfit(path: str, what: str, value: Any) -> Exception:
    shown = repr(value)
    return error_of(
        9, f"write message: {path or 'the message'} is {shown[:60]}{'…' if len(shown) > 60 else ''}; {what} is needed"
    )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


# ---- Reading ----


def reader(node: Node, style: str, path: str = "") -> Read:
    """``style`` is "dict", "tuple", or "python" for the classes of the nodes."""
    if isinstance(node, types.Simple):
        return _simple_reader(node, path)
    if isinstance(node, types.Struct):
        return _struct_reader(node, style, path)
    if isinstance(node, types.ArrayNode):
        read, stride, count = reader(node.of, style, path + "[]"), node.of.stride, node.count
        return lambda view, at: [read(view, at + index * stride) for index in range(count)]
    if isinstance(node, types.EnumNode):
        return _enum_reader(node, style, path)
    if isinstance(node, types.OptionalNode):
        return _optional_reader(node, style, path)
    if isinstance(node, types.TextNode):
        return _text_reader(node, path)
    if isinstance(node, types.ListNode):
        return _list_reader(node, style, path)
    if isinstance(node, types.Opaque):
        size = node.size
        return lambda view, at: bytes(view[at : at + size])
    raise error_of(19, f"read message: {node.name} is no part of a message")


def _simple_reader(node: types.Simple, path: str) -> Read:
    kind = node.kind
    if kind in _formats:
        unpack = struct.Struct("<" + _formats[kind]).unpack_from
        return lambda view, at: unpack(view, at)[0]
    if kind == "bool":

        def read_bool(view: Any, at: int) -> bool:
            byte = view[at]
            if byte > 1:
                raise _corrupted(path, f"{byte}, and a Bool is 0 or 1")
            return bool(byte)

        return read_bool
    if kind == "char":

        def read_char(view: Any, at: int) -> str:
            number = int.from_bytes(view[at : at + 4], "little")
            if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
                raise _corrupted(path, f"{number}, which is no character")
            return chr(number)

        return read_char
    if kind == "f80":

        def read_f80(view: Any, at: int) -> float:
            significand = int.from_bytes(view[at : at + 8], "little")
            rest = int.from_bytes(view[at + 8 : at + 10], "little")
            sign = -1.0 if rest >> 15 else 1.0
            exponent = rest & 0x7FFF
            if exponent == 0x7FFF:
                return sign * math.inf if significand << 1 & (1 << 64) - 1 == 0 else math.nan
            try:
                return sign * math.ldexp(significand, exponent - 16383 - 63)
            except OverflowError:
                return sign * math.inf

        return read_f80
    is_signed, size = kind[0] == "i", node.size
    return lambda view, at: int.from_bytes(view[at : at + size], "little", signed=is_signed)


def plain_format(node: types.Struct) -> Optional[str]:
    """The format of ``struct`` for a structure of numbers; None for others."""
    format, end = "<", 0
    for field in node.fields:
        kind = field.node.kind if isinstance(field.node, types.Simple) else ""
        if kind not in _formats or field.offset < end:
            return None
        format += f"{field.offset - end}x" if field.offset > end else ""
        format += _formats[kind]
        end = field.offset + field.node.size
    return format + (f"{node.size - end}x" if node.size > end else "")


def _struct_reader(node: types.Struct, style: str, path: str) -> Read:
    names = [field.name for field in node.fields]
    make: Callable[[Tuple[Any, ...]], Any]
    if style == "python" and node.python is not None:
        python = node.python
        if all(field.init for field in dataclasses.fields(python)):
            make = lambda values: python(*values)  # noqa: E731
        else:
            raise error_of(9, f"read message: {python.__name__} has a field with init=False; make it a plain field")
    elif style == "tuple" or node.is_tuple:
        make = tuple
    else:
        make = lambda values: dict(zip(names, values))  # noqa: E731
    format = plain_format(node)
    if format is not None:
        unpack = struct.Struct(format).unpack_from
        if make is tuple:
            return lambda view, at: unpack(view, at)
        return lambda view, at: make(unpack(view, at))
    parts = [(reader(field.node, style, _join(path, field.name)), field.offset) for field in node.fields]
    return lambda view, at: make(tuple([read(view, at + offset) for read, offset in parts]))


def _enum_reader(node: types.EnumNode, style: str, path: str) -> Read:
    size, count = node.size, len(node.cases)
    values: List[Any] = [name for name, _ in node.cases]
    if style == "python" and node.python is not None:
        values = [node.python[name] for name in values]  # type: ignore[index]

    def read(view: Any, at: int) -> Any:
        number = int.from_bytes(view[at : at + size], "little")
        if number >= count:
            raise _corrupted(path, f"{number}, and {node.title} has {count} cases")
        return values[number]

    return read


def _optional_reader(node: types.OptionalNode, style: str, path: str) -> Read:
    read = reader(node.of, style, path)
    if isinstance(node.of, types.OptionalNode):
        # None and {"some": None} are two values.
        read_some = read
        read = lambda view, at: {"some": read_some(view, at)}  # noqa: E731
    if node.none is not None:
        mark, width, place = node.none

        def read_pattern(view: Any, at: int) -> Any:
            start = at + place
            if int.from_bytes(view[start : start + width], "little") == mark:
                return None
            return read(view, at)

        return read_pattern
    after = node.of.size

    def read_marked(view: Any, at: int) -> Any:
        flag = view[at + after]
        if flag > 1:
            raise _corrupted(path, f"{flag} as the mark of none, which is 0 or 1")
        return None if flag else read(view, at)

    return read_marked


def _count(view: Any, at: int, capacity: int, path: str) -> int:
    count = int.from_bytes(view[at : at + 4], "little")
    if count > capacity:
        raise _corrupted(path, f"the count {count}, and there is room for {capacity}")
    return count


def _text_reader(node: types.TextNode, path: str) -> Read:
    def read(view: Any, at: int) -> str:
        count = _count(view, at, node.capacity, path)
        try:
            return str(view[at + 4 : at + 4 + count], "utf-8")
        except UnicodeDecodeError:
            raise _corrupted(path, "bytes that are not UTF-8") from None

    return read


def _list_reader(node: types.ListNode, style: str, path: str) -> Read:
    read, stride, start = reader(node.of, style, path + "[]"), node.of.stride, node.start

    def read_list(view: Any, at: int) -> List[Any]:
        count = _count(view, at, node.capacity, path)
        at += start
        return [read(view, at + index * stride) for index in range(count)]

    return read_list


# ---- Writing ----


def writer(node: Node, path: str = "") -> Write:
    if isinstance(node, types.Simple):
        return _simple_writer(node, path)
    if isinstance(node, types.Struct):
        return _struct_writer(node, path)
    if isinstance(node, types.ArrayNode):
        return _elements_writer(node.of, node.count, node.count, 0, path)
    if isinstance(node, types.EnumNode):
        return _enum_writer(node, path)
    if isinstance(node, types.OptionalNode):
        return _optional_writer(node, path)
    if isinstance(node, types.TextNode):
        capacity = node.capacity

        def write_text(target: bytearray, at: int, value: Any) -> None:
            text = value.encode() if isinstance(value, str) else None
            if text is None or len(text) > capacity:
                raise _unfit(path, f"a string of at most {capacity} bytes", value)
            target[at : at + 4] = len(text).to_bytes(4, "little")
            target[at + 4 : at + 4 + len(text)] = text

        return write_text
    if isinstance(node, types.ListNode):
        write = _elements_writer(node.of, 0, node.capacity, node.start, path)

        def write_list(target: bytearray, at: int, value: Any) -> None:
            write(target, at, value)
            target[at : at + 4] = len(value).to_bytes(4, "little")

        return write_list
    if isinstance(node, types.Opaque):
        size = node.size

        def write_opaque(target: bytearray, at: int, value: Any) -> None:
            try:
                content = bytes(memoryview(value))
            except TypeError:
                content = b""
            if len(content) != size:
                raise _unfit(path, f"{size} bytes", value)
            target[at : at + size] = content

        return write_opaque
    raise error_of(19, f"write message: {node.name} is no part of a message")


def _simple_writer(node: types.Simple, path: str) -> Write:
    kind, size = node.kind, node.size
    if kind in _formats:
        pack = struct.Struct("<" + _formats[kind]).pack_into
        need = f"a number of {kind}"

        def write_number(target: bytearray, at: int, value: Any) -> None:
            try:
                pack(target, at, value)
            except (struct.error, OverflowError):
                if kind[0] == "f" and isinstance(value, (int, float)):
                    # Too large for it, as numbers of C are then.
                    return pack(target, at, math.copysign(math.inf, value))
                raise _unfit(path, need, value) from None

        return write_number
    if kind == "bool":

        def write_bool(target: bytearray, at: int, value: Any) -> None:
            if value is not True and value is not False and not (numpy and isinstance(value, numpy.bool_)):
                raise _unfit(path, "True or False", value)
            target[at] = 1 if value else 0

        return write_bool
    if kind == "char":

        def write_char(target: bytearray, at: int, value: Any) -> None:
            number = ord(value) if isinstance(value, str) and len(value) == 1 else 0xD800
            if 0xD800 <= number <= 0xDFFF:
                raise _unfit(path, "one character", value)
            target[at : at + 4] = number.to_bytes(4, "little")

        return write_char
    if kind == "f80":

        def write_f80(target: bytearray, at: int, value: Any) -> None:
            try:
                number = float(value)
            except (TypeError, ValueError):
                raise _unfit(path, "a number", value) from None
            sign = 0x8000 if math.copysign(1, number) < 0 else 0
            if math.isnan(number) or math.isinf(number):
                significand, exponent = (1 << 63 | (1 << 62 if math.isnan(number) else 0)), 0x7FFF
            elif number == 0:
                significand, exponent = 0, 0
            else:
                fraction, power = math.frexp(abs(number))
                significand, exponent = int(math.ldexp(fraction, 64)), power + 16382
            target[at : at + 8] = significand.to_bytes(8, "little")
            target[at + 8 : at + 10] = (sign | exponent).to_bytes(2, "little")

        return write_f80

    def write_big(target: bytearray, at: int, value: Any) -> None:
        try:
            target[at : at + size] = int.__index__(value).to_bytes(size, "little", signed=kind[0] == "i")
        except (TypeError, OverflowError):
            raise _unfit(path, f"a number of {kind}", value) from None

    return write_big


def _elements_writer(of: Node, least: int, most: int, start: int, path: str) -> Write:
    write, stride = writer(of, path + "[]"), of.stride
    need = f"a list of {most}" if least == most else f"a list of at most {most}"
    is_number = isinstance(of, types.Simple)

    def write_elements(target: bytearray, at: int, value: Any) -> None:
        if is_number and numpy is not None and isinstance(value, numpy.ndarray):
            value = value.tolist()
        if isinstance(value, (str, dict)) or not hasattr(value, "__len__") or not least <= len(value) <= most:
            raise _unfit(path, need, value)
        at += start
        for element in value:
            write(target, at, element)
            at += stride

    return write_elements


def _enum_writer(node: types.EnumNode, path: str) -> Write:
    numbers = {name: number for number, (name, _) in enumerate(node.cases)}
    size, count = node.size, len(node.cases)

    def write(target: bytearray, at: int, value: Any) -> None:
        if isinstance(value, enum.Enum):
            number = numbers.get(value.name)
        elif isinstance(value, str):
            number = numbers.get(value)
        else:
            # As NumPy has it: the number of the case.
            is_number = hasattr(value, "__index__") and not isinstance(value, bool)
            number = int(value) if is_number and 0 <= value < count else None
        if number is None:
            names = ", ".join(list(numbers)[:16])
            raise _unfit(path, f"one of {names}{', …' if count > 16 else ''}", value)
        target[at : at + size] = number.to_bytes(size, "little")

    return write


def _optional_writer(node: types.OptionalNode, path: str) -> Write:
    write = writer(node.of, path)
    if node.none is not None:
        mark, width, place = node.none
        none = mark.to_bytes(width, "little")
    else:
        place, width, none = node.of.size, 1, b"\1"

    is_nested, is_pattern = isinstance(node.of, types.OptionalNode), node.none is not None

    def write_optional(target: bytearray, at: int, value: Any) -> None:
        if value is None:
            target[at + place : at + place + width] = none
            return
        if is_nested:
            if not isinstance(value, dict) or set(value) != {"some"}:
                raise _unfit(path, 'None or {"some": …}', value)
            value = value["some"]
        write(target, at, value)
        # Of a schema that was written by hand: in those of types, no value has the mark.
        if is_pattern and target[at + place : at + place + width] == none:
            raise _unfit(path, "another value, since this one is the mark of none,", value)

    return write_optional


_missing = object()


def _struct_writer(node: types.Struct, path: str) -> Write:
    parts = [
        (field.name, field.offset, writer(field.node, _join(path, field.name)), _default(field.node))
        for field in node.fields
    ]
    names = {field.name: None for field in node.fields}
    python = node.python

    def write(target: bytearray, at: int, value: Any) -> None:
        if isinstance(value, dict):
            for key in value:
                if key not in names:
                    title = path or node.title or "the message"
                    raise error_of(
                        9, f"write message: {title} has no field {key!r}; it has {', '.join(names)}"
                    )
            values = [value.get(name, default) for name, _, _, default in parts]
        elif isinstance(value, (tuple, list)):
            if len(value) != len(parts):
                raise _unfit(path, f"{len(parts)} values", value)
            values = list(value)
        elif numpy is not None and isinstance(value, (numpy.void, numpy.ndarray)) and value.dtype.names is not None:
            values = [value[name] if name in value.dtype.names else default for name, _, _, default in parts]
        elif (python is not None and isinstance(value, python)) or dataclasses.is_dataclass(value):
            values = [getattr(value, name, default) for name, _, _, default in parts]
        else:
            raise _unfit(path, "a record, a tuple, a dict or a dataclass", value)
        for (name, offset, write_part, _), part in zip(parts, values):
            if part is _missing:
                raise error_of(9, f"write message: {_join(path, name)} is missing; give it")
            if part is not _empty:
                write_part(target, at + offset, part)

    return write


_empty = object()


def _default(node: Node) -> Any:
    """What a field has that is not given."""
    if isinstance(node, types.OptionalNode):
        return None
    return _empty if isinstance(node, types.ListNode) else _missing


# ---- Whole messages ----


class Codec:
    """Turns whole messages of one type into values, and back."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.size = node.size if node.is_fixed else 0
        self.is_fixed = node.is_fixed
        self._encoders: Dict[str, Any] = {}
        self.dtype: Any = None
        if numpy is not None and node.is_fixed and node.size:
            try:
                dtype = types.dtype_of(node)
                self.dtype = dtype if dtype.itemsize == node.size else None
            except (ValueError, TypeError, OverflowError):
                pass  # NumPy's items have less than 2 GiB
        self.is_natural = self.dtype is not None and types.is_natural(node)
        self._write: Optional[Write] = None
        self._pack: Optional[Callable[..., bytes]] = None
        if isinstance(node, types.Struct):
            format = plain_format(node)
            self._pack = struct.Struct(format).pack if format is not None else None

    @property
    def default(self) -> str:
        """How values are given if nothing else was asked for."""
        if not self.is_fixed and not isinstance(self.node, types.FramedNode):
            return "bytes" if isinstance(self.node, types.Bytes) else "dict"
        if self._has_python(self.node):
            return "python"
        return "numpy" if self.is_natural and isinstance(self.node, types.Struct) else "dict"

    def _has_python(self, node: Node) -> bool:
        if isinstance(node, types.FramedNode):
            node = node.header
        return node.python is not None

    def checked_style(self, style: Any) -> Tuple["Codec", str]:
        """The codec and the style for what a caller asks for."""
        if style is None:
            return self, self.default
        if style == "numpy":
            if self.dtype is None:
                why = "NumPy is not installed" if numpy is None else "NumPy has no type for it"
                raise error_of(19, f'as_="numpy": {why}: {self.node.name[:100]}; use "dict"')
            return self, style
        if style in ("dict", "tuple", "bytes"):
            return self, style
        if isinstance(style, type) or isinstance(style, types.FramedType):
            node = types.node_of_type(style)
            if node.form(False) != self.node.form(False):
                raise error_of(
                    4, f"as_={getattr(style, '__name__', style)}: it has another layout than the channel's messages, which"
                    f" are {self.node.name[:200]}; declare the same fields in the same order"
                )  # fmt: skip
            return Codec(node), "python"
        raise error_of(9, f'as_={style!r}: there are "numpy", "dict", "tuple", "bytes" and dataclasses')

    def wrong_size(self, count: int) -> Any:
        raise _corrupted("", f"{count} bytes instead of {self.size}")

    def decoder(self, style: str) -> Callable[[Any], Any]:
        """Reads a message from all bytes of a buffer."""
        node = self.node
        if style == "bytes" or isinstance(node, types.Bytes):
            return bytes
        if style == "numpy":
            # A copy of all bytes: NumPy's own copies have anything where fields have gaps.
            dtype, from_buffer, size = self.dtype, numpy.frombuffer, self.size

            def read_record(buffer: Any) -> Any:
                content = bytearray(buffer)
                if len(content) != size:
                    self.wrong_size(len(content))
                return from_buffer(content, dtype)[0]

            return read_record
        if isinstance(node, types.Coded):
            if node.coder != "JSON":
                return bytes

            def read_json(buffer: Any) -> Any:
                try:
                    return json.loads(bytes(buffer))
                except (ValueError, RecursionError) as error:
                    raise _corrupted("", f"no JSON: {error}") from None

            return read_json
        if isinstance(node, types.FramedNode):
            read_header, size = reader(node.header, style, "header"), node.header.size

            def read_framed(buffer: Any) -> types.Framed:
                view = memoryview(buffer)
                if len(view) < size:
                    raise _corrupted("", f"{len(view)} bytes, and its header {size}")
                return types.Framed(read_header(view, 0), bytes(view[size:]))

            return read_framed
        read, size = reader(node, style), node.size

        def read_fixed(buffer: Any) -> Any:
            view = memoryview(buffer)
            if len(view) != size:
                raise _corrupted("", f"{len(view)} bytes instead of {size}")
            return read(view, 0)

        return read_fixed

    def encode(self, value: Any) -> Any:
        """The bytes of a value: a bytes, or another object with a buffer. Bytes are taken as they are."""
        if type(value) is tuple and self._pack is not None:
            try:
                return self._pack(*value)
            except (struct.error, OverflowError):
                pass  # with the name of the field
        if isinstance(value, (bytes, bytearray, memoryview)):
            # An optional of bytes may be given without the byte that marks it.
            if not isinstance(self.node, types.OptionalNode) or memoryview(value).nbytes == self.size:
                return value
        if numpy is not None and isinstance(value, (numpy.void, numpy.ndarray)) and value.dtype == self.dtype:
            return value.tobytes()
        node = self.node
        if isinstance(node, types.Bytes):
            try:
                return memoryview(value).cast("B")
            except TypeError:
                raise _unfit("", "bytes, or an object with a buffer", value) from None
        if isinstance(node, types.Coded):
            if node.coder != "JSON":
                raise error_of(19, f"write message: its messages are encoded as {node.coder}; give the bytes")
            return json.dumps(value).encode()
        if isinstance(node, types.FramedNode):
            if isinstance(value, dict) and set(value) == {"header", "bytes"}:
                value = (value["header"], value["bytes"])
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise _unfit("", "Framed(header, bytes)", value)
            target = bytearray(node.header.size)
            header, content = value
            if isinstance(header, (bytes, bytearray, memoryview)) and len(header) == node.header.size:
                target[:] = header
            else:
                self._writer(node.header)(target, 0, header)
            return bytes(target) + bytes(content)
        if isinstance(value, types.Framed):
            raise _unfit("", node.name[:60], value)
        target = bytearray(node.size)
        self._writer(node)(target, 0, value)
        return target

    def _writer(self, node: Node) -> Write:
        if self._write is None:
            self._write = writer(node)
        return self._write
