/// The cases of an enumeration without associated values, in declaration order, as the runtime knows them.
struct EnumerationCases {
    let names: [String]
    /// For each case, its raw value; nil if there is none.
    let rawValues: [MessageSchema.RawValue?]
    /// The size of a value in bytes. The value is the number of its case.
    let width: Int

    func schema(_ name: String) -> MessageSchema.Enumeration {
        MessageSchema.Enumeration(
            name: name,
            cases: zip(names, rawValues).map { MessageSchema.Case($0, rawValue: $1) })
    }

    /// - Parameter count: The number of cases, at least one.
    /// - Returns: Nil if the runtime does not know their names, or if values do not have the size that their count requires.
    init?(_ type: Any.Type, count: Int) {
        guard let cases = Self.read(type, count: count) else { return nil }
        self = cases
    }

    private init(names: [String], rawValues: [MessageSchema.RawValue?], width: Int) {
        self.names = names
        self.rawValues = rawValues
        self.width = width
    }

    private static func read<Value>(_ type: Value.Type, count: Int) -> EnumerationCases? {
        let width =
            switch count {
            case 1: 0
            case ...0x100: 1
            case ...0x1_0000: 2
            default: 4
            }
        guard MemoryLayout<Value>.size == width, MemoryLayout<Value>.alignment <= 8 else { return nil }
        var (names, rawValues): ([String], [MessageSchema.RawValue?]) = ([], [])
        for number in 0..<UInt64(count) {
            // The value of a case is its number, in this many bytes. So every number below the count is a value.
            let value = unsafe withUnsafeBytes(of: number.littleEndian) { unsafe $0.load(as: Value.self) }
            guard let name = unsafe caseName(value), unsafe name.pointee != 0 else { return nil }
            names.append(TypeName.plain(unsafe String(cString: name)))
            rawValues.append((value as? any RawRepresentable).map { rawValue($0) })
        }
        // If values were not these numbers, a name would occur twice.
        guard Set(names).count == count else { return nil }
        return EnumerationCases(names: names, rawValues: rawValues, width: width)
    }

    private static func rawValue(_ value: some RawRepresentable) -> MessageSchema.RawValue {
        switch value.rawValue {
        case let number as any BinaryInteger: .number("\(number)")
        // As JSON writes it, unless it is none of its numbers.
        case let number as Double where number.isFinite: .number("\(number)")
        case let number as Float where number.isFinite: .number("\(number)")
        case let other: .text(text(other as Any, depth: 4))
        }
    }

    /// A raw value as text that is the same in every process: a string, or a composition of several values.
    private static func text(_ value: Any, depth: Int) -> String {
        switch value {
        case let text as String: return text
        case let character as Character: return "\(character)"
        case let scalar as Unicode.Scalar: return "\(scalar)"
        case let flag as Bool: return "\(flag)"
        case let number as any BinaryInteger: return "\(number)"
        case let number as any BinaryFloatingPoint: return "\(number)"
        default:
            let type = TypeName.full(Swift.type(of: value))
            let parts =
                depth == 0 ? [] : Mirror(reflecting: value).children.map { Self.text($0.value, depth: depth - 1) }
            return "\(type) (\(parts.joined(separator: ", ")))"
        }
    }
}

/// The runtime function that the standard library prints enumerations with, declared in the same way there. Nil without
/// reflection metadata.
@_silgen_name("swift_EnumCaseName")
private func caseName<Value>(_ value: Value) -> UnsafePointer<CChar>?
