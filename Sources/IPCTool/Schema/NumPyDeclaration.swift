import IPC
import IPCChannels

/// A channel's messages as an expression of Python: `np.dtype` with names, formats, offsets and the size of a message.
enum NumPyDeclaration {
    /// - Throws: `unsupported` if a part has a kind that only whole messages have.
    static func text(_ schema: ChannelSchema, of channel: String) throws(IPCError) -> String {
        if case .messages(let message) = schema { return try type(message, channel) }
        var members: [String] = []
        for part in schema.parts { members.append("'\(part.name.lowercased())': \(try type(part.schema, channel))") }
        return "{\(members.joined(separator: ", "))}"
    }

    private static func type(_ message: MessageSchema, _ channel: String) throws(IPCError) -> String {
        switch message {
        // One of any number of bytes.
        case .bytes, .coded: return "np.dtype('u1')"
        case .framed(let header): return try type(header, channel)
        case .structure(let structure): return try fields(structure, size: structure.byteCount, channel)
        default: return try fields([("value", 0, message)], size: message.byteCount, channel)
        }
    }

    private static func fields(
        _ structure: MessageSchema.Structure, size: Int, _ channel: String
    ) throws(IPCError) -> String {
        try fields(structure.fields.map { ($0.name, $0.offset, $0.schema) }, size: size, channel)
    }

    private static func fields(
        _ fields: [(name: String, offset: Int, schema: MessageSchema)], size: Int, _ channel: String
    ) throws(IPCError) -> String {
        var (names, formats, offsets): ([String], [String], [String]) = ([], [], [])
        var unique = UniqueNames()
        func add(_ name: String, _ offset: Int, _ schema: MessageSchema) throws(IPCError) {
            switch schema {
            // What has no bytes.
            case _ where schema.byteCount == 0: return
            case .optional(let wrapped, .pattern): try add(name, offset, wrapped.marked)
            case .optional(let wrapped, .byteAfterValue):
                try add(name, offset, wrapped)
                try add(name + "_is_none", offset + wrapped.byteCount, .bool)
            default:
                names.append(literal(unique.take(name.isEmpty ? "unnamed" : name)))
                formats.append(try format(schema, size: schema.byteCount, channel))
                offsets.append("\(offset)")
            }
        }
        for field in fields { try add(field.name, field.offset, field.schema) }
        func list(_ elements: [String]) -> String { "[" + elements.joined(separator: ", ") + "]" }
        return "np.dtype({'names': \(list(names)), 'formats': \(list(formats)), 'offsets': \(list(offsets)), "
            + "'itemsize': \(size)})"
    }

    /// - Parameter size: The size of an item in bytes: of an array's element, with the padding at its end.
    private static func format(_ schema: MessageSchema, size: Int, _ channel: String) throws(IPCError) -> String {
        switch schema {
        // NumPy has none of these.
        case .integer(16, _): return "'V16'"
        case .integer(let byteCount, let isSigned): return "'<\(isSigned ? "i" : "u")\(byteCount)'"
        case .float(let byteCount): return "'<f\(byteCount)'"
        case .bool: return "'?'"
        case .scalar: return "'<u4'"
        case .structure(let structure): return try fields(structure, size: size, channel)
        case .array(let count, let element):
            guard element.byteCount > 0 else { return "'V\(count)'" }
            return "(\(try format(element, size: element.stride, channel)), (\(count),))"
        case .enumeration(let enumeration): return "'<u\(enumeration.byteCount)'"
        case .optional(let wrapped, .pattern): return try format(wrapped.marked, size: size, channel)
        case .optional: return try fields([("value", 0, schema)], size: size, channel)
        case .text(let capacity):
            return try fields(
                [
                    ("count", 0, .integer(byteCount: 4, isSigned: false)),
                    ("bytes", 4, .array(count: capacity, of: .integer(byteCount: 1, isSigned: false))),
                ], size: size, channel)
        case .list(let capacity, let element):
            let start = (4 + element.alignment - 1) & -element.alignment
            return try fields(
                [
                    ("count", 0, .integer(byteCount: 4, isSigned: false)),
                    ("elements", start, .array(count: capacity, of: element)),
                ], size: size, channel)
        case .opaque: return "'V\(size)'"
        case .bytes, .coded, .framed:
            throw DeclarationText.refusal("NumPy", channel, "a part is of a kind that only whole messages have")
        }
    }

    /// A string of Python, in ASCII.
    static func literal(_ text: String) -> String {
        var result = "'"
        for scalar in text.unicodeScalars {
            switch scalar {
            case "'", "\\": result += "\\\(scalar)"
            case _ where scalar.value >= 0x20 && scalar.value < 0x7f: result.unicodeScalars.append(scalar)
            default:
                let digits = String(scalar.value, radix: 16)
                result += "\\U" + String(repeating: "0", count: 8 - digits.count) + digits
            }
        }
        return result + "'"
    }
}

extension MessageSchema {
    /// Of an optional whose mark is a number of its value: a `Bool` has other values than 0 and 1 there.
    fileprivate var marked: MessageSchema {
        switch self {
        case .bool: .integer(byteCount: 1, isSigned: false)
        case .optional(let wrapped, .pattern(let number, let byteCount, let offset)):
            .optional(wrapped.marked, .pattern(number, byteCount: byteCount, offset: offset))
        default: self
        }
    }
}
