import IPC

/// The checks of a call's types; nil if every bit pattern of the right size is a value.
struct CallChecks: Sendable {
    let request: MessageChecks?
    let reply: MessageChecks?
    let failure: MessageChecks?
}

/// The layout of a call: a message of a log that carries work, with room for the reply.
///
/// The caller reserves that room when it calls. So a server never waits to reply, whatever its callers do. A reply needs no
/// channel of its own, and only its caller sees it.
@safe
struct CallFrame: @unchecked Sendable {
    // `@unchecked`: others change only the atomic word; everything else is written before the word publishes it. After the word
    // of `Work.State`:
    static let deadline = 8  // UInt64, nanoseconds of the machine's CLOCK_MONOTONIC; UInt64.max for none
    static let requestCount = 16  // UInt32
    static let replyLimit = 20  // UInt32
    static let replyCount = 24  // UInt32, written by the server
    static let metadataCount = 28  // UInt32
    static let request = Work.prefixSize

    let payload: UnsafeMutableRawPointer
    let requestCount: Int
    let replyLimit: Int

    /// Writes the header of a new call. Its payload has ``byteCount(request:reply:metadata:)`` bytes.
    init(
        writing payload: UnsafeMutableRawPointer, _ state: Work.State, request: Int, reply: Int, metadata: Int,
        until deadline: Deadline
    ) {
        unsafe self.payload = payload
        requestCount = request
        replyLimit = reply
        word.relaxed = state.word
        unsafe payload.storeBytes(of: deadline.onMachine, toByteOffset: Self.deadline, as: UInt64.self)
        unsafe payload.storeBytes(of: UInt32(request), toByteOffset: Self.requestCount, as: UInt32.self)
        unsafe payload.storeBytes(of: UInt32(reply), toByteOffset: Self.replyLimit, as: UInt32.self)
        unsafe payload.storeBytes(of: UInt32(metadata), toByteOffset: Self.metadataCount, as: UInt32.self)
    }

    /// Reads a call that was taken. Its sizes are loaded once and checked. Borrows the memory, which an initializer would
    /// otherwise retain.
    init(_ memory: borrowing ChannelMemory, _ work: TakenWork) throws(IPCError) {
        unsafe payload = memory.workPayload(at: work.position)
        requestCount = Int(unsafe payload.load(fromByteOffset: Self.requestCount, as: UInt32.self))
        replyLimit = Int(unsafe payload.load(fromByteOffset: Self.replyLimit, as: UInt32.self))
        let metadata = Int(unsafe payload.load(fromByteOffset: Self.metadataCount, as: UInt32.self))
        guard Self.byteCount(request: requestCount, reply: replyLimit, metadata: metadata) == Int(work.header.length),
            work.header.writer < UInt32(memory.writerSlots)
        else { throw memory.corrupted("the call at \(work.position) has sizes that do not fit its frame") }
    }

    static func byteCount(request: Int, reply: Int, metadata: Int) -> Int { aligned(request) + reply + metadata }
    private static func aligned(_ request: Int) -> Int { (Self.request + request + 31) & ~31 }

    /// The word of `Work.State`.
    var word: SharedUInt64 { unsafe SharedUInt64(payload) }
    var request: UnsafeMutableRawPointer { unsafe payload + Self.request }
    var reply: UnsafeMutableRawPointer { unsafe payload + Self.aligned(requestCount) }
    var deadline: Deadline {
        Deadline(onMachine: unsafe payload.load(fromByteOffset: Self.deadline, as: UInt64.self))
    }
    /// Written before the state that publishes it.
    var replyCount: Int {
        get { Int(unsafe payload.load(fromByteOffset: Self.replyCount, as: UInt32.self)) }
        nonmutating set {
            // A reply that is refused as too large may have 4 GiB and more.
            unsafe payload.storeBytes(of: UInt32(clamping: newValue), toByteOffset: Self.replyCount, as: UInt32.self)
        }
    }
}
