import IPC

/// A value of JSON (RFC 8259). Numbers stay as they are written, so that none loses digits.
package enum JSONValue: Hashable, Sendable {
    case null
    case bool(Bool)
    /// As JSON writes it.
    case number(String)
    case string(String)
    case array([JSONValue])
    /// In the order of the text; a key occurs once.
    case object([Member])

    package struct Member: Hashable, Sendable {
        package let key: String
        package let value: JSONValue

        package init(_ key: String, _ value: JSONValue) {
            self.key = key
            self.value = value
        }
    }

    package static func integer(_ number: some BinaryInteger) -> JSONValue { .number("\(number)") }

    /// An object; members without a value are left out.
    package static func members(_ members: [(String, JSONValue?)]) -> JSONValue {
        .object(members.compactMap { key, value in value.map { Member(key, $0) } })
    }

    /// The member of an object; nil if there is none, or if this is no object.
    package subscript(key: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.key == key }?.value
    }

    /// On one line, without spaces.
    package var text: String {
        var text = ""
        write(to: &text)
        return text
    }

    private func write(to text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .number(let number): text += number
        case .string(let string): text += string.quotedForJSON
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += "," }
                value.write(to: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                if index > 0 { text += "," }
                text += member.key.quotedForJSON + ":"
                member.value.write(to: &text)
            }
            text += "}"
        }
    }
}

/// Why a text is no JSON, or not the JSON that was expected.
package struct JSONError: Error {
    package let reason: String
    /// Whether it would be too large.
    var isLimit = false

    /// - Parameter reason: Is cut: it may have names that come from anybody.
    init(_ reason: String) { self.reason = reason.utf8.count <= 4096 ? reason : reason.prefix(1024) + "…" }
}

extension JSONValue {
    /// Parses a text that may come from anybody: its depth is limited, and nothing in it traps.
    package init(parsing text: String) throws(JSONError) {
        var parser = JSONParser(Array(text.utf8))
        self = try parser.parse()
    }
}

/// A parser of one JSON text.
private struct JSONParser {
    private let bytes: [UInt8]
    private var position = 0
    private static let maximumDepth = 128

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func parse() throws(JSONError) -> JSONValue {
        let value = try value(depth: 0)
        skipSpaces()
        guard position == bytes.count else { throw fault("something follows its end") }
        return value
    }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private func fault(_ what: String) -> JSONError { JSONError("\(what), at byte \(position)") }

    private mutating func skipSpaces() {
        while let byte = next, [0x20, 0x09, 0x0a, 0x0d].contains(byte) { position += 1 }
    }

    /// Skips spaces and this character; false if another one is there.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpaces()
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(JSONError) {
        guard take(character) else { throw fault("\(character) is missing") }
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        guard depth < Self.maximumDepth else { throw fault("it is more than \(Self.maximumDepth) levels deep") }
        skipSpaces()
        switch next {
        case UInt8(ascii: "{"): return try object(depth)
        case UInt8(ascii: "["): return try array(depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func word(_ word: String, _ value: JSONValue) throws(JSONError) -> JSONValue {
        guard bytes[position...].starts(with: word.utf8) else { throw fault("a value is missing") }
        position += word.utf8.count
        return value
    }

    private mutating func array(_ depth: Int) throws(JSONError) -> JSONValue {
        try expect("[")
        if take("]") { return .array([]) }
        var values: [JSONValue] = []
        repeat { values.append(try value(depth: depth + 1)) } while take(",")
        try expect("]")
        return .array(values)
    }

    private mutating func object(_ depth: Int) throws(JSONError) -> JSONValue {
        try expect("{")
        if take("}") { return .object([]) }
        var members: [JSONValue.Member] = []
        var keys: Set<String> = []
        repeat {
            skipSpaces()
            guard next == UInt8(ascii: "\"") else { throw fault("a key is missing") }
            let key = try string()
            guard keys.insert(key).inserted else { throw fault("the key \(key) occurs twice") }
            try expect(":")
            members.append(JSONValue.Member(key, try value(depth: depth + 1)))
        } while take(",")
        try expect("}")
        return .object(members)
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, (0x30...0x39).contains(byte) { position += 1 }
        return position - start
    }

    private mutating func number() throws(JSONError) -> String {
        let start = position
        if next == UInt8(ascii: "-") { position += 1 }
        let first = next
        let count = digits()
        guard count > 0 else { throw fault("a value is missing") }
        guard count == 1 || first != UInt8(ascii: "0") else { throw fault("a number begins with 0") }
        if next == UInt8(ascii: ".") {
            position += 1
            guard digits() > 0 else { throw fault("a digit is missing") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw fault("a digit is missing") }
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private mutating func string() throws(JSONError) -> String {
        try expect("\"")
        var content: [UInt8] = []
        while true {
            guard let byte = next else { throw fault("a string has no end") }
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: content, as: UTF8.self) else {
                    throw fault("a string is not UTF-8")
                }
                return text
            case UInt8(ascii: "\\"): content.append(contentsOf: try escaped())
            case ..<0x20: throw fault("a string has a control character")
            default: content.append(byte)
            }
        }
    }

    /// What follows a backslash, as UTF-8.
    private mutating func escaped() throws(JSONError) -> [UInt8] {
        guard let byte = next else { throw fault("a string has no end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "f"): return [0x0c]
        case UInt8(ascii: "n"): return [0x0a]
        case UInt8(ascii: "r"): return [0x0d]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "u"):
            var unit = try codeUnit()
            // A character beyond 16 bits is two of these.
            if (0xd800...0xdbff).contains(unit) {
                guard next == UInt8(ascii: "\\"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u")
                else { throw fault("half a character is missing") }
                position += 2
                let low = try codeUnit()
                guard (0xdc00...0xdfff).contains(low) else { throw fault("half a character is missing") }
                unit = 0x1_0000 + (unit - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw fault("half a character is missing") }
            return Array(String(Character(scalar)).utf8)
        default: throw fault("an escape is unknown")
        }
    }

    private mutating func codeUnit() throws(JSONError) -> UInt32 {
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw fault("an escape has four hexadecimal digits")
            }
            unit = unit << 4 | UInt32(digit)
            position += 1
        }
        return unit
    }
}
