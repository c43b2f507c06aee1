import IPC

#if Logging
    import Logging
#endif

/// What an operator should know. Logged by swift-log if the trait `Logging` is enabled; otherwise discarded.
enum Notices {
    enum Severity { case notice, warning, error }

    #if Logging
        private static let logger = Logger(label: "swift-ipc")
    #endif

    /// - Parameters:
    ///   - event: A sentence about the channel.
    ///   - details: Evaluated only if it is logged.
    static func tell(
        _ severity: Severity, _ channel: ChannelName, _ event: @autoclosure () -> String,
        _ details: @autoclosure () -> [String: String]
    ) {
        #if Logging
            var metadata: Logger.Metadata = ["channel": "\(channel)"]
            for (key, value) in details() { metadata[key] = "\(value)" }
            let level: Logger.Level =
                switch severity {
                case .notice: .notice
                case .warning: .warning
                case .error: .error
                }
            logger.log(level: level, "\(event())", metadata: metadata)
        #endif
    }
}
