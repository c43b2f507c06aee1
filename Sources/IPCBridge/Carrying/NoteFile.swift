#if NATS
    import IPC
    import IPCChannels
    import SystemPackage

    /// Some numbers in a small file beside the channels: what a carrier notes as it goes. It outlives the bridge's process, and is
    /// lost with the channels' memory.
    struct NoteFile: Sendable {
        private let mapping: MemoryMapping

        /// - Parameters:
        ///   - name: One that no other carrier of this root has.
        ///   - count: How many numbers there are, all 0 in a new file.
        ///   - root: Its folder `.bridge` has the file.
        init(_ name: String, count: Int = 8, in root: ChannelRoot) throws(IPCError) {
            let folder = BridgeFolder(in: root)
            try folder.make()
            mapping = try MappedFile.openOrCreate(FilePath(folder.path(name)), byteCount: count * 8).map()
        }

        /// Each is loaded and stored by itself.
        subscript(index: Int) -> UInt64 {
            get { mapping.load(at: index * 8) }
            nonmutating set { mapping.store(newValue, at: index * 8) }
        }
    }
#endif
