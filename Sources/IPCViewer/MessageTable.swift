import IPC
import IPCChannels

/// The messages of a channel with a schema, as a table: a column for each field, for the page in JSON.
///
/// The schema and the messages may come from anybody. So what is read of a message is limited, in bytes and in values.
struct MessageTable {
    /// The maximum number of fields with a column of their own. The others share one more column.
    private static let mostColumns = 24
    /// The maximum number of fields in the shared column.
    private static let mostOthers = 256
    /// The maximum number of bytes of a message that are copied.
    static let bytesOfEach = 16384
    /// The maximum number of values that are read of a message. A schema may describe the same bytes many times.
    private static let mostValues = 1 << 16
    /// The maximum size of a cell, and of a name, in bytes.
    private static let (bytesOfCell, bytesOfName) = (1024, 200)

    private let schema: MessageSchema
    private let fields: [MessageField]
    private let others: [MessageField]
    /// Whether a message is small enough that all of it is checked.
    private let isChecked: Bool

    /// - Parameter schema: Of messages with a type: not `bytes`.
    init(_ schema: MessageSchema) {
        self.schema = schema
        var all = FieldList(most: Self.mostColumns + Self.mostOthers, valuesLeft: Self.mostValues)
        switch schema {
        case .framed(let header):
            all.add(header, "header", at: 0, [])
            all.add(.bytes, "bytes", at: header.byteCount, [])
        default: all.add(schema, "", at: 0, [])
        }
        let isWide = all.fields.count > Self.mostColumns
        fields = Array(all.fields.prefix(Self.mostColumns))
        others = isWide ? Array(all.fields.dropFirst(Self.mostColumns)) : []
        isChecked = schema.valueCount <= Self.mostValues
    }

    /// Whether the column of this number can be drawn.
    func hasNumbers(_ column: Int) -> Bool { fields.indices.contains(column) && fields[column].schema.isNumber }

    /// The columns' names, and which are of numbers.
    var columns: String {
        var columns = fields.map { field in
            "{\"name\":\(Self.limited(field.name, Self.bytesOfName)),\"number\":\(field.schema.isNumber)}"
        }
        if !others.isEmpty { columns.append("{\"name\":\"other fields\",\"number\":false}") }
        return "[" + columns.joined(separator: ",") + "]"
    }

    /// The cells of a message, or why it does not fit the schema.
    func row(_ message: ChannelTap.Message) -> String {
        let start = "{\"sequence\":\(message.sequence),\"bytes\":\(message.byteCount),"
        do throws(IPCError) {
            try check(message)
            var cells = try fields.map { (field) throws(IPCError) in try cell(field, message) }
            if !others.isEmpty { cells.append(try rest(message)) }
            return start + "\"cells\":[" + cells.joined(separator: ",") + "]}"
        } catch {
            return start + "\"error\":\(Self.limited(error.advice, Self.bytesOfCell))}"
        }
    }

    /// The number in a column, as text so that no digit is lost; null if there is none.
    func number(_ column: Int, _ message: ChannelTap.Message) -> String {
        guard hasNumbers(column), (try? checkSize(message)) != nil,
            let json = (try? fields[column].json(message.bytes)) ?? nil
        else { return "null" }
        return switch json {
        case "true": "\"1\""
        case "false": "\"0\""
        case "null": json
        default: json.hasPrefix("\"") ? json : json.quotedForJSON
        }
    }

    private func check(_ message: ChannelTap.Message) throws(IPCError) {
        try checkSize(message)
        // Of all of it, so that an error names the field. What was cut is checked field by field.
        if isChecked, message.isWhole { _ = try schema.json(of: message.bytes) }
    }

    private func checkSize(_ message: ChannelTap.Message) throws(IPCError) {
        let (size, isFixed) = (schema.byteCount, schema.isFixedSize)
        guard isFixed ? message.byteCount != size : message.byteCount < size else { return }
        throw IPCError(
            .corrupted, "read message", schema.name,
            advice: "it has \(message.byteCount) bytes instead of \(isFixed ? "" : "at least ")\(size)")
    }

