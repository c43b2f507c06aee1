import ArgumentParser
import IPC
import IPCChannels

/// Recorded messages as lines of JSON, or as a table of comma-separated values (RFC 4180).
struct RecordingExport {
    enum Format: String, CaseIterable, ExpressibleByArgument { case jsonl, csv }

    /// A channel of the recording.
    private struct Source {
        let messages: MessageFormat
        let fields: [(name: String, column: MessageColumn)]
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
            // The first two columns have these names.
            let fields: [(name: String, column: MessageColumn)] = (format == .csv ? MessageColumn.all(of: schema) : [])
                .map { column in
                    (["time", "channel"].contains(column.name) ? "message." + column.name : column.name, column)
                }
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
            return JSONValue.members([("time", .number(Self.seconds(time))), ("channel", .string(name)), member]).text
        }
        var cells: [String: String] = [:]
        for (name, column) in source.fields { cells[name] = Self.text(try column.value(in: message)) }
        return ([Self.seconds(time), Self.quoted(name)] + columns.map { Self.quoted(cells[$0] ?? "") })
            .joined(separator: ",")
    }

    /// A value in a cell; empty for none.
    private static func text(_ value: JSONValue?) -> String {
        switch value {
        case nil, .null: ""
        case .string(let text): text
        case .some(let value): value.text
        }
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
