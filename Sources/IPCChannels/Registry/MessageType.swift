import IPC

/// What a channel records about its message type, so that it cannot be opened with another type.
struct MessageType: Sendable {
    let name: String
    let size: Int
    let stride: Int
    let alignment: Int
    /// The upper half covers the names, types and offsets of all stored fields, including nested ones. The lower half covers
    /// the cases of all enumerations in them: their names, order and raw values.
    let fingerprint: UInt64
    /// Each enumeration with its cases, for messages to people; only for a type of this program.
    var enumerations: [String] = []
    /// The conditions under which bytes are a value; nil if all bytes are, and for a type read from a channel.
    var checks: MessageChecks?

    /// Messages of any bytes.
    static let bytes = MessageType(name: "bytes", size: 0, stride: 0, alignment: 1, fingerprint: 0)

    /// The type's name, the same in every process. For a private type, reflection inserts an address, which is removed here.
    static func name(of type: Any.Type) -> String {
        let parts = String(reflecting: type).split(separator: "(unknown context at $", omittingEmptySubsequences: false)
        return parts.dropFirst().reduce(into: String(parts[0])) { name, part in
            name += part.drop { $0 != "." }.dropFirst()
        }
    }

    /// The types analysed so far: each type is analysed, and its checks are created, only once.
    private static let known = Locked<[ObjectIdentifier: MessageType]>([:])

    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the type contains a pointer or a reference, contains something that cannot
    ///   be checked when it comes from another process, has too long a name, or needs too large an alignment.
    static func of<Value: BitwiseCopyable>(_ type: Value.Type) throws(IPCError) -> MessageType {
        let key = ObjectIdentifier(type)
        if let known = known.withLock({ $0[key] }) { return known }
        let name = name(of: type)
        let layout = try MessageLayout(of: type)
        try checkLength(name)
        guard MemoryLayout<Value>.alignment <= LogLayout.Frame.headerSize else {
            throw IPCError(
                .wrongType, "channel", name,
                advice: "the alignment of a message is at most \(LogLayout.Frame.headerSize) bytes")
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

    /// The type of a service: its three types combined.
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

    /// The error for a channel of another type. It names both types, and how they differ as far as the channel's record shows.
    func mismatch(_ channel: String, wanted: MessageType) -> IPCError {
        let difference =
            if name != wanted.name {
                "use the same type"
            } else if fingerprint >> 32 != wanted.fingerprint >> 32 {
                "they have the same name, but differ in the names, types, order or offsets of their fields; use the same type"
            } else if casesFingerprint != wanted.casesFingerprint {
                "they have the same fields, but differ in the number, names, order or raw values of an enumeration's cases (this program has \(wanted.enumerations.isEmpty ? "no enumeration" : wanted.enumerations.joined(separator: "; "))); use the same type"
            } else {
                "they have the same name and fields, but differ in size, stride or alignment; use the same type"
            }
        return IPCError(
            .wrongType, "open channel", channel,
            advice:
                "it carries \(name) (\(size) bytes), but was opened for \(wanted.name) (\(wanted.size) bytes): \(difference), built from the same source"
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
