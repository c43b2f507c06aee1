#if NATS
    import Glibc
    import IPCChannels

    /// Which streams there were when the first bridge of this machine started: a small file beside the channels.
    ///
    /// With `start: next`, a machine reads such a stream from its end on. A stream that was made later is read from its beginning:
    /// everything in it came after the start of this machine's bridge, though the bridge may learn of it only after its first messages.
    struct TopicHistory: Sendable {
        private let names: ServerNames
        private let folder: BridgeFolder
        private var file: String { names.prefix + ".streams" }

        init(_ names: ServerNames, in root: ChannelRoot) {
            self.names = names
            folder = BridgeFolder(in: root)
        }

        /// How much later than its command a bridge may start: of bridges that are started together, each is to get what the others send.
        private static let patience = Duration.seconds(2)

        /// Notes the streams that there were when the bridge started, unless that was done before. The bridge calls it once it is
        /// connected, before it tells other machines of its channels.
        func begin(_ connection: NATSConnection, since start: ContinuousClock.Instant) async throws {
            guard access(folder.path(file), F_OK) != 0 else { return }
            var streams: [String] = []
            let start = start - Self.patience
            for stream in try await connection.streamNames(prefix: names.streams(.topic))
            where try await !connection.isStream(stream, madeSince: start) {
                streams.append(stream)
            }
            try folder.write(streams.joined(separator: "\n"), to: file)
        }

        /// Whether a stream was made since then.
        func isNew(_ stream: String) -> Bool {
            folder.read(file).map { !$0.split(separator: "\n").contains { $0 == stream } } ?? false
        }
    }
#endif
