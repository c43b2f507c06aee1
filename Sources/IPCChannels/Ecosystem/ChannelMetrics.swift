#if Metrics
    public import IPC
    import Metrics

    /// Tells channels' figures to swift-metrics, read off their memory: neither participants nor messages notice.
    ///
    /// ```swift
    /// try await ChannelMetrics().run()
    /// ```
    ///
    /// For each channel, with its name as the dimension `channel`: `ipc.messages`, `ipc.bytes` (claimed in the log),
    /// `ipc.depth` (messages not done, or kept), `ipc.waits` (wake-ups of sleepers), `ipc.redeliveries`, `ipc.recoveries`,
    /// `ipc.participants`. One process of a machine is enough to tell them.
    public struct ChannelMetrics: Sendable {
        private let root: ChannelRoot
        private let names: [ChannelName]?

        /// - Parameter names: Which channels; nil for all that there are at each look.
        public init(_ names: [ChannelName]? = nil, in root: ChannelRoot = .current) {
            self.names = names
            self.root = root
        }

        /// Looks once, and tells. A channel that goes meanwhile is passed over.
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

        /// Looks and tells every so often, until its task is cancelled.
        public nonisolated(nonsending) func run(every interval: Duration = .seconds(1)) async throws {
            while !Task.isCancelled {
                try record()
                do { try await Task.sleep(for: interval) } catch { return }
            }
        }
    }
#endif
