"""Message types: what Python types mean, and how their values are laid out.

A type is described by a node, which has the JSON form of the library's schemas. Nodes come from that JSON, from dataclasses and
annotations, and from NumPy's types.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
import typing
from typing import Annotated, Any, Dict, List as ListOf, NamedTuple, Optional, Tuple, Union, get_args, get_origin

from ._errors import error_of

numpy: Any
try:
    import numpy
except ImportError:  # everything but records and batches works without it
    numpy = None


def _invalid(text: str) -> Exception:
    return error_of(9, text)


class Spare(NamedTuple):
    """Numbers that no value has, in ``width`` bytes at ``offset``: so many from ``first`` on."""

    offset: int
    width: int
    first: int
    total: int

    @staticmethod
    def after(width: int, first: int) -> Optional["Spare"]:
        limit = 1 << (8 * width)
        return Spare(0, width, first, limit - first) if first < limit else None


class Node:
    """A part of a message type."""

    size = 0
    alignment = 1
    is_fixed = True
    spare: Optional[Spare] = None
    #: The dataclass or the enumeration that its values become.
    python: Optional[type] = None

    @property
    def stride(self) -> int:
        return max((self.size + self.alignment - 1) & -self.alignment, 1)

    def form(self, named: bool = True) -> Any:
        """As JSON has it."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return json.dumps(self.form())


class Simple(Node):
    def __init__(self, kind: str, size: int, alignment: int = 0, spare: Optional[Spare] = None) -> None:
        self.kind = kind
        self.size = size
        self.alignment = alignment or max(size, 1)
        self.spare = spare

    def form(self, named: bool = True) -> Any:
        return self.kind


class Bytes(Node):
    is_fixed = False

    def form(self, named: bool = True) -> Any:
        return "bytes"


class Coded(Node):
    is_fixed = False

    def __init__(self, type: str, coder: str) -> None:
        self.type = type
        self.coder = coder

    def form(self, named: bool = True) -> Any:
        return {"coded": {"type": self.type, "coder": self.coder}}


class FramedNode(Node):
    is_fixed = False

    def __init__(self, header: Node) -> None:
        self.header = header
        self.size = header.size
        self.alignment = header.alignment

    def form(self, named: bool = True) -> Any:
        return {"framed": self.header.form(named)}


class Field(NamedTuple):
    name: str
    offset: int
    node: Node


class Struct(Node):
    def __init__(
        self, name: str, size: int, alignment: int, fields: ListOf[Field], python: Optional[type] = None
    ) -> None:
        self.title = name
        self.size = size
        self.alignment = alignment
        self.fields = fields
        self.python = python
        for field in fields:
            spare = field.node.spare
            if spare is not None and spare.total > (self.spare.total if self.spare else 0):
                self.spare = spare._replace(offset=spare.offset + field.offset)

    @staticmethod
    def laid_out(name: str, parts: ListOf[Tuple[str, Node]], python: Optional[type] = None) -> "Struct":
        """Each field at the next multiple of its alignment, and no padding at the end."""
        fields: ListOf[Field] = []
        size, alignment = 0, 1
        for field_name, node in parts:
            offset = (size + node.alignment - 1) & -node.alignment
            fields.append(Field(field_name, offset, node))
            size = offset + node.size
            alignment = max(alignment, node.alignment)
        return Struct(name, size, alignment, fields, python)

    @property
    def is_tuple(self) -> bool:
        return not self.title and all(field.name == str(index) for index, field in enumerate(self.fields))

    def form(self, named: bool = True) -> Any:
        content: Dict[str, Any] = {"name": self.title} if named else {}
        content.update(size=self.size, alignment=self.alignment)
        content["fields"] = [
            {"name": field.name, "offset": field.offset, "type": field.node.form(named)} for field in self.fields
        ]
        return {"struct": content}


class ArrayNode(Node):
    def __init__(self, count: int, of: Node) -> None:
        self.count = count
        self.of = of
        self.size = count * of.stride
        # What has no elements has not their alignment either: so Swift lays it out. The spare numbers are those of the first one.
        self.alignment = of.alignment if count else 1
        self.spare = of.spare if count else None

    def form(self, named: bool = True) -> Any:
        return {"array": {"count": self.count, "of": self.of.form(named)}}


