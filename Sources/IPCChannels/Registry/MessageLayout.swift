@_spi(Reflection) import Swift
import IPC

/// The layout of a message type down to the last field: its identity, and the checks of its bytes.
struct MessageLayout {
    /// The names, types and offsets of all stored fields, including nested ones.
    private(set) var fields = Fingerprint()
    /// The cases of all enumerations: their names, order and raw values.
    private(set) var cases = Fingerprint()
    /// Each enumeration with its cases, for messages to people.
    private(set) var enumerations: [String] = []
    /// The conditions under which the bytes are a value.
    private(set) var checks: [ValueCheck] = []

    /// - Throws: ``/IPC/IPCError/Code/wrongType``, with the field's path, if the type contains something that has no meaning in
    ///   another process, or that cannot be checked when it comes from one.
    init(of type: Any.Type) throws(IPCError) {
        checks = try part(type, at: 0, path: MessageType.name(of: type)).checks
    }

    /// What is known about a part of the type. Offsets are relative to the part.
    private struct Part {
        var checks: [ValueCheck] = []
        /// Bit patterns that no value has; an optional uses the first of them for nil.
        var spare: SpareValues?

        mutating func add(_ part: Part, at offset: Int) {
            for var check in part.checks {
                check.offset += offset
                checks.append(check)
            }
            guard var other = part.spare, other.count > spare?.count ?? 0 else { return }
            other.offset += offset
            spare = other
        }
    }

    private mutating func part(_ type: Any.Type, at offset: Int, path: String) throws(IPCError) -> Part {
        let name = MessageType.name(of: type)
        guard !isAddress(name) else { throw address(path, name) }
        guard name != "Swift._ValidUTF8Buffer" else {
            throw refused(path, name, "has bit patterns that are not values; send a Unicode.Scalar")
        }
        let metadata = TypeMetadata(type)
        // The runtime has no name for a fixed array; the type that contains it names its count and element.
        if case .array = metadata { fields.add("array") } else { fields.add(name) }
        fields.add(UInt64(offset))
        switch metadata {
        case _ where type == Bool.self:
            return Part(checks: [ValueCheck(.below(2, width: 1), name)], spare: SpareValues(width: 1, after: 2))
        case _ where type == Unicode.Scalar.self: return Part(checks: [ValueCheck(.scalar, name)])
        case .structure(let count), .tuple(let count):
            return try parts(of: type, count, at: offset, path: path)
        case .optional(let wrapped): return try optional(wrapped, at: offset, path: path)
        case .enumeration(let withValues, let plain, let isReflected):
            guard withValues == 0 else {
                throw refused(
                    path, name, "is an enumeration with associated values, which may be addresses; send a structure")
            }
            guard plain > 0 else { throw refused(path, name, "has no values; send a type that has some") }
            guard isReflected, let known = EnumerationCases(type, count: plain) else {
                throw refused(
                    path, name,
                    "is an enumeration whose cases cannot be determined, so two programs may differ in them; build without -disable-reflection-metadata and -disable-reflection-names, or, if it is an enumeration of C, send its raw value"
                )
            }
            return enumeration(known, name, at: offset)
        case .array(let count, let element):
            var part = try part(element, at: offset, path: path + "[]")
            if !part.checks.isEmpty {
                part.checks = [ValueCheck(.each(count: count, stride: stride(of: element)), "", part.checks)]
            }
            // The spare values are those of the first element.
            return count == 0 ? Part() : part
        case .builtin:
            if name == "Builtin.Int1" { return Part(checks: [ValueCheck(.below(2, width: 1), name)]) }
            let isNumber = ["Builtin.Int", "Builtin.FPIEEE", "Builtin.Vec", "Builtin.Word"].contains(
                where: name.hasPrefix)
            guard isNumber else { throw address(path, name) }
            return Part()
        case .other: throw address(path, name)
        }
    }

