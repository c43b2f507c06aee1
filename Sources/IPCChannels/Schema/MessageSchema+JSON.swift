import IPC

// The form of a schema as JSON, which `Documentation/log-format.md` describes.
extension MessageSchema {
    /// The schema as JSON, on one line.
    public var json: String { value(named: true).text }

    /// A number that the schemas of different types almost surely do not share. The names of nested types do not count.
    var fingerprint: UInt64 {
        var fingerprint = Fingerprint()
        fingerprint.add(value(named: false).text)
        if let name = ownName { fingerprint.add(name) }
        return fingerprint.value
    }

    /// The name that its author gave it, of a framed message the header's.
    private var ownName: String? {
        switch self {
        case .structure(let structure): structure.name
        case .enumeration(let enumeration): enumeration.name
        case .framed(let header): header.ownName
        default: nil
        }
    }

    /// - Parameter named: Whether structures and enumerations have their names.
    func value(named: Bool) -> JSONValue {
        switch self {
        case .bytes: .string("bytes")
        case .coded(let type, let coder):
            .members([("coded", .members([("type", .string(type)), ("coder", .string(coder))]))])
        case .framed(let header): .members([("framed", header.value(named: named))])
        case .integer(let byteCount, let isSigned): .string((isSigned ? "i" : "u") + "\(byteCount * 8)")
        case .float(let byteCount): .string(byteCount == 16 ? "f80" : "f\(byteCount * 8)")
        case .bool: .string("bool")
        case .scalar: .string("char")
        case .structure(let structure):
            .members([
                (
                    "struct",
                    .members([
                        ("name", named ? .string(structure.name) : nil), ("size", .integer(structure.byteCount)),
                        ("alignment", .integer(structure.alignment)),
                        ("fields", .array(structure.fields.map { $0.value(named: named) })),
                    ])
                )
            ])
        case .array(let count, let element):
            .members([("array", .members([("count", .integer(count)), ("of", element.value(named: named))]))])
        case .enumeration(let enumeration):
            .members([
                (
                    "enum",
                    .members([
                        ("name", named ? .string(enumeration.name) : nil),
                        ("cases", .array(enumeration.cases.map(\.value))),
                    ])
                )
            ])
        case .optional(let wrapped, let absence):
            .members([("optional", .members([("of", wrapped.value(named: named)), ("none", absence.value)]))])
        case .text(let capacity): .members([("text", .members([("capacity", .integer(capacity))]))])
        case .list(let capacity, let element):
            .members([("list", .members([("capacity", .integer(capacity)), ("of", element.value(named: named))]))])
        case .opaque(let byteCount, let alignment):
            .members([
                ("opaque", .members([("size", .integer(byteCount)), ("alignment", .integer(alignment))]))
            ])
        }
    }
}

extension MessageSchema.Field {
    fileprivate func value(named: Bool) -> JSONValue {
        .members([("name", .string(name)), ("offset", .integer(offset)), ("type", schema.value(named: named))])
    }
}

extension MessageSchema.Case {
    fileprivate var value: JSONValue {
        guard let rawValue else { return .string(name) }
        let raw: JSONValue =
            switch rawValue {
            case .number(let digits): .number(digits)
            case .text(let text): .string(text)
            }
        return .members([("name", .string(name)), ("raw", raw)])
    }
}

extension MessageSchema.Absence {
    fileprivate var value: JSONValue {
        switch self {
        case .byteAfterValue: .string("byte")
        case .pattern(let number, let byteCount, let offset):
            .members([
                ("value", .integer(number)), ("size", .integer(byteCount)), ("offset", .integer(offset)),
            ])
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo): the same in every process, unlike Swift's own hashing.
struct Fingerprint {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
        add(UInt8(0))
    }

    private mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
}