class EnumNode(Node):
    def __init__(self, name: str, cases: ListOf[Tuple[str, Any]], python: Optional[type] = None) -> None:
        """Cases have a name, and the JSON of their raw value or None."""
        self.title = name
        self.cases = cases
        self.python = python
        count = len(cases)
        self.size = 0 if count <= 1 else 1 if count <= 0x100 else 2 if count <= 0x10000 else 4
        self.alignment = max(self.size, 1)
        self.spare = Spare.after(self.size, count) if self.size else None

    def form(self, named: bool = True) -> Any:
        content: Dict[str, Any] = {"name": self.title} if named else {}
        content["cases"] = [name if raw is None else {"name": name, "raw": raw} for name, raw in self.cases]
        return {"enum": content}


class OptionalNode(Node):
    def __init__(self, of: Node, none: Optional[Tuple[int, int, int]]) -> None:
        """None is marked by a number, a width and an offset, or by a byte after the value."""
        self.of = of
        self.none = none
        self.size = of.size if none else of.size + 1
        self.alignment = of.alignment
        spare = of.spare
        if spare and spare.total > 1 and none == (spare.first, spare.width, spare.offset):
            self.spare = spare._replace(first=spare.first + 1, total=spare.total - 1)

    @staticmethod
    def laid_out(of: Node) -> "OptionalNode":
        """As Swift lays it out."""
        spare = of.spare
        return OptionalNode(of, (spare.first, spare.width, spare.offset) if spare else None)

    def form(self, named: bool = True) -> Any:
        none: Any = "byte"
        if self.none:
            none = {"value": self.none[0], "size": self.none[1], "offset": self.none[2]}
        return {"optional": {"of": self.of.form(named), "none": none}}


class TextNode(Node):
    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 4 + capacity
        self.alignment = 4

    def form(self, named: bool = True) -> Any:
        return {"text": {"capacity": self.capacity}}


class ListNode(Node):
    def __init__(self, capacity: int, of: Node) -> None:
        self.capacity = capacity
        self.of = of
        self.start = (4 + of.alignment - 1) & -of.alignment if capacity else 4
        self.size = self.start + capacity * of.stride
        self.alignment = max(of.alignment, 4) if capacity else 4
        if capacity and of.spare:
            self.spare = of.spare._replace(offset=of.spare.offset + self.start)

    def form(self, named: bool = True) -> Any:
        return {"list": {"capacity": self.capacity, "of": self.of.form(named)}}


class Opaque(Node):
    def __init__(self, size: int, alignment: int = 1) -> None:
        self.size = size
        self.alignment = alignment

    def form(self, named: bool = True) -> Any:
        return {"opaque": {"size": self.size, "alignment": self.alignment}}


_simple: Dict[str, Tuple[int, Optional[Spare]]] = {
    "bool": (1, Spare.after(1, 2)), "char": (4, None), "f16": (2, None), "f32": (4, None), "f64": (8, None),
    "f80": (16, None), "u8": (1, None), "u16": (2, None), "u32": (4, None), "u64": (8, None), "u128": (16, None),
    "i8": (1, None), "i16": (2, None), "i32": (4, None), "i64": (8, None), "i128": (16, None),
}  # fmt: skip


def simple(kind: str) -> Node:
    size, spare = _simple[kind]
    return Simple(kind, size, spare=spare)


# ---- From JSON ----


def node_of_form(form: Any) -> Node:
    """The node of a schema's JSON, which the library has checked."""
    try:
        return _node(form)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _invalid("read schema: it is not a schema; see Documentation/log-format.md") from None
    except RecursionError:
        raise error_of(19, "read schema: it has too many levels for Python; use a flatter type") from None


