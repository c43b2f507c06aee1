public import IPC

// Messages as JSON, by their schema.
extension MessageSchema {
    /// A message as JSON, on one line: `{"symbol":7,"price":12.5}`.
    ///
    /// Structures are objects, or arrays if they are tuples; enumerations are the names of their cases; optionals without a value are
    /// null; numbers that JSON does not have are the strings `nan`, `inf` and `-inf`. Bytes without a schema are a string if they are
    /// UTF-8, else `{"hex":"…"}`. A framed message is `{"header":…,"bytes":…}`.
    ///
    /// - Parameter message: The bytes of the message, as they are in the log.
    /// - Throws: ``/IPC/IPCError/Code/corrupted`` if they are not a value of the type: the error names the field.
    public func json(of message: [UInt8]) throws(IPCError) -> String {
        do throws(JSONError) { return try value(of: message).text } catch {
            throw IPCError(.corrupted, "read message", name, advice: "\(error.reason); see what its sender wrote")
        }
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
            let reader = ValueReader(bytes: message)
            return .members([
                ("header", try reader.value(header, at: 0, path: "header")),
                ("bytes", Self.value(ofUnknown: message[header.byteCount...])),
            ])
        default:
            guard message.count == byteCount else {
                throw JSONError("it has \(message.count) bytes instead of \(byteCount)")
            }
            return try ValueReader(bytes: message).value(self, at: 0, path: "")
        }
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
            var writer = ValueWriter(byteCount: header.byteCount)
            try writer.write(content, header, at: 0, path: "header")
            return try writer.bytes
                + (value["bytes"].map { (value) throws(JSONError) in
                    try Self.unknown(value, path: "bytes")
                } ?? [])
        default:
            var writer = ValueWriter(byteCount: byteCount)
            try writer.write(value, self, at: 0, path: "")
            return writer.bytes
        }
    }

    private static func value(ofUnknown bytes: ArraySlice<UInt8>) -> JSONValue {
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

/// Reads values from the bytes of one message, which has the size that its schema says.
private struct ValueReader {
    let bytes: [UInt8]

    func value(_ schema: MessageSchema, at offset: Int, path: String) throws(JSONError) -> JSONValue {
        switch schema {
        case .integer(let byteCount, let isSigned):
            let bits = number(byteCount, at: offset)
            guard isSigned else { return .integer(bits) }
            let unused = UInt128(128 - byteCount * 8)
            return .integer(Int128(truncatingIfNeeded: bits << unused) >> Int128(unused))
        case .float(let byteCount): return float(byteCount, at: offset)
        case .bool:
            guard bytes[offset] < 2 else { throw invalid(path, "\(bytes[offset]), and a Bool is 0 or 1") }
            return .bool(bytes[offset] == 1)
        case .scalar:
            let number = UInt32(truncatingIfNeeded: number(4, at: offset))
            guard let scalar = Unicode.Scalar(number) else { throw invalid(path, "\(number), which is no character") }
            return .string(String(Character(scalar)))
        case .structure(let structure):
            var members: [(String, JSONValue?)] = []
            for field in structure.fields {
                let fieldPath = path.isEmpty ? field.name : path + "." + field.name
                members.append((field.name, try value(field.schema, at: offset + field.offset, path: fieldPath)))
            }
            return structure.isUnlabelledTuple ? .array(members.compactMap(\.1)) : .members(members)
        case .array(let count, let element): return try elements(count, element, at: offset, path: path)
        case .enumeration(let enumeration):
            let number = number(enumeration.byteCount, at: offset)
            guard number < enumeration.cases.count else {
                throw invalid(path, "\(number), and \(enumeration.name) has \(enumeration.cases.count) cases")
            }
            return .string(enumeration.cases[Int(number)].name)
        case .optional(let wrapped, .pattern(let none, let byteCount, let place)):
            if number(byteCount, at: offset + place) == none { return .null }
            return try value(wrapped, at: offset, path: path)
        case .optional(let wrapped, .byteAfterValue):
            let mark = bytes[offset + wrapped.byteCount]
            guard mark < 2 else { throw invalid(path, "\(mark) as the mark of none, which is 0 or 1") }
            return mark == 1 ? .null : try value(wrapped, at: offset, path: path)
        case .text(let capacity):
            let count = try count(capacity, at: offset, path)
            let start = offset + MessageSchema.textOffset
            guard let text = String(validating: bytes[start..<start + count], as: UTF8.self) else {
                throw invalid(path, "bytes that are not UTF-8")
            }
            return .string(text)
        case .list(let capacity, let element):
            let count = try count(capacity, at: offset, path)
            return try elements(count, element, at: offset + MessageSchema.listOffset(element), path: path)
        case .opaque(let byteCount, _):
            return try MessageSchema.bytes.value(of: Array(bytes[offset..<offset + byteCount]))
        case .bytes, .coded, .framed: throw invalid(path, "a kind that only whole messages have")
        }
    }

    private func invalid(_ path: String, _ what: String) -> JSONError {
        JSONError("\(path.isEmpty ? "it" : path) has \(what)")
    }

    private func number(_ byteCount: Int, at offset: Int) -> UInt128 {
        var number: UInt128 = 0
        for index in 0..<byteCount { number |= UInt128(bytes[offset + index]) << UInt128(8 * index) }
        return number
    }

    private func count(_ capacity: Int, at offset: Int, _ path: String) throws(JSONError) -> Int {
        let count = number(4, at: offset)
        guard count <= capacity else { throw invalid(path, "the count \(count), and there is room for \(capacity)") }
        return Int(count)
    }

    private func elements(
        _ count: Int, _ element: MessageSchema, at offset: Int, path: String
    ) throws(JSONError) -> JSONValue {
        var values: [JSONValue] = []
        for index in 0..<count {
            values.append(try value(element, at: offset + index * element.stride, path: "\(path)[\(index)]"))
        }
        return .array(values)
    }

    private func float(_ byteCount: Int, at offset: Int) -> JSONValue {
        let bits = number(byteCount == 16 ? 10 : byteCount, at: offset)
        switch byteCount {
        case 2: return .float(Float16(bitPattern: UInt16(bits)))
        case 4: return .float(Float(bitPattern: UInt32(bits)))
        case 8: return .float(Double(bitPattern: UInt64(bits)))
        default:
            #if arch(x86_64)
                let significand = UInt64(truncatingIfNeeded: bits)
                let rest = UInt(truncatingIfNeeded: bits >> 64)
                return .float(
                    Float80(
                        sign: rest >> 15 == 0 ? .plus : .minus, exponentBitPattern: rest & 0x7fff,
                        significandBitPattern: significand & ~(1 << 63)))
            #else
                return .members([("hex", .string(String(bits, radix: 16)))])
            #endif
        }
    }
}

extension JSONValue {
    /// The shortest decimal number that is read as the same number again.
    fileprivate static func float<Value: BinaryFloatingPoint & CustomStringConvertible>(_ value: Value) -> JSONValue {
        if value.isNaN { return .string("nan") }
        if value.isInfinite { return .string(value < 0 ? "-inf" : "inf") }
        let text = value.description
        return .number(text.hasSuffix(".0") ? String(text.dropLast(2)) : text)
    }
}

/// Writes values into the bytes of one message.
private struct ValueWriter {
    private(set) var bytes: [UInt8]

    init(byteCount: Int) { bytes = [UInt8](repeating: 0, count: byteCount) }

    mutating func write(
        _ value: JSONValue, _ schema: MessageSchema, at offset: Int, path: String
    ) throws(JSONError) {
        switch schema {
        case .integer(let byteCount, let isSigned):
            guard case .number(let text) = value,
                let number = Int128(text) ?? UInt128(text).map(Int128.init(truncatingIfNeeded:)),
                fits(text, byteCount, isSigned)
            else { throw expected(path, "a whole number of \(isSigned ? "Int" : "UInt")\(byteCount * 8)", value) }
            put(UInt128(truncatingIfNeeded: number), byteCount, at: offset)
        case .float(let byteCount): try writeFloat(value, byteCount, at: offset, path)
        case .bool:
            guard case .bool(let flag) = value else { throw expected(path, "true or false", value) }
            bytes[offset] = flag ? 1 : 0
        case .scalar:
            guard case .string(let text) = value, text.unicodeScalars.count == 1 else {
                throw expected(path, "one character", value)
            }
            put(UInt128(text.unicodeScalars.first!.value), 4, at: offset)
        case .structure(let structure): try write(value, structure, at: offset, path: path)
        case .array(let count, let element):
            guard case .array(let values) = value, values.count == count else {
                throw expected(path, "an array of \(count)", value)
            }
            try write(values, element, at: offset, path: path)
        case .enumeration(let enumeration):
            guard case .string(let name) = value,
                let number = enumeration.cases.firstIndex(where: { $0.name == name })
            else {
                let names = enumeration.cases.prefix(16).map(\.name).joined(separator: ", ")
                throw expected(path, "one of \(names)\(enumeration.cases.count > 16 ? ", …" : "")", value)
            }
            put(UInt128(number), enumeration.byteCount, at: offset)
        case .optional(let wrapped, let absence):
            guard value == .null else { return try write(value, wrapped, at: offset, path: path) }
            switch absence {
            case .byteAfterValue: bytes[offset + wrapped.byteCount] = 1
            case .pattern(let none, let byteCount, let place): put(UInt128(none), byteCount, at: offset + place)
            }
        case .text(let capacity):
            guard case .string(let text) = value, text.utf8.count <= capacity else {
                throw expected(path, "a string of at most \(capacity) bytes", value)
            }
            put(UInt128(text.utf8.count), 4, at: offset)
            for (index, byte) in text.utf8.enumerated() { bytes[offset + MessageSchema.textOffset + index] = byte }
        case .list(let capacity, let element):
            guard case .array(let values) = value, values.count <= capacity else {
                throw expected(path, "an array of at most \(capacity)", value)
            }
            put(UInt128(values.count), 4, at: offset)
            try write(values, element, at: offset + MessageSchema.listOffset(element), path: path)
        case .opaque(let byteCount, _):
            let content = try MessageSchema.bytes.message(value)
            guard content.count == byteCount else { throw expected(path, "\(byteCount) bytes", value) }
            bytes.replaceSubrange(offset..<offset + byteCount, with: content)
        case .bytes, .coded, .framed: throw expected(path, "a kind that a part can have", value)
        }
    }

    private mutating func write(
        _ value: JSONValue, _ structure: MessageSchema.Structure, at offset: Int, path: String
    ) throws(JSONError) {
        let given: [JSONValue.Member]
        switch value {
        case .object(let members): given = members
        case .array(let values) where values.count == structure.fields.count && structure.isTuple:
            given = zip(structure.fields, values).map { JSONValue.Member($0.name, $1) }
        default: throw expected(path, "an object", value)
        }
        if let unknown = given.first(where: { member in !structure.fields.contains { $0.name == member.key } }) {
            let names = structure.fields.map(\.name).joined(separator: ", ")
            throw JSONError("\(path.isEmpty ? structure.name : path) has no field \(unknown.key); it has \(names)")
        }
        for field in structure.fields {
            let fieldPath = path.isEmpty ? field.name : path + "." + field.name
            if let member = given.first(where: { $0.key == field.name }) {
                try write(member.value, field.schema, at: offset + field.offset, path: fieldPath)
            } else if case .optional = field.schema {
                try write(.null, field.schema, at: offset + field.offset, path: fieldPath)
            } else if case .list = field.schema {
                continue  // zero bytes are an empty one
            } else {
                throw JSONError("\(fieldPath) is missing: \(field.schema.name)")
            }
        }
    }

    private mutating func write(
        _ values: [JSONValue], _ element: MessageSchema, at offset: Int, path: String
    ) throws(JSONError) {
        for (index, value) in values.enumerated() {
            try write(value, element, at: offset + index * element.stride, path: "\(path)[\(index)]")
        }
    }

    private func expected(_ path: String, _ what: String, _ value: JSONValue) -> JSONError {
        let text = value.text
        let shown = text.count > 60 ? text.prefix(60) + "…" : text
        return JSONError("\(path.isEmpty ? "the message" : path) is \(shown); \(what) is needed")
    }

    private mutating func put(_ number: UInt128, _ byteCount: Int, at offset: Int) {
        for index in 0..<byteCount { bytes[offset + index] = UInt8(truncatingIfNeeded: number >> UInt128(8 * index)) }
    }

    private func fits(_ text: String, _ byteCount: Int, _ isSigned: Bool) -> Bool {
        let bits = Int128(byteCount * 8)
        guard isSigned else { return UInt128(text).map { byteCount == 16 || $0 >> UInt128(bits) == 0 } ?? false }
        guard let number = Int128(text) else { return false }
        let rest = number >> (bits - 1)
        return rest == 0 || rest == -1
    }

    private mutating func writeFloat(
        _ value: JSONValue, _ byteCount: Int, at offset: Int, _ path: String
    ) throws(JSONError) {
        let text: String
        switch value {
        case .number(let digits): text = digits
        case .string(let word) where ["nan", "inf", "-inf"].contains(word): text = word
        default: throw expected(path, "a number", value)
        }
        // A finite number that there is no room for would become infinite.
        let isTooLarge =
            switch byteCount {
            case 2: Float16(text)?.isInfinite ?? true
            case 4: Float(text)?.isInfinite ?? true
            case 8: Double(text)?.isInfinite ?? true
            default: false
            }
        guard case .string = value else {
            guard !isTooLarge else { throw expected(path, "a number of \(byteCount) bytes", value) }
            return putFloat(text, byteCount, at: offset)
        }
        putFloat(text, byteCount, at: offset)
    }

    private mutating func putFloat(_ text: String, _ byteCount: Int, at offset: Int) {
        switch byteCount {
        case 2: put(UInt128(Float16(text)?.bitPattern ?? 0), 2, at: offset)
        case 4: put(UInt128(Float(text)?.bitPattern ?? 0), 4, at: offset)
        case 8: put(UInt128(Double(text)?.bitPattern ?? 0), 8, at: offset)
        default:
            #if arch(x86_64)
                let number = Float80(text) ?? 0
                let isNormal = number.isNormal || number.isInfinite || number.isNaN
                let significand = UInt128(number.significandBitPattern) | (isNormal ? 1 << 63 : 0)
                let sign: UInt128 = number.sign == .minus ? 0x8000 : 0
                put(significand | (UInt128(number.exponentBitPattern) | sign) << 64, 10, at: offset)
            #endif
        }
    }
}

extension MessageSchema.Structure {
    fileprivate var isTuple: Bool { name.isEmpty }
    /// Whether it is a tuple whose elements have no labels.
    fileprivate var isUnlabelledTuple: Bool { isTuple && fields.enumerated().allSatisfy { $1.name == "\($0)" } }
}
