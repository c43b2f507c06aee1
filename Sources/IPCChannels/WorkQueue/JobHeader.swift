import IPC

/// When a message may be delivered, and when it expires.
///
/// ```swift
/// var producer = try WorkQueue<UInt64>.openOrCreate("reminders").makeProducer()
/// try producer.send(7, JobOptions(delay: .seconds(60), timeToLive: .seconds(3600)))
/// ```
public struct JobOptions: Hashable, Sendable {
    /// How long to wait before delivery, by the machine's wall clock. Delayed messages are set aside and do not block the log
    /// space behind them. Their number is limited.
    public var delay: Duration
    /// The time to live, from now on; nil for no limit. When it ends, the message goes to the dead letters. A worker that has
    /// the job at that time keeps it.
    public var timeToLive: Duration?
    /// Whether sending throws ``/IPC/IPCError/Code/notReady`` if no worker has joined, and sends nothing. Otherwise the message waits
    /// in the queue for one.
    public var requiresWorker: Bool

    public init(delay: Duration = .zero, timeToLive: Duration? = nil, requiresWorker: Bool = false) {
        self.delay = delay
        self.timeToLive = timeToLive
        self.requiresWorker = requiresWorker
    }

    /// - Throws: ``/IPC/IPCError/Code/notReady``.
    func check(_ memory: ChannelMemory) throws(IPCError) {
        guard requiresWorker, try !memory.hasLivingReader else { return }
        throw IPCError(
            .notReady, "send", memory.name.description,
            advice: "no worker has joined; start one, or let the message wait for one (requiresWorker: false)")
    }
}

/// Why a message is a dead letter.
public struct DeadLetter: Hashable, Sendable {
    public enum Reason: UInt16, Hashable, Sendable {
        /// Workers rejected it as often as the queue allows.
        case rejected = 1
        /// The last of its workers died.
        case workerDied = 2
        /// It is not a valid message: it has the wrong size, or a value that its type does not have. Its producer does not use
        /// this library, or the log is damaged. It is never delivered.
        case invalid = 3
        /// Its time to live ended.
        case expired = 4
    }

    public let reason: Reason
    /// How often it was delivered.
    public let attempts: Int
    /// When it became a dead letter, in seconds since 1970.
    public let time: Double
    /// The process that had it last; 0 if there was none.
    public let process: Int32
}

extension DeadLetter.Reason {
    /// - Parameter word: The word at ``JobHeader/reason``.
    init(word: UInt64) { self = DeadLetter.Reason(rawValue: UInt16(truncatingIfNeeded: word)) ?? .rejected }

    /// The reason as part of a sentence about the message.
    var told: String {
        switch self {
        case .rejected, .workerDied: "was delivered too often"
        case .invalid: "does not have the queue's type"
        case .expired: "expired before it was done"
        }
    }
}

/// The header of a queue's message; it follows the word of ``Work/State``. The worker that has the job writes it, also when it
/// moves the job to the dead letters.
enum JobHeader {
    static let expires = 8  // UInt64: when it expires, by the wall clock; 0 for never
    static let reason = 16  // UInt16: why it was returned, or became a letter; 0 for not yet: `DeadLetter.Reason`
    static let attempts = 18  // UInt16, of a letter: how often it was delivered
    static let process = 20  // UInt32: the process that had it last
    static let movedAt = 24  // UInt64, of a letter: when it was moved, by the wall clock

    /// Writes the header of a new message.
    static func write(_ payload: UnsafeMutableRawPointer, expires time: UInt64) {
        unsafe SharedUInt64(payload + expires).relaxed = time
        unsafe SharedUInt64(payload + reason).relaxed = 0
        unsafe SharedUInt64(payload + movedAt).relaxed = 0
    }

    /// Stores why the job is returned. Called by the worker that has it. A dead letter keeps its original reason when it is
    /// rejected.
    static func setReason(_ payload: UnsafeMutableRawPointer, _ reason: DeadLetter.Reason, _ process: UInt32) {
        guard unsafe SharedUInt64(payload + movedAt).relaxed == 0 else { return }
        unsafe SharedUInt64(payload + Self.reason).relaxed = UInt64(reason.rawValue) | UInt64(process) << 32
    }

    static func hasExpired(_ payload: UnsafeMutableRawPointer) -> Bool {
        let time = unsafe SharedUInt64(payload + expires).relaxed
        return time != 0 && WallClock.hasReached(time)
    }

    /// Writes the header of a dead letter.
    ///
    /// - Parameter original: The header of the job that is moved to the dead letters.
    static func move(
        _ payload: UnsafeMutableRawPointer, _ original: UnsafeMutableRawPointer, _ why: DeadLetter.Reason?,
        attempts: Int
    ) {
        var word = unsafe SharedUInt64(original + reason).relaxed & ~0xffff_0000
        if let why { word = word & ~0xffff | UInt64(why.rawValue) }
        unsafe SharedUInt64(payload + expires).relaxed = 0
        unsafe SharedUInt64(payload + reason).relaxed = word | UInt64(UInt16(clamping: attempts)) << 16
        unsafe SharedUInt64(payload + movedAt).relaxed = WallClock.now
    }

    /// Nil if the message is no dead letter.
    static func letter(_ payload: UnsafeRawPointer) -> DeadLetter? {
        let word = unsafe payload.loadUnaligned(fromByteOffset: reason, as: UInt64.self)
        let time = unsafe payload.loadUnaligned(fromByteOffset: movedAt, as: UInt64.self)
        guard time != 0 else { return nil }
        return DeadLetter(
            reason: DeadLetter.Reason(word: word),
            attempts: Int(word >> 16 & 0xffff), time: Double(time) / 1e9,
            process: Int32(truncatingIfNeeded: word >> 32))
    }
}
