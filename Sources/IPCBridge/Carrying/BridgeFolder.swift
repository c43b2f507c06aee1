#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import SystemPackage

    /// The folder beside the channels with what bridges note in small files: it goes with the channels.
    struct BridgeFolder: Sendable {
        private let folder: String

        init(in root: ChannelRoot) { folder = root.path + "/.bridge" }

        func path(_ name: String) -> String { "\(folder)/\(name)" }

        /// Makes the folder, if it is not there.
        func make() throws(IPCError) {
            if mkdir(folder, 0o700) != 0, errno != EEXIST { throw IPCError("mkdir", folder, Errno(rawValue: errno)) }
        }

        /// Writes a whole file: others see what was there before, or all of this.
        func write(_ text: String, to name: String) throws(IPCError) {
            try make()
            // Another process may write the same one.
            let (path, new) = (path(name), "\(path(name)).\(getpid())")
            do {
                let file = try FileDescriptor.open(
                    FilePath(new), .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: .ownerReadWrite
                )
                _ = try file.closeAfter { try file.writeAll(text.utf8) }
            } catch let error as Errno {
                throw IPCError("write", new, error)
            } catch { throw IPCError("write", new, .ioError) }
            guard rename(new, path) == 0 else { throw IPCError("rename", new, Errno(rawValue: errno)) }
        }

        /// What a file has; nil if there is none, or if it cannot be read.
        func read(_ name: String) -> String? {
            guard let file = try? FileDescriptor.open(FilePath(path(name)), .readOnly, options: .closeOnExec) else {
                return nil
            }
            var text: [UInt8] = []
            let isRead: Void? = try? file.closeAfter {
                var piece = [UInt8](repeating: 0, count: 65_536)
                while case let count = try piece.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
                    text += piece[..<count]
                }
            }
            return isRead.map { String(decoding: text, as: UTF8.self) }
        }
    }
#endif
