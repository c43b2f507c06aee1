/// The description of a message type, for programs in every language: its fields with their names, offsets and kinds.
///
/// A channel keeps the schema of its messages. Programs whose types have the same schema use the same type, whatever their language.
///
/// ```swift
/// struct Quote: BitwiseCopyable { var symbol: UInt64; var price: Double }
/// let schema = try MessageSchema(of: Quote.self)
/// print(schema.json)  // {"struct":{"name":"Quote","size":16,"alignment":8,"fields":[…]}}
/// print(try schema.json(of: bytes))  // {"symbol":7,"price":12.5}
/// ```
public enum MessageSchema: Hashable, Sendable {
    // The cases that contain another schema are indirect one by one. If the enumeration were, a schema would be an address with bits of
    // its own in it, and the address sanitizer would take those that are kept for lost.

    /// Any bytes, in any number. Whole messages only.
    case bytes
    /// A `Codable` value, encoded in a format of this name. Whole messages only.
    case coded(type: String, coder: String)
    /// A header with any number of bytes after it. Whole messages only.
    indirect case framed(MessageSchema)
    /// A whole number of 1, 2, 4, 8 or 16 bytes, in two's complement if it is signed.
    case integer(byteCount: Int, isSigned: Bool)
    /// A number of IEEE 754 with 2, 4 or 8 bytes; or of 16 bytes, of which an x87 processor uses 10.
    case float(byteCount: Int)
    /// A byte that is 0 or 1.
    case bool
    /// A Unicode scalar value in 4 bytes.
    case scalar
    /// Fields that follow one another, perhaps with gaps.
    case structure(Structure)
    /// Elements of one kind, each at a multiple of the kind's stride.
    indirect case array(count: Int, of: MessageSchema)
    /// The number of a case, from 0 on.
    case enumeration(Enumeration)
    /// A value or none.
    indirect case optional(MessageSchema, Absence)
    /// UTF-8 text: its length in bytes as a UInt32, and room for `capacity` bytes.
    case text(capacity: Int)
    /// A count as a UInt32, and room for `capacity` elements, of which so many are valid.
    indirect case list(capacity: Int, of: MessageSchema)
    /// Bytes without a known meaning, for which every bit pattern is valid.
    case opaque(byteCount: Int, alignment: Int)

    /// A structure, or a tuple, whose fields are named 0, 1 and so on if they have no labels.
    public struct Structure: Hashable, Sendable {
        /// The name of the type; empty for a tuple.
        public let name: String
        /// In bytes, without the padding at its end.
        public let byteCount: Int
        public let alignment: Int
        public let fields: [Field]

        public init(name: String, byteCount: Int, alignment: Int, fields: [Field]) {
            self.name = name
            self.byteCount = byteCount
            self.alignment = alignment
            self.fields = fields
        }
    }

    public struct Field: Hashable, Sendable {
        public let name: String
        /// In bytes from the beginning of the structure.
        public let offset: Int
        public let schema: MessageSchema

        public init(_ name: String, at offset: Int, _ schema: MessageSchema) {
            self.name = name
            self.offset = offset
            self.schema = schema
        }
    }

    /// An enumeration without associated values. It takes no byte if it has one case, 1 byte up to 256 cases, 2 up to 65,536, then 4.
    public struct Enumeration: Hashable, Sendable {
        public let name: String
        public let cases: [Case]

        public init(name: String, cases: [Case]) {
            self.name = name
            self.cases = cases
        }
    }

    public struct Case: Hashable, Sendable {
        public let name: String
        /// The raw value; nil if it has none. It is not what is stored, which is the number of the case.
        public let rawValue: RawValue?

        public init(_ name: String, rawValue: RawValue? = nil) {
            self.name = name
            self.rawValue = rawValue
        }
    }

    public enum RawValue: Hashable, Sendable {
        /// In decimal digits, as JSON writes it.
        case number(String)
        case text(String)
    }

