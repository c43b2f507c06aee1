package import IPC

/// A field of messages by itself, for tables: a number, a text, a case or a list.
package struct MessageColumn: Sendable {
    /// The path of fields, such as `place.x`; `message` if it is no part.
    package let name: String
    /// In bytes from the beginning of the message.
    package let offset: Int
    package let schema: MessageSchema
    /// Of the optionals that it is in: if one has no value, neither has this.
    private let marks: [Mark]
    /// Whether it is read; false if there are too many values before it.
    private let isRead: Bool

    /// Where an optional says that it has no value.
    private struct Mark {
        let offset: Int
        let byteCount: Int
        let none: UInt64

        init(_ absence: MessageSchema.Absence, _ wrapped: MessageSchema, at start: Int) {
            switch absence {
            case .pattern(let none, let byteCount, let offset):
                (self.offset, self.byteCount, self.none) = (start + offset, byteCount, none)
            case .byteAfterValue: (offset, byteCount, none) = (start + wrapped.byteCount, 1, 1)
            }
        }

        /// Whether there is no value; nil if that was cut.
        func isNone(_ message: [UInt8]) -> Bool? {
            guard offset + byteCount <= message.count else { return nil }
            return message[offset..<offset + byteCount].reversed().reduce(0) { $0 << 8 | UInt64($1) } == none
        }
    }

    /// The columns of a schema, in the order of its declaration.
    ///
    /// - Parameters:
    ///   - most: The maximum number of columns.
    ///   - mostValues: How many values are read of a message; the columns after those are not read. A schema may come from anybody.
    package static func all(
        of schema: MessageSchema, most: Int = .max, mostValues: Int = .max
    ) -> [MessageColumn] {
        var columns: [MessageColumn] = []
        var valuesLeft = mostValues
        func add(_ schema: MessageSchema, _ path: String, at offset: Int, _ marks: [Mark]) {
            guard columns.count < most else { return }
            switch schema {
            case .structure(let structure) where !structure.fields.isEmpty:
                for field in structure.fields {
                    add(
                        field.schema, path.isEmpty ? field.name : path + "." + field.name, at: offset + field.offset,
                        marks)
                }
            case .optional(let wrapped, let absence) where wrapped.hasColumns:
                add(wrapped, path, at: offset, marks + [Mark(absence, wrapped, at: offset)])
            default:
                valuesLeft -= schema.valueCount
                columns.append(
                    MessageColumn(
                        name: path.isEmpty ? "message" : path, offset: offset, schema: schema, marks: marks,
                        isRead: valuesLeft >= 0))
            }
        }
        if case .framed(let header) = schema {
            add(header, "header", at: 0, [])
            add(.bytes, "bytes", at: header.byteCount, [])
        } else {
            add(schema, "", at: 0, [])
        }
        return columns
    }

    /// Its value in a message; nil if that was cut, or is not read.
    ///
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` with its name if the bytes are no value.
    package func value(in message: [UInt8]) throws(IPCError) -> JSONValue? {
        for mark in marks {
            guard let isNone = mark.isNone(message) else { return nil }
            if isNone { return .null }
        }
        let end = schema.isFixedSize ? offset + schema.byteCount : message.count
        guard isRead, offset <= end, end <= message.count else { return nil }
        do throws(IPCError) { return try schema.jsonValue(of: Array(message[offset..<end])) } catch {
            throw IPCError(error.code, "read message", name, advice: "\(name): \(error.advice)")
        }
    }
}

extension MessageSchema {
    /// Whether it is of several columns.
    fileprivate var hasColumns: Bool {
        switch self {
        case .structure(let structure): !structure.fields.isEmpty
        case .optional(let wrapped, _): wrapped.hasColumns
        default: false
        }
    }

    /// How many values are read for one of these, at most 2^30.
    package var valueCount: Int {
        let count =
            switch self {
            case .structure(let structure): structure.fields.reduce(1) { $0 + $1.schema.valueCount }
            case .array(let count, let element), .list(let count, let element): 1 + count * element.valueCount
            case .optional(let wrapped, _): 1 + wrapped.valueCount
            case .framed(let header): 1 + header.valueCount
            case .text(let size), .opaque(let size, _): 1 + size
            default: 1
            }
        return min(count, 1 << 30)
    }
}
