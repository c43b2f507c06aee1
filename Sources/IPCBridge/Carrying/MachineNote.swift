#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import SystemPackage

    /// Which machine the channels of a root are carried as, in a small file beside them. Under another name, all that is still in them would be
    /// sent once more, and come back as another machine's.
    enum MachineNote {
        private static func path(_ configuration: BridgeConfiguration, _ root: ChannelRoot) -> String {
            "\(root.path)/.bridge/\(configuration.prefix).machine"
        }

        /// - Throws: If it was another machine.
        private static func check(_ configuration: BridgeConfiguration, in root: ChannelRoot) throws(IPCError) {
            let path = path(configuration, root)
            guard let file = try? FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec) else { return }
            var text = [UInt8](repeating: 0, count: 1024)
            let count = (try? file.closeAfter { try text.withUnsafeMutableBytes { try file.read(into: $0) } }) ?? 0
            let noted = String(decoding: text[..<count], as: UTF8.self)
            guard count > 0, noted != configuration.machine.name else { return }
            throw IPCError(
                .invalidArgument, "carry", root.path,
                advice:
                    "its channels were carried as those of the machine \(noted), not \(configuration.machine); go on with that name (\"machine\"), or remove \(path): then what is still in the channels is sent once more"
            )
        }

        /// Checks, and notes the machine.
        static func take(_ configuration: BridgeConfiguration, in root: ChannelRoot) throws(IPCError) {
            try check(configuration, in: root)
            let folder = root.path + "/.bridge"
            if mkdir(folder, 0o700) != 0, errno != EEXIST { throw IPCError("mkdir", folder, Errno(rawValue: errno)) }
            let path = path(configuration, root)
            // Another process's file of the same content is as good.
            let new = "\(path).\(getpid())"
            do {
                let file = try FileDescriptor.open(
                    FilePath(new), .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: .ownerReadWrite
                )
                _ = try file.closeAfter { try file.writeAll(configuration.machine.name.utf8) }
            } catch let error as Errno {
                throw IPCError("write", new, error)
            } catch { throw IPCError("write", new, .ioError) }
            guard rename(new, path) == 0 else { throw IPCError("rename", new, Errno(rawValue: errno)) }
        }
    }
#endif
