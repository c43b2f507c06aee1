public import IPC

// Messages as JSON, by their schema.
extension MessageSchema {
    /// A message as JSON, on one line: `{"symbol":7,"price":12.5}`.
    ///
    /// Structures are objects, or arrays if they are tuples; enumerations are the names of their cases; optionals without a value are
    /// null; numbers that JSON does not have are the strings `nan`, `inf` and `-inf`. Of an optional of an optional, a value is
    /// `{"some":…}`, so that `.some(nil)` is `{"some":null}`. Bytes without a schema are a string if they are UTF-8, else
    /// `{"hex":"…"}`. A framed message is `{"header":…,"bytes":…}`.
    ///
    /// - Parameter message: The bytes of the message, as they are in the log.
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if they are not a value of the type: the error names the field.
    ///   ``/IPC/IPCError/Code/limitReached`` if the JSON would take more than 1 GiB, or than 256 bytes for each byte of the message
    ///   and another MiB: a schema may come from anybody, and have parts without bytes, and long names.
    public func json(of message: [UInt8]) throws(IPCError) -> String {
        try jsonValue(of: message).text
    }

    /// A message from JSON, as ``json(of:)`` writes it. What is not given of optionals is none, and what is not given of a list is empty;
    /// every other field has to be there, and no other may.
    ///
    /// - Throws: ``/IPC/IPCError/Code/invalidArgument`` if the text is no JSON, or not a value of the type: the error names the field.
    public func message(json: String) throws(IPCError) -> [UInt8] {
        do throws(JSONError) { return try message(JSONValue(parsing: json)) } catch {
            throw IPCError(.invalidArgument, "write message", name, advice: error.reason)
        }
    }

    /// As ``json(of:)``, before it is written.
    package func jsonValue(of message: [UInt8]) throws(IPCError) -> JSONValue {
        do throws(JSONError) { return try value(of: message) } catch {
            if error.isLimit {
                throw IPCError(.limitReached, "read message", name, advice: "\(error.reason); read its bytes")
            }
            throw IPCError(.corrupted, "read message", name, advice: "\(error.reason); see what its sender wrote")
        }
    }

    func value(of message: [UInt8]) throws(JSONError) -> JSONValue {
        switch self {
        case .bytes: return Self.value(ofUnknown: message[...])
        case .coded(_, let coder):
            guard coder == "JSON", let text = String(validating: message, as: UTF8.self) else {
                return Self.value(ofUnknown: message[...])
            }
            return try JSONValue(parsing: text)
        case .framed(let header):
            guard message.count >= header.byteCount else {
                throw JSONError("it has \(message.count) bytes, and its header has \(header.byteCount)")
            }
            return .members([
                ("header", try Self.read(header, message, "header")),
                ("bytes", Self.value(ofUnknown: message[header.byteCount...])),
            ])
        default:
            guard message.count == byteCount else {
                throw JSONError("it has \(message.count) bytes instead of \(byteCount)")
            }
            return try Self.read(self, message)
        }
    }

    private static func read(
        _ schema: MessageSchema, _ message: [UInt8], _ place: String? = nil
    ) throws(JSONError) -> JSONValue {
        var reader = ValueReader(message)
        do throws(Misfit) { return try reader.value(schema, at: 0) } catch { throw error.inside(place).error }
    }

    private static func written(
        _ value: JSONValue, _ schema: MessageSchema, _ place: String? = nil
    ) throws(JSONError) -> [UInt8] {
        var writer = ValueWriter(byteCount: schema.byteCount)
        do throws(Misfit) { try writer.write(value, schema, at: 0) } catch { throw error.inside(place).error }
        return writer.bytes
    }

    func message(_ value: JSONValue) throws(JSONError) -> [UInt8] {
        // A schema may come from anybody.
        guard byteCount <= 1 << 30 else { throw JSONError("its messages have \(byteCount) bytes; JSON is for 1 GiB") }
        switch self {
        case .bytes: return try Self.unknown(value, path: "")
        case .coded(_, let coder):
            guard coder == "JSON" else {
                throw JSONError("its messages are encoded as \(coder), which is not known here; send the bytes")
            }
            return Array(value.text.utf8)
        case .framed(let header):
            guard let content = value["header"] else { throw JSONError("\"header\" is missing") }
            if case .object(let members) = value,
                let unknown = members.first(where: { !["header", "bytes"].contains($0.key) })
            {
                throw JSONError("the message has no field \(unknown.key); it has header, bytes")
            }
            return try Self.written(content, header, "header")
                + (value["bytes"].map { (value) throws(JSONError) in
                    try Self.unknown(value, path: "bytes")
                } ?? [])
        default:
            return try Self.written(value, self)
        }
    }

    static func value(ofUnknown bytes: ArraySlice<UInt8>) -> JSONValue {
        if let text = String(validating: bytes, as: UTF8.self) { return .string(text) }
        return .members([("hex", .string(bytes.hexadecimal))])
    }

    private static func unknown(_ value: JSONValue, path: String) throws(JSONError) -> [UInt8] {
        if case .string(let text) = value { return Array(text.utf8) }
        guard case .string(let text) = value["hex"], let bytes = [UInt8](hexadecimal: text) else {
            throw JSONError(
                "\(path.isEmpty ? "the message" : path) has to be a string, or {\"hex\":\"…\"} with two digits for each byte"
            )
        }
        return bytes
    }
}

extension MessageSchema {
    var isOptional: Bool { if case .optional = self { true } else { false } }
}

extension MessageSchema.Structure {
    var isTuple: Bool { name.isEmpty }
    /// Whether it is a tuple whose elements have no labels.
    var isUnlabelledTuple: Bool { isTuple && fields.enumerated().allSatisfy { $1.name == "\($0)" } }
}
