import IPC

/// What a channel records of its messages' type, so that nobody opens it as another.
struct MessageType: Sendable {
    let name: String
    let size: Int
    let stride: Int
    let alignment: Int
    /// Its upper half is of the names, types and offsets of all stored fields, those of fields included; its lower half of the
    /// cases of all enumerations among them: their names, order and raw values.
    let fingerprint: UInt64
    /// Each enumeration with its cases, for people; of a type of this program only.
    var enumerations: [String] = []
    /// What has to hold for bytes to be a value; nil if all are, and of the type that a channel has recorded.
    var checks: MessageChecks?

    /// Messages that are whatever bytes their writer chose.
    static let bytes = MessageType(name: "bytes", size: 0, stride: 0, alignment: 1, fingerprint: 0)

    /// The type's name, the same in every process: where a type is private, reflection names an address in between.
    static func name(of type: Any.Type) -> String {
        let parts = String(reflecting: type).split(separator: "(unknown context at $", omittingEmptySubsequences: false)
        return parts.dropFirst().reduce(into: String(parts[0])) { name, part in
            name += part.drop { $0 != "." }.dropFirst()
        }
    }

    /// Those that were looked through: each is looked through once, and its checks are made once.
    private static let known = Locked<[ObjectIdentifier: MessageType]>([:])

    /// - Throws: ``IPC/IPCError/Code/wrongType`` if the type holds a pointer or a reference, or what cannot be checked when it comes
    ///   from another process, or is too long a name.
    static func of<Value: BitwiseCopyable>(_ type: Value.Type) throws(IPCError) -> MessageType {
        let key = ObjectIdentifier(type)
        if let known = known.withLock({ $0[key] }) { return known }
        let name = name(of: type)
        let layout = try MessageLayout(of: type)
        try checkLength(name)
        guard MemoryLayout<Value>.alignment <= LogLayout.Frame.headerSize else {
            throw IPCError(
                .wrongType, "channel", name,
                advice: "a message is aligned to at most \(LogLayout.Frame.headerSize) bytes")
        }
        return known.withLock { types in
            if let known = types[key] { return known }
            let made = MessageType(
                name: name, size: MemoryLayout<Value>.size, stride: MemoryLayout<Value>.stride,
                alignment: MemoryLayout<Value>.alignment,
                fingerprint: UInt64(layout.fields.folded) << 32 | UInt64(layout.cases.folded),
                enumerations: layout.enumerations, checks: MessageChecks(layout.checks, type: name))
            types[key] = made
            return made
        }
    }

    /// What a service carries.
    static func call(_ request: MessageType, _ reply: MessageType, failure: MessageType) throws(IPCError) -> MessageType
    {
        let name = "(\(request.name)) throws(\(failure.name)) -> \(reply.name)"
        try checkLength(name)
        var (fields, cases) = (Fingerprint(), Fingerprint())
        for type in [request, reply, failure] {
            fields.add(type.fingerprint >> 32)
            cases.add(UInt64(type.casesFingerprint))
        }
        return MessageType(
            name: name, size: request.size, stride: reply.size, alignment: 1,
            fingerprint: UInt64(fields.folded) << 32 | UInt64(cases.folded),
            enumerations: request.enumerations + reply.enumerations + failure.enumerations)
    }

    private static func checkLength(_ name: String) throws(IPCError) {
        guard name.utf8.count <= LogLayout.Fixed.typeNameCapacity else {
            throw IPCError(
                .wrongType, "channel", name,
                advice: "the name of a message's type has at most \(LogLayout.Fixed.typeNameCapacity) bytes")
        }
    }

    private var casesFingerprint: UInt32 { UInt32(truncatingIfNeeded: fingerprint) }

    /// The error for a channel of another type; it names both, and says in what they differ as far as a channel tells.
    func mismatch(_ channel: String, wanted: MessageType) -> IPCError {
        let difference =
            if name != wanted.name {
                "use the same type"
            } else if fingerprint >> 32 != wanted.fingerprint >> 32 {
                "they have one name, but differ in the names, types, order or offsets of their fields; use the same type"
            } else if casesFingerprint != wanted.casesFingerprint {
                "they have the same fields, but differ in the number, names, order or raw values of an enumeration's cases (this program has \(wanted.enumerations.isEmpty ? "no enumeration" : wanted.enumerations.joined(separator: "; "))); use the same type"
            } else {
                "they have one name and the same fields, but differ in size, stride or alignment; use the same type"
            }
        return IPCError(
            .wrongType, "open channel", channel,
            advice:
                "it carries \(name) (\(size) bytes), but is opened for \(wanted.name) (\(wanted.size) bytes): \(difference), built from the same source"
        )
    }
}

extension MessageType: Hashable {
    static func == (one: MessageType, other: MessageType) -> Bool {
        one.name == other.name && one.size == other.size && one.stride == other.stride
            && one.alignment == other.alignment && one.fingerprint == other.fingerprint
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(fingerprint)
    }
}
