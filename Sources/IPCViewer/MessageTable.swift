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
    private let fields: [MessageColumn]
    private let others: [MessageColumn]
    /// Whether a message is small enough that all of it is checked.
    private let isChecked: Bool

    /// - Parameter schema: Of messages with a type: not `bytes`.
    init(_ schema: MessageSchema) {
        self.schema = schema
        let all = MessageColumn.all(
            of: schema, most: Self.mostColumns + Self.mostOthers, mostValues: Self.mostValues)
        fields = Array(all.prefix(Self.mostColumns))
        others = Array(all.dropFirst(Self.mostColumns))
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
            let value = (try? fields[column].value(in: message.bytes)) ?? nil
        else { return "null" }
        return switch value {
        case .bool(let flag): flag ? "\"1\"" : "\"0\""
        case .null, .string: value.text
        default: value.text.quotedForJSON
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
    private func cell(_ field: MessageColumn, _ message: ChannelTap.Message) throws(IPCError) -> String {
        let json: String
        switch field.schema {
        case .coded(_, "JSON") where message.isWhole: json = try schema.json(of: message.bytes)
        case .bytes, .coded:
            let bytes = message.bytes.dropFirst(field.offset)
            let shown = bytes.prefix(Self.bytesOfCell)
            return MessageText(Array(shown), isWhole: message.isWhole && shown.count == bytes.count).line.quotedForJSON
        default:
            guard let value = try field.value(in: message.bytes) else { return "\"…\"" }
            json = value.text
        }
        if json == "null" { return json }
        guard json.hasPrefix("\"") else { return Self.limited(json, Self.bytesOfCell) }
        return json.utf8.count <= Self.bytesOfCell ? json : Self.limited(String(json.dropFirst()), Self.bytesOfCell)
    }

    /// The fields without a column of their own, as an object of JSON in a string of JSON.
    private func rest(_ message: ChannelTap.Message) throws(IPCError) -> String {
        var text = "{"
        for field in others where text.utf8.count <= Self.bytesOfCell {
            let json = try field.value(in: message.bytes)?.text ?? "\"…\""
            text += (text == "{" ? "" : ",") + field.name.quotedForJSON + ":" + json
        }
        return Self.limited(text + "}", Self.bytesOfCell)
    }

    private static func limited(_ text: String, _ most: Int) -> String { text.limited(most).quotedForJSON }
}

extension MessageSchema {
    /// Whether its values can be drawn as a line.
    fileprivate var isNumber: Bool {
        switch self {
        case .integer, .float, .bool: true
        case .optional(let wrapped, _): wrapped.isNumber
        default: false
        }
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
