/// Reads values from the bytes of one message, which has the size that its schema says.
struct ValueReader {
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
