import IPC

/// When a message is to be worked on.
///
/// ```swift
/// var producer = try WorkQueue<UInt64>.create("reminders").makeProducer()
/// try producer.send(7, JobOptions(delay: .seconds(60), timeToLive: .seconds(3600)))
/// ```
public struct JobOptions: Hashable, Sendable {
    /// How long nobody gets it, by the machine's wall clock. Such messages wait aside, and keep nobody from the room behind them; there
    /// is a limit to how many there are.
    public var delay: Duration
    /// How long it is worth working on, from now on; nil for ever. After that it goes to the dead letters. A worker that has it then is not
    /// disturbed.
    public var timeToLive: Duration?

    public init(delay: Duration = .zero, timeToLive: Duration? = nil) {
        self.delay = delay
        self.timeToLive = timeToLive
    }
}

/// Why a message is among the dead letters.
public struct DeadLetter: Hashable, Sendable {
    public enum Reason: UInt16, Hashable, Sendable {
        /// By a worker, as often as the queue allows.
        case rejected = 1
        /// The last of its workers died.
        case workerDied = 2
        /// It cannot be a message: it has not as many bytes as the queue's type, or is none of the values that the type has. Whoever sent
        /// it is not of this library, or the log is damaged. It was not handed out, and will not be.
        case invalid = 3
        /// Its time to live was over.
        case expired = 4
    }

    public let reason: Reason
    /// How often it was handed out.
    public let attempts: Int
    /// When it became a dead letter, in seconds since 1970.
    public let time: Double
    /// The process that had it last; 0 if nobody had.
    public let process: Int32
}

extension DeadLetter.Reason {
    /// - Parameter word: That of ``JobHeader/reason``.
    init(word: UInt64) { self = DeadLetter.Reason(rawValue: UInt16(truncatingIfNeeded: word)) ?? .rejected }
}

/// What lies before a message of a queue, after the word of ``Work/State``. Whoever has the job, or buries it, writes there.
enum JobHeader {
    static let expires = 8  // UInt64: when it is not worth working on any more, by the wall clock; 0 for never
    static let reason = 16  // UInt16: why it was given back last, or buried; 0 for not yet. See `DeadLetter.Reason`.
    static let attempts = 18  // UInt16, of a letter: how often it had been handed out
    static let process = 20  // UInt32: who had it last
    static let buried = 24  // UInt64, of a letter: when, by the wall clock

    /// Of a new message.
    static func write(_ payload: UnsafeMutableRawPointer, expires time: UInt64) {
        unsafe SharedWord(payload + expires).relaxed = time
        unsafe SharedWord(payload + reason).relaxed = 0
        unsafe SharedWord(payload + buried).relaxed = 0
    }

    /// Why it comes back. By one that has it. A letter keeps what it tells, whoever rejects it.
    static func setReason(_ payload: UnsafeMutableRawPointer, _ reason: DeadLetter.Reason, _ process: UInt32) {
        guard unsafe SharedWord(payload + buried).relaxed == 0 else { return }
        unsafe SharedWord(payload + Self.reason).relaxed = UInt64(reason.rawValue) | UInt64(process) << 32
    }

    static func hasExpired(_ payload: UnsafeMutableRawPointer) -> Bool {
        let time = unsafe SharedWord(payload + expires).relaxed
        return time != 0 && WallClock.hasReached(time)
    }

    /// Of a letter that is being written.
    ///
    /// - Parameter original: The header of what is buried.
    static func bury(
        _ payload: UnsafeMutableRawPointer, _ original: UnsafeMutableRawPointer, _ why: DeadLetter.Reason?,
        attempts: Int
    ) {
        var word = unsafe SharedWord(original + reason).relaxed & ~0xffff_0000
        if let why { word = word & ~0xffff | UInt64(why.rawValue) }
        unsafe SharedWord(payload + expires).relaxed = 0
        unsafe SharedWord(payload + reason).relaxed = word | UInt64(UInt16(clamping: attempts)) << 16
        unsafe SharedWord(payload + buried).relaxed = WallClock.now
    }

    /// Nil of what was not buried.
    static func letter(_ payload: UnsafeRawPointer) -> DeadLetter? {
        let word = unsafe payload.loadUnaligned(fromByteOffset: reason, as: UInt64.self)
        let time = unsafe payload.loadUnaligned(fromByteOffset: buried, as: UInt64.self)
        guard time != 0 else { return nil }
        return DeadLetter(
            reason: DeadLetter.Reason(word: word),
            attempts: Int(word >> 16 & 0xffff), time: Double(time) / 1e9,
            process: Int32(truncatingIfNeeded: word >> 32))
    }
}
