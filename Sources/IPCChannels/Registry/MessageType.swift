import IPC

/// What a channel records about its message type, so that it cannot be opened with another type.
struct MessageType: Sendable {
    let name: String
    let size: Int
    let stride: Int
    let alignment: Int
    let fingerprint: UInt64
    /// Makes the schema anew; nil if the type was read from a channel without it. A type that is kept does not keep its schema, of whose
    /// addresses some have bits of their own: the address sanitizer would take what they lead to for lost.
    private let makeSchema: (@Sendable () -> ChannelSchema?)?
    /// What it consists of; nil if it was not read from the channel.
    var schema: ChannelSchema? { makeSchema?() }
    /// The conditions under which bytes are a value; nil if all bytes are, and if the schema is not known.
    let checks: MessageChecks?

    /// Messages of any bytes.
    static let bytes = MessageType(.messages(.bytes), checks: nil) { .messages(.bytes) }

    /// A type read from a channel, without its schema.
    init(name: String, size: Int, stride: Int, alignment: Int, fingerprint: UInt64) {
        self.name = name
        self.size = size
        self.stride = stride
        self.alignment = alignment
        self.fingerprint = fingerprint
        (makeSchema, checks) = (nil, nil)
    }

    /// A type of which the schema is known.
    ///
    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the message or its alignment is too large.
    init(_ schema: ChannelSchema) throws(IPCError) {
        self.init(schema, checks: Self.checks(of: schema)) { schema }
        try check()
    }

    /// - Parameters:
    ///   - schema: Is not kept.
    ///   - makeSchema: Makes the same one.
    init(
        _ schema: ChannelSchema, checks: MessageChecks?, _ makeSchema: @escaping @Sendable () -> ChannelSchema?
    ) {
        self.makeSchema = makeSchema
        self.checks = checks
        name = schema.name
        fingerprint = schema.fingerprint
        switch schema {
        case .messages(let message):
            (size, alignment) = (message.byteCount, message.alignment)
            stride = message.isFixedSize ? message.stride : 0
        case .calls(let request, let reply, _):
            (size, stride, alignment) = (request.byteCount, reply.byteCount, 1)
        }
    }

    private func check() throws(IPCError) {
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

    /// The checks of a schema, which are never freed, and so are created only once for each.
    private static func checks(of schema: ChannelSchema) -> MessageChecks? {
        guard case .messages(let message) = schema else { return nil }
        let needed = message.checks
        if needed.isEmpty { return nil }
        let fingerprint = schema.fingerprint
        return knownChecks.withLock { known in
            if let checks = known[fingerprint] { return checks }
            let checks = MessageChecks(needed, type: message.name)
            known[fingerprint] = checks
            return checks
        }
    }

    /// By the fingerprints of their schemas.
    private static let knownChecks = Locked<[UInt64: MessageChecks]>([:])

    /// The types analysed so far: each type is analysed, and its checks are created, only once.
    private static let known = Locked<[ObjectIdentifier: MessageType]>([:])

    /// - Throws: ``/IPC/IPCError/Code/wrongType`` if the type contains a pointer or a reference, contains something that cannot
    ///   be checked when it comes from another process, or needs too large an alignment.
    static func of<Value: BitwiseCopyable>(_ type: Value.Type) throws(IPCError) -> MessageType {
        try of(type, ObjectIdentifier(type)) { (type) throws(IPCError) in try MessageSchema(ofAny: type) }
    }

    /// The type of messages with a header of this type, and bytes after it.
    static func framed<Header: BitwiseCopyable>(header: Header.Type) throws(IPCError) -> MessageType {
        // A key that no message type has.
        try of(header, ObjectIdentifier(HeaderKey<Header>.self)) { (type) throws(IPCError) in
            .framed(try MessageSchema(ofAny: type))
        }
    }

    private static func of(
        _ type: Any.Type, _ key: ObjectIdentifier,
        _ make: @escaping @Sendable (Any.Type) throws(IPCError) -> MessageSchema
    ) throws(IPCError) -> MessageType {
        if let known = known.withLock({ $0[key] }) { return known }
        let schema = try make(type)
        let made = MessageType(.messages(schema), checks: MessageChecks(schema.checks, type: schema.name)) {
            (try? make(type)).map { .messages($0) }
        }
        try made.check()
        return known.withLock { types in
            if let known = types[key] { return known }
            types[key] = made
            return made
        }
    }

    /// The type of a service: its three types combined, each of which is of this program.
    static func call(_ request: MessageType, _ reply: MessageType, failure: MessageType) throws(IPCError) -> MessageType
    {
        @Sendable func make() -> ChannelSchema {
            func part(_ type: MessageType) -> MessageSchema { type.schema?.message ?? .bytes }
            return .calls(request: part(request), reply: part(reply), failure: part(failure))
        }
        return MessageType(make(), checks: nil) { make() }
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

/// Tells a header from a message of the same type.
private enum HeaderKey<Header> {}