def _node(form: Any) -> Node:
    if isinstance(form, str):
        return Bytes() if form == "bytes" else simple(form)
    ((kind, content),) = form.items()
    if kind == "struct":
        fields = [Field(field["name"], field["offset"], _node(field["type"])) for field in content["fields"]]
        return Struct(content["name"], content["size"], content["alignment"], fields)
    if kind == "array":
        return ArrayNode(content["count"], _node(content["of"]))
    if kind == "enum":
        cases = [(case, None) if isinstance(case, str) else (case["name"], case["raw"]) for case in content["cases"]]
        return EnumNode(content["name"], cases)
    if kind == "optional":
        none = content["none"]
        return OptionalNode(
            _node(content["of"]), None if none == "byte" else (none["value"], none["size"], none["offset"])
        )
    if kind == "text":
        return TextNode(content["capacity"])
    if kind == "list":
        return ListNode(content["capacity"], _node(content["of"]))
    if kind == "opaque":
        return Opaque(content["size"], content["alignment"])
    if kind == "framed":
        return FramedNode(_node(content))
    if kind == "coded":
        return Coded(content["type"], content["coder"])
    raise ValueError(kind)


# ---- Annotations ----


class Kind:
    """The kind of an annotated number or character: ``Annotated[int, Kind("u8")]``."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"Kind({self.kind!r})"


u8 = Annotated[int, Kind("u8")]
u16 = Annotated[int, Kind("u16")]
u32 = Annotated[int, Kind("u32")]
u64 = Annotated[int, Kind("u64")]
u128 = Annotated[int, Kind("u128")]
i8 = Annotated[int, Kind("i8")]
i16 = Annotated[int, Kind("i16")]
i32 = Annotated[int, Kind("i32")]
i64 = Annotated[int, Kind("i64")]
i128 = Annotated[int, Kind("i128")]
f16 = Annotated[float, Kind("f16")]
f32 = Annotated[float, Kind("f32")]
f64 = Annotated[float, Kind("f64")]
char = Annotated[str, Kind("char")]


def _count(count: Any, what: str) -> int:
    if not isinstance(count, int) or not 0 <= count <= 0xFFFFFFFF:
        raise _invalid(f"{what}: the count is {count!r}; it must be 0 to 4294967295")
    return count


class Text:
    """Text of at most so many bytes of UTF-8: ``Text[16]``, or ``Annotated[str, Text(16)]`` for type checkers."""

    def __init__(self, capacity: int) -> None:
        self.capacity = _count(capacity, "Text")

    def __class_getitem__(cls, capacity: int) -> Any:
        return Annotated[str, Text(capacity)]


class List:
    """At most so many elements: ``List[u32, 8]``, or ``Annotated[list, List(u32, 8)]`` for type checkers."""

    def __init__(self, of: Any, capacity: int) -> None:
        self.of = of
        self.capacity = _count(capacity, "List")

    def __class_getitem__(cls, arguments: Tuple[Any, int]) -> Any:
        of, capacity = arguments
        return Annotated[list, List(of, capacity)]


class Array:
    """Exactly so many elements: ``Array[f32, 3]``, or ``Annotated[list, Array(f32, 3)]`` for type checkers."""

    def __init__(self, of: Any, count: int) -> None:
        self.of = of
        self.count = _count(count, "Array")

    def __class_getitem__(cls, arguments: Tuple[Any, int]) -> Any:
        of, count = arguments
        return Annotated[list, Array(of, count)]


class Framed(NamedTuple):
    """A header with any number of bytes after it, as a message; ``Framed.of(Header)`` is its type."""

    header: Any
    bytes: bytes

    @staticmethod
    def of(header: Any) -> "FramedType":
        return FramedType(header)


class FramedType:
    def __init__(self, header: Any) -> None:
        self.header = header


class _Case:
    """The value of an enumeration's case that has none."""


def case() -> Any:
    """The value of a case without a raw value, as in Swift's ``enum Side { case buy, sell }``."""
    return _Case()


def node_of_type(type: Any, name: Optional[str] = None) -> Node:
    """The node of a Python type.

    ``name`` is that of the structure, in place of the type's own.
    """
    node = _node_of_type(type, "the type", True, ())
    if name is not None:
        if not isinstance(node, (Struct, EnumNode)):
            raise _invalid(f"name={name!r}: only a structure or an enumeration has a name, and this is {node.name}")
        node.title = name
    return node


