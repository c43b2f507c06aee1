import IPC

/// What bytes of a call have to be so that they are values; nil where all bytes of the right count are.
struct CallChecks: Sendable {
    let request: MessageChecks?
    let reply: MessageChecks?
    let failure: MessageChecks?
}

/// Where everything is in a call: a message of a log that carries work, with room for the reply in it.
///
/// The caller reserves that room when it calls. So a server never waits to reply, whatever its callers do; a reply needs no
/// channel of its own, and is seen by its caller alone.
@safe
struct CallFrame: @unchecked Sendable {
    // `@unchecked`: what others change of it is atomic, and the rest is written before they are told of it.
    // After the word of `Work.State`:
    static let deadline = 8  // UInt64, nanoseconds of the machine's CLOCK_MONOTONIC; UInt64.max for none
    static let requestCount = 16  // UInt32
    static let replyLimit = 20  // UInt32
    static let replyCount = 24  // UInt32, by the server
    static let metadataCount = 28  // UInt32
    static let request = Work.prefixSize

    let payload: UnsafeMutableRawPointer
    let requestCount: Int
    let replyLimit: Int

    /// Of one that is being written. Its payload has ``byteCount(request:reply:metadata:)``.
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

    /// Of one that was taken; its sizes are loaded once, and checked. Borrows the memory, which an initializer would retain.
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

    /// Of `Work.State`.
    var word: SharedWord { unsafe SharedWord(payload) }
    var request: UnsafeMutableRawPointer { unsafe payload + Self.request }
    var reply: UnsafeMutableRawPointer { unsafe payload + Self.aligned(requestCount) }
    var deadline: Deadline {
        Deadline(onMachine: unsafe payload.load(fromByteOffset: Self.deadline, as: UInt64.self))
    }
    /// Written before the state that tells of it.
    var replyCount: Int {
        get { Int(unsafe payload.load(fromByteOffset: Self.replyCount, as: UInt32.self)) }
        nonmutating set {
            // One that is refused as too large may have 4 GiB and more.
            unsafe payload.storeBytes(of: UInt32(clamping: newValue), toByteOffset: Self.replyCount, as: UInt32.self)
        }
    }
}

extension ChannelMemory {
    /// Where the caller in this slot sleeps.
    func sleepingCaller(_ slot: UInt32) throws(IPCError) -> SleepingPlace {
        guard slot < UInt32(writerSlots) else { throw corrupted("a call is of slot \(slot)") }
        let offset = LogLayout.writerSlot(Int(slot), readerSlots: readerSlots)
        return SleepingPlace(word(offset + LogLayout.WriterSlot.callerQueue), .writer(Int(slot)))
    }

    /// What its caller does that does not want the reply any more. A server that has the call makes it done.
    ///
    /// One whose frame is another call's by now is left alone.
    ///
    /// - Returns: Whether it was not over before.
    @discardableResult
    func withdrawCall(at position: UInt64) -> Bool {
        let word = workState(at: position)
        var state = Work.State(word: word.published)
        for _ in 0..<Work.attempts {
            guard state.isOf(lap: workLap(at: position)), state.stage != Work.Stage.done, !state.isCancelled else {
                return false
            }
            let next = state.stage == Work.Stage.taken ? state.cancelled : state.at(Work.Stage.done)
            let (isOurs, found) = word.exchange(state.word, for: next.word)
            if isOurs {
                if next.stage == Work.Stage.done, next.isAside { leave(position) }
                return true
            }
            state = Work.State(word: found)
        }
        return false
    }
}