    /// How an optional without a value is marked.
    public enum Absence: Hashable, Sendable {
        /// This number, in 1, 2 or 4 bytes at the offset. No value has it.
        case pattern(UInt64, byteCount: Int, offset: Int)
        /// A byte after the value, which is 1 for none and 0 for a value. All bytes before it are 0 for none.
        case byteAfterValue
    }
}

// Sizes.
extension MessageSchema {
    /// The size of a value in bytes; 0 for messages whose size varies.
    public var byteCount: Int {
        switch self {
        case .bytes, .coded: 0
        case .framed(let header): header.byteCount
        case .integer(let byteCount, _), .float(let byteCount): byteCount
        case .bool: 1
        case .scalar: 4
        case .structure(let structure): structure.byteCount
        case .array(let count, let element): count * element.stride
        case .enumeration(let enumeration): enumeration.byteCount
        case .optional(let wrapped, .byteAfterValue): wrapped.byteCount + 1
        case .optional(let wrapped, .pattern): wrapped.byteCount
        case .text(let capacity): Self.textOffset + capacity
        case .list(0, _): Self.textOffset
        case .list(let capacity, let element): Self.listOffset(element) + capacity * element.stride
        case .opaque(let byteCount, _): byteCount
        }
    }

    /// In bytes; a power of two.
    public var alignment: Int {
        switch self {
        // What has no elements has not their alignment either: so Swift lays it out.
        case .bytes, .coded, .bool, .array(0, _): 1
        case .list(0, _): 4
        case .framed(let header): header.alignment
        case .integer(let byteCount, _), .float(let byteCount): byteCount
        case .scalar, .text: 4
        case .structure(let structure): structure.alignment
        case .array(_, let element): element.alignment
        case .enumeration(let enumeration): max(enumeration.byteCount, 1)
        case .optional(let wrapped, _): wrapped.alignment
        case .list(_, let element): max(element.alignment, 4)
        case .opaque(_, let alignment): alignment
        }
    }

    /// The distance between the elements of an array.
    public var stride: Int { max((byteCount + alignment - 1) & -alignment, 1) }

    /// Whether all messages have the same size.
    public var isFixedSize: Bool {
        switch self {
        case .bytes, .coded, .framed: false
        default: true
        }
    }

    /// Where a text's bytes are.
    static var textOffset: Int { 4 }

    /// Where a list's elements are.
    static func listOffset(_ element: MessageSchema) -> Int { (4 + element.alignment - 1) & -element.alignment }

    /// The name for people, such as `Quote`, `UInt64` or `bytes`.
    public var name: String {
        switch self {
        case .bytes: "bytes"
        case .coded(let type, let coder): "\(coder) of \(type)"
        case .framed(let header): "Framed<\(header.name)>"
        case .integer(let byteCount, let isSigned): (isSigned ? "Int" : "UInt") + "\(byteCount * 8)"
        case .float(2): "Float16"
        case .float(4): "Float"
        case .float(8): "Double"
        case .float: "Float80"
        case .bool: "Bool"
        case .scalar: "Unicode.Scalar"
        case .structure(let structure) where structure.name.isEmpty:
            "(" + structure.fields.map { "\($0.name): \($0.schema.name)" }.joined(separator: ", ") + ")"
        case .structure(let structure): structure.name
        case .array(let count, let element): "InlineArray<\(count), \(element.name)>"
        case .enumeration(let enumeration): enumeration.name
        case .optional(let wrapped, _): "Optional<\(wrapped.name)>"
        case .text(let capacity): "InlineString<\(capacity)>"
        case .list(let capacity, let element): "InlineList<\(element.name), \(capacity)>"
        case .opaque(let byteCount, _): "\(byteCount) bytes"
        }
    }
}

extension MessageSchema.Enumeration {
    /// The size of a value in bytes.
    public var byteCount: Int {
        switch cases.count {
        case ...1: 0
        case ...0x100: 1
        case ...0x1_0000: 2
        default: 4
        }
    }
}
