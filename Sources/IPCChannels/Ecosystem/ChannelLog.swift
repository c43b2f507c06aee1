import IPC

#if Logging
    import Logging
#endif

/// What people should know of, told to swift-log where the trait `Logging` is on; nothing otherwise.
enum ChannelLog {
    #if Logging
        private static let logger = Logger(label: "swift-ipc")
    #endif

    static func recovered(_ name: ChannelName, _ role: Membership.Role, _ process: UInt32) {
        #if Logging
            logger.notice(
                "a participant died; what it left was recovered",
                metadata: ["channel": "\(name)", "role": "\(role)", "process": "\(process)"])
        #endif
    }

    static func deadLetter(_ name: ChannelName, _ reason: DeadLetter.Reason, attempts: Int) {
        #if Logging
            let why =
                switch reason {
                case .rejected, .workerDied: "was handed out too often"
                case .invalid: "is not of the queue's type"
                case .expired: "was not worked on in time"
                }
            logger.warning(
                "a message \(why), and went to the dead letters",
                metadata: ["channel": "\(name)", "reason": "\(reason)", "attempts": "\(attempts)"])
        #endif
    }

    static func lostCall(_ name: ChannelName, _ caller: Int32) {
        #if Logging
            logger.warning(
                "a call cannot be one, and was given up; whoever made it is not of this library: find it, and correct it",
                metadata: ["channel": "\(name)", "caller": "\(caller)"])
        #endif
    }

    static func keptAside(_ name: ChannelName, attempts: Int, _ error: IPCError) {
        #if Logging
            logger.error(
                "a message that cannot be worked on could not go to the dead letters; it is kept aside, and tried again",
                metadata: ["channel": "\(name)", "attempts": "\(attempts)", "error": "\(error)"])
        #endif
    }
}