def _node_of_type(type: Any, path: str, is_whole: bool, outer: Tuple[Any, ...]) -> Node:
    if isinstance(type, Node):
        return type
    if numpy is not None:
        if isinstance(type, numpy.dtype):
            return _node_of_dtype(type, path, "Record" if is_whole else "")
        if isinstance(type, builtin_type) and issubclass(type, numpy.generic):
            return _node_of_dtype(numpy.dtype(type), path, "")
    if isinstance(type, FramedType) and is_whole:
        return FramedNode(_node_of_type(type.header, "the header", False, outer))
    if isinstance(type, (dict, str)) and is_whole:
        return _node_of_schema(type)
    if type is int:
        return simple("i64")
    if type is float:
        return simple("f64")
    if type is bool:
        return simple("bool")
    if type is bytes and is_whole:
        return Bytes()
    origin = get_origin(type)
    if origin is Annotated:
        for mark in get_args(type)[1:]:
            if isinstance(mark, Kind):
                return simple(mark.kind)
            if isinstance(mark, Text):
                return TextNode(mark.capacity)
            if isinstance(mark, List):
                return ListNode(mark.capacity, _node_of_type(mark.of, path + "[]", False, outer))
            if isinstance(mark, Array):
                return ArrayNode(mark.count, _node_of_type(mark.of, path + "[]", False, outer))
        return _node_of_type(get_args(type)[0], path, is_whole, outer)
    if origin is Union or (sys.version_info >= (3, 10) and origin is _union_type):
        parts = [part for part in get_args(type) if part is not builtin_type(None)]
        if len(parts) == 1 and len(get_args(type)) == 2:
            return OptionalNode.laid_out(_node_of_type(parts[0], path, False, outer))
    if isinstance(type, builtin_type) and issubclass(type, enum.Enum):
        return _node_of_enum(type, path)
    if isinstance(type, builtin_type) and dataclasses.is_dataclass(type):
        if type in outer:
            raise _invalid(f"{path}: {type.__name__} contains itself; a message has no references")
        hints = typing.get_type_hints(type, include_extras=True)
        parts_of: ListOf[Tuple[str, Node]] = [
            (field.name, _node_of_type(hints[field.name], f"{type.__name__}.{field.name}", False, (*outer, type)))
            for field in dataclasses.fields(type)
        ]
        return Struct.laid_out(type.__name__, parts_of, type)
    known: Dict[Any, str] = {str: "Text[n]", list: "List[T, n] or Array[T, n]", bytes: "Array[u8, n]"}
    advice = "a number, bool, a dataclass, an Enum or a type of swift_ipc"
    if isinstance(type, builtin_type):
        advice = known.get(type, advice)
    raise _invalid(f"{path}: {type!r} has no layout in a message; use {advice}")


builtin_type = type
_union_type: Any = builtin_type(Union) if sys.version_info < (3, 10) else __import__("types").UnionType


def _node_of_enum(type: Any, path: str) -> Node:
    cases: ListOf[Tuple[str, Any]] = []
    for member in type:
        raw = member.value
        is_raw = isinstance(raw, (int, float, str)) and not isinstance(raw, bool)
        cases.append((member.name, raw if is_raw else None))
    if not cases:
        raise _invalid(f"{path}: {type.__name__} has no cases; add one")
    return EnumNode(type.__name__, cases, type)


def _node_of_schema(schema: Union[Dict[str, Any], str]) -> Node:
    if isinstance(schema, str):
        if schema == "bytes" or schema in _simple:
            schema = json.dumps(schema)
        try:
            schema = json.loads(schema)
        except ValueError as error:
            raise _invalid(f"read schema: it is not JSON: {error}") from None
        except RecursionError:
            raise _invalid("read schema: it has too many levels") from None
    if isinstance(schema, dict) and set(schema) == {"message"}:
        schema = schema["message"]
    return node_of_form(schema)


