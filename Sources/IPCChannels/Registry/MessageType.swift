import IPC

/// What a channel records about its message type, so that it cannot be opened with another type.
struct MessageType: Sendable {
    let name: String
    let size: Int
    let stride: Int
    let alignment: Int
    let fingerprint: UInt64
    /// What it consists of; nil if it was not read from the channel.
    let schema: ChannelSchema?
    /// The conditions under which bytes are a value; nil if all bytes are, and for a type read from a channel.
    let checks: MessageChecks?

    /// Messages of any bytes.
    static let bytes = MessageType(unchecked: .messages(.bytes))

    /// A type read from a channel, without its schema.
    init(name: String, size: Int, stride: Int, alignment: Int, fingerprint: UInt64) {
        self.name = name
        self.size = size
        self.stride = stride
        self.alignment = alignment
        self.fingerprint = fingerprint
        (schema, checks) = (nil, nil)
    }

    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the alignment is too large.
    init(_ schema: ChannelSchema) throws(IPCError) {
        self.init(unchecked: schema)
        guard max(size, stride) <= Int(UInt32.max) else {
            throw IPCError(
                .wrongType, "channel", name, advice: "a message has \(max(size, stride)) bytes; there are at most 4 GiB"
            )
        }
        guard alignment <= LogLayout.Frame.headerSize else {
            throw IPCError(
                .wrongType, "channel", name,
                advice: "the alignment of a message is at most \(LogLayout.Frame.headerSize) bytes")
        }
    }

    init(unchecked schema: ChannelSchema) {
        self.schema = schema
        name = schema.name
        fingerprint = schema.fingerprint
        switch schema {
        case .messages(let message):
            (size, alignment) = (message.byteCount, message.alignment)
            stride = message.isFixedSize ? message.stride : 0
            checks = Self.checks(of: message)
        case .calls(let request, let reply, _):
            (size, stride, alignment, checks) = (request.byteCount, reply.byteCount, 1, nil)
        }
    }

    /// The checks of a schema, which are never freed, and so are created only once for each.
    private static func checks(of message: MessageSchema) -> MessageChecks? {
        let needed = message.checks
        if needed.isEmpty { return nil }
        return knownChecks.withLock { known in
            if let checks = known[message] { return checks }
            let checks = MessageChecks(needed, type: message.name)
            known[message] = checks
            return checks
        }
    }

    private static let knownChecks = Locked<[MessageSchema: MessageChecks]>([:])

    /// The types analysed so far: each type is analysed only once.
    private static let known = Locked<[ObjectIdentifier: MessageType]>([:])

    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the type contains a pointer or a reference, contains something that cannot
    ///   be checked when it comes from another process, or needs too large an alignment.
    static func of<Value: BitwiseCopyable>(_ type: Value.Type) throws(IPCError) -> MessageType {
        let key = ObjectIdentifier(type)
        if let known = known.withLock({ $0[key] }) { return known }
        let made = try MessageType(.messages(MessageSchema(of: type)))
        return known.withLock { types in
            if let known = types[key] { return known }
            types[key] = made
            return made
        }
    }

    /// The type of a service: its three types combined, each of which is of this program.
    static func call(_ request: MessageType, _ reply: MessageType, failure: MessageType) throws(IPCError) -> MessageType
    {
        let parts = [request, reply, failure].map { $0.schema?.message ?? .bytes }
        return try MessageType(.calls(request: parts[0], reply: parts[1], failure: parts[2]))
    }

    /// The error for a channel of another type. It names both types, and the first difference.
    ///
    /// - Parameter found: What the channel carries; nil if that cannot be read.
    func mismatch(_ channel: String, wanted: MessageType, found: ChannelSchema?) -> IPCError {
        let difference = wanted.schema.flatMap { wanted in
            found.flatMap { ChannelSchema.difference(channel: $0, program: wanted) }
        }
        return IPCError(
            .wrongType, "open channel", channel,
            advice:
                "it carries \(name) (\(size) bytes), but was opened for \(wanted.name) (\(wanted.size) bytes): \(difference ?? "they differ"); use the same type, or another channel"
        )
    }
}

extension MessageType: Hashable {
    static func == (one: MessageType, other: MessageType) -> Bool {
        one.fingerprint == other.fingerprint && one.size == other.size && one.stride == other.stride
            && one.alignment == other.alignment
    }

    func hash(into hasher: inout Hasher) { hasher.combine(fingerprint) }
}
