/// Writes values into the bytes of one message.
struct ValueWriter {
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
