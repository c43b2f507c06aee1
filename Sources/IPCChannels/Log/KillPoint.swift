import Glibc

/// Points at which a test kills a process, in debug builds: `IPC_KILL_POINT=claim.intent`, or `claim.intent:17` for the 17th time.
/// The process first reports the point on standard error, so that the test knows where it died. `IPC_STOP_POINT` stops the process
/// there instead, once.
@usableFromInline
enum KillPoint: String, CaseIterable {
    case joinSlot = "join.slot"
    case joinAnnounced = "join.announced"
    case joinCursor = "join.cursor"
    case joinHeld = "join.held"
    case claimIntent = "claim.intent"
    case claimLength = "claim.length"
    case claimDone = "claim.done"
    case fillHeader = "fill.header"
    case commitStamp = "commit.stamp"
    case commitLatest = "commit.latest"
    case commitSequence = "commit.sequence"
    case commitWake = "commit.wake"
    case blockStart = "block.start"
    case readFrame = "read.frame"
    case readCursor = "read.cursor"
    case sleepFlag = "sleep.flag"
    case sleepWord = "sleep.word"
    case wakeFlag = "wake.flag"
    case wakeCounted = "wake.counted"
    case wakeSignalled = "wake.signalled"
    case recoverHeader = "recover.header"
    case recoverSkip = "recover.skip"
    case recoverSlot = "recover.slot"
    /// A dead participant's slot is free, but its byte is still locked.
    case recoverFreed = "recover.freed"
    case recoverSettling = "recover.settling"
    case recoverWork = "recover.work"
    case workTaken = "work.taken"
    case workDone = "work.done"
    case asideOwned = "aside.owned"
    case asideEntered = "aside.entered"
    case asideMarked = "aside.marked"
    case asideLeft = "aside.left"
    case asidePassed = "aside.passed"
    case callAnswered = "call.answered"
    case callReplied = "call.replied"
    case callWithdrawn = "call.withdrawn"
    case durableCut = "durable.cut"
    case durableDone = "durable.done"
    case syncBegun = "sync.begun"
    case leaveSlot = "leave.slot"
    case leaveWake = "leave.wake"
    case removeFlag = "remove.flag"

    #if DEBUG
        private static let wanted: (point: String, after: Int, signal: CInt)? = {
            for (name, signal) in [("IPC_KILL_POINT", SIGKILL), ("IPC_STOP_POINT", SIGSTOP)] {
                guard let raw = unsafe getenv(name) else { continue }
                let parts = unsafe String(cString: raw).split(separator: ":")
                return parts.first.map { (String($0), parts.count > 1 ? Int(parts[1]) ?? 1 : 1, signal) }
            }
            return nil
        }()
        nonisolated(unsafe) private static var reached = 0

        @usableFromInline
        static func reach(_ point: KillPoint) {
            guard let wanted, wanted.point == point.rawValue else { return }
            unsafe reached += 1
            let isDue = unsafe wanted.signal == SIGKILL ? reached >= wanted.after : reached == wanted.after
            guard isDue else { return }
            var text = "struck \(point.rawValue)\n"
            _ = text.withUTF8 { unsafe write(2, $0.baseAddress, $0.count) }
            // To this thread: a stop of the process may reach it some instructions later.
            raise(wanted.signal)
        }
    #else
        @inlinable @inline(__always)
        static func reach(_ point: KillPoint) {}
    #endif
}
