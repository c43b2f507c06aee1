#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import SystemPackage

    /// Which streams there were when the first bridge of this machine started: a small file beside the channels.
    ///
    /// With `start: next`, a machine reads such a stream from its end on. A stream that was made later is read from its beginning:
    /// everything in it came after the start of this machine's bridge, though the bridge may learn of it only after its first messages.
    struct TopicHistory: Sendable {
        private let names: ServerNames
        private let folder: String
        private var path: String { "\(folder)/\(names.prefix).streams" }

        init(_ names: ServerNames, in root: ChannelRoot) {
            self.names = names
            folder = root.path + "/.bridge"
        }

        /// How much later than its command a bridge may start: of bridges that are started together, each is to get what the others send.
        private static let patience = Duration.seconds(2)

        /// Notes the streams that there were when the bridge started, unless that was done before. The bridge calls it once it is
        /// connected, before it tells other machines of its channels.
        func begin(_ connection: NATSConnection, since start: ContinuousClock.Instant) async throws {
            guard access(path, F_OK) != 0 else { return }
            var streams: [String] = []
            let start = start - Self.patience
            for stream in try await connection.streamNames(prefix: names.streams(.topic))
            where try await !connection.isStream(stream, madeSince: start) {
                streams.append(stream)
            }
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw IPCError("mkdir", folder, Errno(rawValue: errno))
            }
            let new = path + ".new"
            do {
                let file = try FileDescriptor.open(
                    FilePath(new), .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: .ownerReadWrite
                )
                try file.closeAfter { _ = try file.writeAll(streams.joined(separator: "\n").utf8) }
            } catch let error as Errno {
                throw IPCError("write", new, error)
            }
            guard rename(new, path) == 0 else { throw IPCError("rename", new, Errno(rawValue: errno)) }
        }

        /// Whether a stream was made since then.
        func isNew(_ stream: String) -> Bool {
            guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else {
                return false
            }
            var text: [UInt8] = []
            let isRead: Void? = try? file.closeAfter {
                var piece = [UInt8](repeating: 0, count: 65_536)
                while case let count = try piece.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
                    text += piece[..<count]
                }
            }
            return isRead != nil
                && !String(decoding: text, as: UTF8.self).split(separator: "\n").contains { $0 == stream }
        }
    }
#endif
