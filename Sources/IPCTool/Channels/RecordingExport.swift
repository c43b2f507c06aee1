import ArgumentParser
import IPC
import IPCChannels

/// The messages of a recording as lines of JSON, or as a table of comma-separated values (RFC 4180).
struct RecordingExport {
    enum Format: String, CaseIterable, ExpressibleByArgument { case jsonl, csv }

    /// A channel of the recording.
    private struct Source {
        let messages: MessageFormat
        let fields: [Field]
    }

    private let format: Format
    private let sources: [String: Source]
    /// The columns after `time` and `channel`.
    private let columns: [String]

    /// - Parameter channels: The names and the schemas of the channels, in the order of their columns.
    init(_ format: Format, _ channels: [(name: String, schema: MessageSchema)]) {
        self.format = format
        var (sources, columns, known): ([String: Source], [String], Set<String>) = ([:], [], [])
        for (name, schema) in channels {
            let fields = format == .csv ? Field.all(of: schema) : []
            sources[name] = Source(messages: MessageFormat(schema, of: name, isRaw: false), fields: fields)
            for field in fields where known.insert(field.name).inserted { columns.append(field.name) }
        }
        (self.sources, self.columns) = (sources, columns)
    }

    /// The first line; nil if there is none.
    var header: String? {
        format == .jsonl ? nil : (["time", "channel"] + columns).map { Self.quoted($0) }.joined(separator: ",")
    }

    /// A message in a line.
    ///
    /// - Parameter time: In nanoseconds since the first message.
    /// - Throws: `corrupted`, with the field, if the message does not fit the schema.
    func line(_ name: String, _ time: Int64, _ message: [UInt8]) throws(IPCError) -> String {
        let source = sources[name]!  // each channel has one
        // Of all of it, so that an error names the field.
        let member = try source.messages.member(message)
        guard format == .csv else {
            return JSON.object([("time", .written(Self.seconds(time))), ("channel", .string(name)), member]).text
        }
        var cells: [String: String] = [:]
        for field in source.fields { cells[field.name] = try field.text(message) }
        return ([Self.seconds(time), Self.quoted(name)] + columns.map { Self.quoted(cells[$0] ?? "") })
            .joined(separator: ",")
    }

    /// Exactly, with nine digits after the point.
    private static func seconds(_ time: Int64) -> String {
        let fraction = String(time.magnitude % 1_000_000_000)
        return "\(time < 0 ? "-" : "")\(time.magnitude / 1_000_000_000)."
            + String(repeating: "0", count: 9 - fraction.count) + fraction
    }

    private static func quoted(_ cell: String) -> String {
        guard cell.utf8.contains(where: { ",\"\r\n".utf8.contains($0) }) else { return cell }
        var result = "\""
        for scalar in cell.unicodeScalars {
            if scalar == "\"" { result += "\"" }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }
}

/// A column: a number, a text, a case or a list in a message.
private struct Field {
    let name: String
    let offset: Int
    let schema: MessageSchema
    /// The optionals that it is in: if one has no value, neither has this.
    let optionals: [(offset: Int, schema: MessageSchema)]

    static func all(of schema: MessageSchema) -> [Field] {
        var fields: [Field] = []
        switch schema {
        case .framed(let header):
            add(header, "header", at: 0, [], to: &fields)
            fields.append(Field(name: "bytes", offset: header.byteCount, schema: .bytes, optionals: []))
        default: add(schema, "", at: 0, [], to: &fields)
        }
        return fields
    }

    private static func add(
        _ schema: MessageSchema, _ path: String, at offset: Int, _ optionals: [(offset: Int, schema: MessageSchema)],
        to fields: inout [Field]
    ) {
        switch schema {
        case .structure(let structure):
            for field in structure.fields {
                let path = DeclarationText.path(path, field.name)
                add(field.schema, path, at: offset + field.offset, optionals, to: &fields)
            }
        case .optional(let wrapped, _) where wrapped.hasFields:
            add(wrapped, path, at: offset, optionals + [(offset, schema)], to: &fields)
        default:
            // The first two columns have these names.
            let name = path.isEmpty ? "message" : ["time", "channel"].contains(path) ? "message." + path : path
            fields.append(Field(name: name, offset: offset, schema: schema, optionals: optionals))
        }
    }

    /// Its value in a message; empty for none.
    func text(_ message: [UInt8]) throws(IPCError) -> String {
        for (offset, schema) in optionals where try Self.json(schema, offset, message) == "null" { return "" }
        if schema == .bytes {
            let bytes = Array(message[min(offset, message.count)...])
            return String(validating: bytes, as: UTF8.self) ?? bytes.hexadecimal
        }
        let json = schema.isFixedSize ? try Self.json(schema, offset, message) : try schema.json(of: message)
        switch try? JSONValue(parsing: json) {
        case .string(let text): return text
        case .null: return ""
        default: return json
        }
    }

    private static func json(_ schema: MessageSchema, _ offset: Int, _ message: [UInt8]) throws(IPCError) -> String {
        try schema.json(of: Array(message[offset..<offset + schema.byteCount]))
    }
}

extension MessageSchema {
    /// Whether it is of several columns.
    fileprivate var hasFields: Bool {
        switch self {
        case .structure: true
        case .optional(let wrapped, _): wrapped.hasFields
        default: false
        }
    }
}
