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

    fileprivate static func value(ofUnknown bytes: ArraySlice<UInt8>) -> JSONValue {
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

/// Why a part of a message is no value, and where it is. The place is put together on the way out: one that all goes well with costs
/// nothing, however long the names of a schema are.
private struct Misfit: Error {
    /// What it is about if it is no part: the message.
    let whole: String
    let reason: String
    var isLimit = false
    /// The fields that it is in, the innermost first.
    private var places: [String] = []

    init(_ whole: String, _ reason: String) {
        self.whole = whole
        self.reason = reason
    }

    /// What was read of a message, or of its bytes.
    static func tooLarge(_ limit: Int) -> Misfit {
        var misfit = Misfit(
            "it",
            "would take more than \(limit) bytes as JSON, since its schema has many parts without bytes, or long names")
        misfit.isLimit = true
        return misfit
    }

    consuming func inside(_ place: String?) -> Misfit {
        if let place, !isLimit { places.append(place) }
        return self
    }

    var error: JSONError {
        var path = ""
        for place in places.reversed() { path += path.isEmpty || place.hasPrefix("[") ? place : "." + place }
        var error = JSONError("\(path.isEmpty ? whole : path) \(reason)")
        error.isLimit = isLimit
        return error
    }

    /// Does what is in a place.
    static func inside<Value>(
        _ place: @autoclosure () -> String, _ body: () throws(Misfit) -> Value
    ) throws(Misfit) -> Value {
        do throws(Misfit) { return try body() } catch { throw error.inside(place()) }
    }
}

/// Reads values from the bytes of one message, which has the size that its schema says.
private struct ValueReader {
    let bytes: [UInt8]
    /// The memory that its values may take, in bytes: in proportion to the message, whatever the schema says.
    private let budget: Int
    private var left: Int

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        budget = min(1 << 20 + 256 * bytes.count, 1 << 30)
        left = budget
    }

    private mutating func spend(_ byteCount: Int) throws(Misfit) {
        left -= byteCount
        guard left >= 0 else { throw .tooLarge(budget) }
    }

    mutating func value(_ schema: MessageSchema, at offset: Int) throws(Misfit) -> JSONValue {
        try spend(MemoryLayout<JSONValue>.stride)
        switch schema {
        case .integer(let byteCount, let isSigned):
            let bits = number(byteCount, at: offset)
            guard isSigned else { return .integer(bits) }
            let unused = UInt128(128 - byteCount * 8)
            return .integer(Int128(truncatingIfNeeded: bits << unused) >> Int128(unused))
        case .float(let byteCount): return float(byteCount, at: offset)
        case .bool:
            guard bytes[offset] < 2 else { throw invalid("\(bytes[offset]), and a Bool is 0 or 1") }
            return .bool(bytes[offset] == 1)
        case .scalar:
            let number = UInt32(truncatingIfNeeded: number(4, at: offset))
            guard let scalar = Unicode.Scalar(number) else { throw invalid("\(number), which is no character") }
            return .string(String(Character(scalar)))
        case .structure(let structure): return try value(structure, at: offset)
        case .array(let count, let element): return try elements(count, element, at: offset)
        case .enumeration(let enumeration):
            let number = number(enumeration.byteCount, at: offset)
            guard number < enumeration.cases.count else {
                throw invalid("\(number), and \(enumeration.name) has \(enumeration.cases.count) cases")
            }
            let name = enumeration.cases[Int(number)].name
            try spend(name.utf8.count)
            return .string(name)
        case .optional(let wrapped, let absence):
            switch absence {
            case .pattern(let none, let byteCount, let place):
                if number(byteCount, at: offset + place) == none { return .null }
            case .byteAfterValue:
                let mark = bytes[offset + wrapped.byteCount]
                guard mark < 2 else { throw invalid("\(mark) as the mark of none, which is 0 or 1") }
                if mark == 1 { return .null }
            }
            let value = try value(wrapped, at: offset)
            return wrapped.isOptional ? .members([("some", value)]) : value
        case .text(let capacity):
            let count = try count(capacity, at: offset)
            let start = offset + MessageSchema.textOffset
            try spend(count)
            guard let text = String(validating: bytes[start..<start + count], as: UTF8.self) else {
                throw invalid("bytes that are not UTF-8")
            }
            return .string(text)
        case .list(let capacity, let element):
            let count = try count(capacity, at: offset)
            return try elements(count, element, at: offset + MessageSchema.listOffset(element))
        case .opaque(let byteCount, _):
            try spend(2 * byteCount)
            return MessageSchema.value(ofUnknown: bytes[offset..<offset + byteCount])
        case .bytes, .coded, .framed: throw invalid("a kind that only whole messages have")
        }
    }

    private func invalid(_ what: String) -> Misfit { Misfit("it", "has \(what)") }

    private mutating func value(_ structure: MessageSchema.Structure, at offset: Int) throws(Misfit) -> JSONValue {
        var members: [JSONValue.Member] = []
        for field in structure.fields {
            try spend(MemoryLayout<String>.stride + field.name.utf8.count)
            let part = try Misfit.inside(field.name) { () throws(Misfit) in
                try value(field.schema, at: offset + field.offset)
            }
            members.append(JSONValue.Member(field.name, part))
        }
        return structure.isUnlabelledTuple ? .array(members.map(\.value)) : .object(members)
    }

    private mutating func elements(
        _ count: Int, _ element: MessageSchema, at offset: Int
    ) throws(Misfit) -> JSONValue {
        var values: [JSONValue] = []
        let stride = element.stride
        for index in 0..<count {
            values.append(
                try Misfit.inside("[\(index)]") { () throws(Misfit) in
                    try value(element, at: offset + index * stride)
                })
        }
        return .array(values)
    }

    private func number(_ byteCount: Int, at offset: Int) -> UInt128 {
        var number: UInt128 = 0
        for index in 0..<byteCount { number |= UInt128(bytes[offset + index]) << UInt128(8 * index) }
        return number
    }

    private func count(_ capacity: Int, at offset: Int) throws(Misfit) -> Int {
        let count = number(4, at: offset)
        guard count <= capacity else { throw invalid("the count \(count), and there is room for \(capacity)") }
        return Int(count)
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
        _ value: JSONValue, _ schema: MessageSchema, at offset: Int
    ) throws(Misfit) {
        switch schema {
        case .integer(let byteCount, let isSigned):
            guard case .number(let text) = value,
                let number = Int128(text) ?? UInt128(text).map(Int128.init(truncatingIfNeeded:)),
                fits(text, byteCount, isSigned)
            else { throw expected("a whole number of \(isSigned ? "Int" : "UInt")\(byteCount * 8)", value) }
            put(UInt128(truncatingIfNeeded: number), byteCount, at: offset)
        case .float(let byteCount): try writeFloat(value, byteCount, at: offset)
        case .bool:
            guard case .bool(let flag) = value else { throw expected("true or false", value) }
            bytes[offset] = flag ? 1 : 0
        case .scalar:
            guard case .string(let text) = value, text.unicodeScalars.count == 1 else {
                throw expected("one character", value)
            }
            put(UInt128(text.unicodeScalars.first!.value), 4, at: offset)
        case .structure(let structure): try write(value, structure, at: offset)
        case .array(let count, let element):
            guard case .array(let values) = value, values.count == count else {
                throw expected("an array of \(count)", value)
            }
            try write(values, element, at: offset)
        case .enumeration(let enumeration):
            guard case .string(let name) = value,
                let number = enumeration.cases.firstIndex(where: { $0.name == name })
            else {
                let names = enumeration.cases.prefix(16).map(\.name).joined(separator: ", ")
                throw expected("one of \(names)\(enumeration.cases.count > 16 ? ", …" : "")", value)
            }
            put(UInt128(number), enumeration.byteCount, at: offset)
        case .optional(let wrapped, let absence): try write(value, wrapped, absence, at: offset)
        case .text(let capacity):
            guard case .string(let text) = value, text.utf8.count <= capacity else {
                throw expected("a string of at most \(capacity) bytes", value)
            }
            put(UInt128(text.utf8.count), 4, at: offset)
            for (index, byte) in text.utf8.enumerated() { bytes[offset + MessageSchema.textOffset + index] = byte }
        case .list(let capacity, let element):
            guard case .array(let values) = value, values.count <= capacity else {
                throw expected("an array of at most \(capacity)", value)
            }
            put(UInt128(values.count), 4, at: offset)
            try write(values, element, at: offset + MessageSchema.listOffset(element))
        case .opaque(let byteCount, _):
            guard let content = try? MessageSchema.bytes.message(value), content.count == byteCount else {
                throw expected("\(byteCount) bytes", value)
            }
            bytes.replaceSubrange(offset..<offset + byteCount, with: content)
        case .bytes, .coded, .framed: throw expected("a kind that a part can have", value)
        }
    }

    /// An optional.
    private mutating func write(
        _ value: JSONValue, _ wrapped: MessageSchema, _ absence: MessageSchema.Absence, at offset: Int
    ) throws(Misfit) {
        if value == .null {
            switch absence {
            case .byteAfterValue: bytes[offset + wrapped.byteCount] = 1
            case .pattern(let none, let byteCount, let place): put(UInt128(none), byteCount, at: offset + place)
            }
            return
        }
        if wrapped.isOptional {
            guard case .object(let members) = value, members.count == 1, members[0].key == "some" else {
                throw expected("null or {\"some\":…}", value)
            }
            try write(members[0].value, wrapped, at: offset)
        } else {
            try write(value, wrapped, at: offset)
        }
        // Of a schema that was written by hand: in those of types, no value has the mark.
        guard case .pattern(let none, let byteCount, let place) = absence else { return }
        let mark = (0..<byteCount).reduce(UInt64(0)) { $0 | UInt64(bytes[offset + place + $1]) << UInt64(8 * $1) }
        guard mark != none else { throw expected("another value, since this one is the mark of none,", value) }
    }

    private mutating func write(
        _ value: JSONValue, _ structure: MessageSchema.Structure, at offset: Int
    ) throws(Misfit) {
        let given: [JSONValue.Member]
        switch value {
        case .object(let members): given = members
        case .array(let values) where values.count == structure.fields.count && structure.isTuple:
            given = zip(structure.fields, values).map { JSONValue.Member($0.name, $1) }
        default: throw expected("an object", value)
        }
        if given.count == structure.fields.count, zip(given, structure.fields).allSatisfy({ $0.key == $1.name }) {
            for (member, field) in zip(given, structure.fields) { try write(member.value, field, at: offset) }
            return
        }
        // In another order, or not all of them.
        let names = Set(structure.fields.map(\.name))
        if let unknown = given.first(where: { !names.contains($0.key) }) {
            let known = structure.fields.prefix(16).map(\.name).joined(separator: ", ")
            throw Misfit(
                structure.name,
                "has no field \(unknown.key); it has \(known)\(structure.fields.count > 16 ? ", …" : "")")
        }
        let values = Dictionary(uniqueKeysWithValues: given.map { ($0.key, $0.value) })
        for field in structure.fields {
            if let value = values[field.name] {
                try write(value, field, at: offset)
            } else if field.schema.isOptional {
                try write(.null, field, at: offset)
            } else if case .list = field.schema {
                continue  // zero bytes are an empty one
            } else {
                throw Misfit("it", "is missing: \(field.schema.name)").inside(field.name)
            }
        }
    }

    private mutating func write(
        _ value: JSONValue, _ field: MessageSchema.Field, at offset: Int
    ) throws(Misfit) {
        try Misfit.inside(field.name) { () throws(Misfit) in
            try write(value, field.schema, at: offset + field.offset)
        }
    }

    private mutating func write(_ values: [JSONValue], _ element: MessageSchema, at offset: Int) throws(Misfit) {
        let stride = element.stride
        for (index, value) in values.enumerated() {
            try Misfit.inside("[\(index)]") { () throws(Misfit) in
                try write(value, element, at: offset + index * stride)
            }
        }
    }

    private func expected(_ what: String, _ value: JSONValue) -> Misfit {
        let text = value.text
        let shown = text.count > 60 ? text.prefix(60) + "…" : text
        return Misfit("the message", "is \(shown); \(what) is needed")
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
        _ value: JSONValue, _ byteCount: Int, at offset: Int
    ) throws(Misfit) {
        let text: String
        switch value {
        case .number(let digits): text = digits
        case .string(let word) where ["nan", "inf", "-inf"].contains(word): text = word
        default: throw expected("a number", value)
        }
        // A finite number that there is no room for would become infinite.
        let isTooLarge: Bool
        switch byteCount {
        case 2: isTooLarge = Float16(text)?.isInfinite ?? true
        case 4: isTooLarge = Float(text)?.isInfinite ?? true
        case 8: isTooLarge = Double(text)?.isInfinite ?? true
        default:
            #if arch(x86_64)
                isTooLarge = Float80(text)?.isInfinite ?? true
            #else
                isTooLarge = false
            #endif
        }
        guard case .string = value else {
            guard !isTooLarge else { throw expected("a number of \(byteCount) bytes", value) }
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

extension MessageSchema {
    fileprivate var isOptional: Bool { if case .optional = self { true } else { false } }
}

extension MessageSchema.Structure {
    fileprivate var isTuple: Bool { name.isEmpty }
    /// Whether it is a tuple whose elements have no labels.
    fileprivate var isUnlabelledTuple: Bool { isTuple && fields.enumerated().allSatisfy { $1.name == "\($0)" } }
}
