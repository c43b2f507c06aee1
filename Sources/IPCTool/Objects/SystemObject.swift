import IPCChannels

/// Something that exists on this machine, through which processes exchange data.
struct SystemObject {
    enum Kind: String, CaseIterable {
        case channel, shm, sem, mq, sysv, fifo, pipe, unix, tcp, udp
    }

    let kind: Kind
    let name: String
    /// Bytes that it takes.
    var size: Int?
    /// How much is in it, in its own terms: messages, connections, a value.
    var depth: String?
    var mode: String?
    var owner: String?
    /// The processes that have it open, by number. As JSON, `commands` has their names in the same order.
    var holders: [Int32] = []
    /// Of what only the dead have left: why that is known.
    var staleness: String?
    /// What else there is to know.
    var detail: String?

    var json: JSONValue {
        .members([
            ("kind", .string(kind.rawValue)), ("name", .string(name)), ("size", JSONValue(size)),
            ("depth", JSONValue(depth)), ("mode", JSONValue(mode)), ("owner", JSONValue(owner)),
            ("holders", .array(holders.map { .integer(Int($0)) })),
            ("commands", .array(holders.map { .string(ProcFiles.command($0)) })),
            ("stale", .bool(staleness != nil)), ("detail", JSONValue(detail ?? staleness)),
        ])
    }
}
