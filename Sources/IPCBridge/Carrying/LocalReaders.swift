#if NATS
    import Glibc
    import IPC
    import IPCChannels

    /// The workers of a queue, or the servers of a service, on this machine; the bridge's own are left out.
    enum LocalReaders {
        /// How often it is looked whether there are any, where nothing else tells.
        static let interval = Duration.seconds(1)

        static func count(_ channel: AnyChannel) throws(IPCError) -> Int {
            let own = getpid()
            return try channel.participants().count { $0.role == .reader && $0.process != own && $0.isAlive }
        }

        /// Waits until there are some, or none.
        static func wait(_ channel: AnyChannel, areThere wanted: Bool) async throws {
            while try (count(channel) > 0) != wanted { try await Task.sleep(for: interval) }
        }
    }
#endif
