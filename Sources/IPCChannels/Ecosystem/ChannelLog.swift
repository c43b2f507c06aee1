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

    static func deadLetter(_ name: ChannelName, attempts: Int) {
        #if Logging
            logger.warning(
                "a message was handed out too often, and went to the dead letters",
                metadata: ["channel": "\(name)", "attempts": "\(attempts)"])
        #endif
    }

    static func keptAside(_ name: ChannelName, attempts: Int, _ error: IPCError) {
        #if Logging
            logger.error(
                "a message was handed out too often, and could not go to the dead letters; it is kept aside, and tried again",
                metadata: ["channel": "\(name)", "attempts": "\(attempts)", "error": "\(error)"])
        #endif
    }
}