    /// The fields of a structure or a tuple.
    private mutating func parts(
        of type: Any.Type, _ count: Int, at offset: Int, path: String
    ) throws(IPCError) -> Part {
        let name = MessageType.name(of: type)
        var whole = Part()
        var failure: IPCError?
        var seen = 0
        _ = unsafe _forEachField(of: type) { fieldName, fieldOffset, fieldType, _ in
            let label = unsafe String(cString: fieldName)
            // A tuple's labels already have the dot. The storage field of an array adds no step: its elements are indexed in
            // the array itself.
            var step = label.hasPrefix(".") ? label : "." + label
            if case .array = TypeMetadata(fieldType) { step = "" }
            if !label.isEmpty { seen += 1 }
            fields.add(label)
            do throws(IPCError) {
                var field = try part(fieldType, at: offset + fieldOffset, path: path + step)
                for index in field.checks.indices { field.checks[index].label = step + field.checks[index].label }
                whole.add(field, at: fieldOffset)
            } catch {
                failure = error
            }
            return failure == nil
        }
        if let failure { throw failure }
        guard seen == count, seen > 0 || size(of: type) == 0 else {
            throw refused(
                path, name,
                "has \(size(of: type)) bytes and fields that cannot be seen, which may be addresses; build without -disable-reflection-metadata and -disable-reflection-names, or, if it is a union of C, send its bytes"
            )
        }
        return whole
    }

    private mutating func optional(_ wrapped: Any.Type, at offset: Int, path: String) throws(IPCError) -> Part {
        let part = try part(wrapped, at: offset, path: path)
        let layout = OptionalLayout(payload: size(of: wrapped), spare: part.spare)
        guard layout.isThatOf(wrapped) else {
            throw refused(
                path, "Optional<\(MessageType.name(of: wrapped))>",
                "marks nil in a way that this library does not know; send a structure with a flag and a value")
        }
        return Part(
            checks: [ValueCheck(.optional(layout), "Swift.Optional", part.checks)],
            spare: part.spare?.withoutFirst)
    }

    private mutating func enumeration(_ known: EnumerationCases, _ name: String, at offset: Int) -> Part {
        cases.add(UInt64(offset))
        cases.add(UInt64(known.names.count))
        for (name, rawValue) in zip(known.names, known.rawValues) {
            cases.add(name)
            cases.add(rawValue)
        }
        let shown = known.names.prefix(16).joined(separator: ", ") + (known.names.count > 16 ? ", …" : "")
        let text = "\(name) with \(known.names.count) cases (\(shown))"
        if !enumerations.contains(text) { enumerations.append(text) }
        guard known.width > 0 else { return Part() }
        let count = UInt64(known.names.count)
        return Part(
            checks: [ValueCheck(.below(count, width: known.width), name)],
            spare: SpareValues(width: known.width, after: count))
    }

    private func isAddress(_ name: String) -> Bool {
        [
            "Swift.Unsafe", "Swift.OpaquePointer", "Swift.Unmanaged", "Swift.AutoreleasingUnsafe",
            "Swift.ObjectIdentifier", "Swift.StaticString",
        ]
        .contains(where: name.hasPrefix)
    }

    private func address(_ path: String, _ name: String) -> IPCError {
        refused(path, name, "is an address, which means nothing in another process; send an offset or an index")
    }

    private func refused(_ path: String, _ name: String, _ reason: String) -> IPCError {
        IPCError(.wrongType, "channel", path, advice: "its type \(name) \(reason)")
    }
}

private func size(of type: Any.Type) -> Int {
    func size<Value>(_ type: Value.Type) -> Int { MemoryLayout<Value>.size }
    return size(type)
}

private func stride(of type: Any.Type) -> Int {
    func stride<Value>(_ type: Value.Type) -> Int { MemoryLayout<Value>.stride }
    return stride(type)
}

/// FNV-1a (Fowler, Noll, Vo): the same in every process, unlike Swift's own hashing.
struct Fingerprint {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
        add(UInt8(0))
    }

    mutating func add(_ number: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    private mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }

    /// 32 bits that depend on all 64.
    var folded: UInt32 { UInt32(truncatingIfNeeded: value ^ value >> 32) }
}