    /// A string of JSON, or null for an optional without a value.
    private func cell(_ field: MessageField, _ message: ChannelTap.Message) throws(IPCError) -> String {
        let json: String
        switch field.schema {
        case .coded(_, "JSON") where message.isWhole: json = try schema.json(of: message.bytes)
        case .bytes, .coded:
            let bytes = message.bytes.dropFirst(field.offset)
            let shown = bytes.prefix(Self.bytesOfCell)
            return MessageText(Array(shown), isWhole: message.isWhole && shown.count == bytes.count).line.quotedForJSON
        default:
            guard let value = try field.json(message.bytes) else { return "\"…\"" }
            json = value
        }
        if json == "null" { return json }
        guard json.hasPrefix("\"") else { return Self.limited(json, Self.bytesOfCell) }
        return json.utf8.count <= Self.bytesOfCell ? json : Self.limited(String(json.dropFirst()), Self.bytesOfCell)
    }

    /// The fields without a column of their own, as an object of JSON in a string of JSON.
    private func rest(_ message: ChannelTap.Message) throws(IPCError) -> String {
        var text = "{"
        for field in others where text.utf8.count <= Self.bytesOfCell {
            let json = try field.json(message.bytes) ?? "\"…\""
            text += (text == "{" ? "" : ",") + field.name.quotedForJSON + ":" + json
        }
        return Self.limited(text + "}", Self.bytesOfCell)
    }

    private static func limited(_ text: String, _ most: Int) -> String { text.limited(most).quotedForJSON }
}

/// A column: a number, a text, a case or a list in a message.
private struct MessageField {
    /// Where an optional says that it has no value.
    struct Mark {
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

    let name: String
    let offset: Int
    let schema: MessageSchema
    /// Of the optionals that it is in: if one has no value, neither has this.
    let marks: [Mark]
    /// Whether it is read; false if there are too many values before it.
    let isRead: Bool

    /// Its value in a message; nil if it was cut.
    func json(_ message: [UInt8]) throws(IPCError) -> String? {
        for mark in marks {
            guard let isNone = mark.isNone(message) else { return nil }
            if isNone { return "null" }
        }
        guard isRead, offset + schema.byteCount <= message.count else { return nil }
        do throws(IPCError) {
            return try schema.json(of: Array(message[offset..<offset + schema.byteCount]))
        } catch {
            throw IPCError(error.code, "read message", name, advice: "\(name): \(error.advice)")
        }
    }
}

/// The fields of a schema in the order of its declaration, up to a limit.
private struct FieldList {
    let most: Int
    var valuesLeft: Int
    private(set) var fields: [MessageField] = []

    init(most: Int, valuesLeft: Int) {
        self.most = most
        self.valuesLeft = valuesLeft
    }

    mutating func add(_ schema: MessageSchema, _ path: String, at offset: Int, _ marks: [MessageField.Mark]) {
        guard fields.count < most else { return }
        switch schema {
        case .structure(let structure) where !structure.fields.isEmpty:
            for field in structure.fields {
                // Limited here too: many fields may be in one that has a long name.
                let path = (path.isEmpty ? field.name : path + "." + field.name).limited(1024)
                add(field.schema, path, at: offset + field.offset, marks)
            }
        case .optional(let wrapped, let absence) where wrapped.hasFields:
            add(wrapped, path, at: offset, marks + [MessageField.Mark(absence, wrapped, at: offset)])
        default:
            valuesLeft -= schema.valueCount
            fields.append(
                MessageField(
                    name: path.isEmpty ? "message" : path, offset: offset, schema: schema, marks: marks,
                    isRead: valuesLeft >= 0))
        }
    }
}

extension MessageSchema {
    /// Whether it is of several columns.
    fileprivate var hasFields: Bool {
        switch self {
        case .structure(let structure): !structure.fields.isEmpty
        case .optional(let wrapped, _): wrapped.hasFields
        default: false
        }
    }

    /// Whether its values can be drawn as a line.
    fileprivate var isNumber: Bool {
        switch self {
        case .integer, .float, .bool: true
        case .optional(let wrapped, _): wrapped.isNumber
        default: false
        }
    }

    /// How many values are read for one of these, at most 2^30.
    fileprivate var valueCount: Int {
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

extension ChannelTap.Message {
    /// Whether all of it was copied.
    var isWhole: Bool { bytes.count == byteCount }
}

extension String {
    /// With an ellipsis in place of what is beyond so many bytes.
    fileprivate func limited(_ most: Int) -> String {
        guard utf8.count > most else { return self }
        var (text, left) = ("", most)
        for scalar in unicodeScalars {
            left -= UTF8.width(scalar)
            if left < 0 { break }
            text.unicodeScalars.append(scalar)
        }
        return text + "…"
    }
}
