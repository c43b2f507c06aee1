#if Metrics
    public import IPC
    import Metrics

    /// Reports the figures of channels to swift-metrics. It reads them from the channels' memory: neither participants nor
    /// messages are affected.
    ///
    /// ```swift
    /// try await ChannelMetrics().run()
    /// ```
    ///
    /// For each channel, with its name as the dimension `channel`: `ipc.messages`, `ipc.bytes` (claimed in the log),
    /// `ipc.depth` (messages not done, or kept), `ipc.waits` (wake-ups of sleepers), `ipc.redeliveries`, `ipc.recoveries`,
    /// `ipc.participants`. One process per machine is enough to report them.
    public struct ChannelMetrics: Sendable {
        private let root: ChannelRoot
        private let names: [ChannelName]?

        /// - Parameter names: The channels; nil for all that exist at each report.
        public init(_ names: [ChannelName]? = nil, in root: ChannelRoot = .current) {
            self.names = names
            self.root = root
        }

        /// Reports once. A channel that is removed meanwhile is skipped.
        public func record() throws(IPCError) {
            let names = if let names { names } else { try root.names() }
            for name in names {
                guard let channel = try? ChannelDescription(name, in: root) else { continue }
                let figures: [(String, Double)] = [
                    ("ipc.messages", Double(channel.publishedCount)), ("ipc.bytes", Double(channel.position)),
                    ("ipc.depth", Double(channel.messageCount)), ("ipc.waits", Double(channel.wakeUpCount)),
                    ("ipc.redeliveries", Double(channel.redeliveryCount)),
                    ("ipc.recoveries", Double(channel.recoveryCount)),
                    ("ipc.participants", Double(channel.participants.count)),
                ]
                for (label, value) in figures {
                    Meter(label: label, dimensions: [("channel", name.description)]).set(value)
                }
            }
        }

        /// Reports at this interval until its task is cancelled.
        public nonisolated(nonsending) func run(every interval: Duration = .seconds(1)) async throws {
            while !Task.isCancelled {
                try record()
                do { try await Task.sleep(for: interval) } catch { return }
            }
        }
    }
#endif