def _node_of_dtype(dtype: Any, path: str, name: str) -> Node:
    if dtype.subdtype is not None:
        node, shape = _node_of_dtype(dtype.subdtype[0], path, name), dtype.subdtype[1]
        for count in reversed(shape):
            node = ArrayNode(count, node)
        return node
    if dtype.names is not None:
        fields = [
            Field(field, dtype.fields[field][1], _node_of_dtype(dtype.fields[field][0], f"{path}.{field}", field))
            for field in dtype.names
        ]
        alignment = max([field.node.alignment for field in fields], default=1)
        end = max([field.offset + field.node.size for field in fields], default=0)
        if any(field.offset % field.node.alignment for field in fields):
            alignment = 1
        # Without the padding that C has at the end.
        is_padded = dtype.itemsize == (end + alignment - 1) & -alignment
        return Struct(name, end if is_padded else dtype.itemsize, alignment, fields)
    if dtype.byteorder == ">" and dtype.itemsize > 1:
        raise _invalid(f"{path}: {dtype} is of the other byte order; use dtype.newbyteorder('<')")
    kinds = {"i": "i", "u": "u", "f": "f"}
    if dtype.kind in kinds and dtype.itemsize <= 8:
        return simple(f"{kinds[dtype.kind]}{dtype.itemsize * 8}")
    if dtype.kind == "b":
        return simple("bool")
    if dtype.kind in "SV" and dtype.itemsize:
        return Opaque(dtype.itemsize)
    raise _invalid(f"{path}: NumPy's {dtype} has no layout in a message; use numbers, bool, bytes (V) or structures of them")


# ---- To NumPy ----


def dtype_of(node: Node, size: Optional[int] = None) -> Any:
    """NumPy's type of a message, in the form that ``ipc schema --format numpy`` prints.

    ``size`` is that of an item: of an array's element, with the padding at its end.
    """
    size = node.size if size is None else size
    if isinstance(node, Simple):
        if node.kind in ("u128", "i128", "f80"):
            return numpy.dtype(f"V{node.size}")
        if node.kind == "bool":
            return numpy.dtype("?")
        if node.kind == "char":
            return numpy.dtype("<u4")
        return numpy.dtype(f"<{node.kind[0]}{node.size}")
    if isinstance(node, Struct):
        return _structured([(field.name, field.offset, field.node) for field in node.fields], size)
    if isinstance(node, ArrayNode):
        if node.of.size == 0:
            return numpy.dtype(f"V{node.count}")
        return numpy.dtype((dtype_of(node.of, node.of.stride), (node.count,)))
    if isinstance(node, EnumNode):
        return numpy.dtype(f"<u{node.size}") if node.size else numpy.dtype("V0")
    if isinstance(node, OptionalNode):
        return dtype_of(_marked(node), size) if node.none else _structured([("value", 0, node)], size)
    if isinstance(node, TextNode):
        return _structured([("count", 0, simple("u32")), ("bytes", 4, ArrayNode(node.capacity, simple("u8")))], size)
    if isinstance(node, ListNode):
        parts = [("count", 0, simple("u32")), ("elements", node.start, ArrayNode(node.capacity, node.of))]
        return _structured(parts, size)
    return numpy.dtype(f"V{size}")


def _marked(node: OptionalNode) -> Node:
    """What is optional. NumPy's flags do not show the number that marks none: they become bytes."""
    of = node.of
    while isinstance(of, OptionalNode) and of.none:
        of = of.of
    return simple("u8") if node.none and isinstance(of, Simple) and of.kind == "bool" else node.of


def _structured(parts: ListOf[Tuple[str, int, Node]], size: int) -> Any:
    names: ListOf[str] = []
    formats: ListOf[Any] = []
    offsets: ListOf[int] = []

    def add(name: str, offset: int, node: Node) -> None:
        if node.size == 0:
            return
        if isinstance(node, OptionalNode):
            add(name, offset, _marked(node))
            if node.none is None:
                add(name + "_is_none", offset + node.of.size, simple("bool"))
            return
        name = name or "unnamed"
        while name in names:
            name += "_"
        names.append(name)
        formats.append(dtype_of(node))
        offsets.append(offset)

    for part in parts:
        add(*part)
    return numpy.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def is_natural(node: Node) -> bool:
    """Whether NumPy has all its parts, so that nothing of their meaning is lost."""
    if isinstance(node, Simple):
        return node.kind not in ("u128", "i128", "f80", "char")
    if isinstance(node, Struct):
        return node.size > 0 and bool(node.fields) and all(is_natural(field.node) for field in node.fields)
    if isinstance(node, ArrayNode):
        return node.size > 0 and is_natural(node.of)
    return isinstance(node, Opaque) and node.size > 0
