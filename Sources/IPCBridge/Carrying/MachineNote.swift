#if NATS
    import IPC
    import IPCChannels

    /// Which machine the channels of a root are carried as, in a small file beside them. Under another name, all that is still in them would be
    /// sent once more, and come back as another machine's.
    enum MachineNote {
        /// Notes the machine.
        ///
        /// - Throws: If it was another one.
        static func take(_ configuration: BridgeConfiguration, in root: ChannelRoot) throws(IPCError) {
            let folder = BridgeFolder(in: root)
            let file = configuration.prefix + ".machine"
            if let noted = folder.read(file), !noted.isEmpty, noted != configuration.machine.name {
                throw IPCError(
                    .invalidArgument, "carry", root.path,
                    advice:
                        "its channels were carried as those of the machine \(noted), not \(configuration.machine); go on with that name (\"machine\"), or remove \(folder.path(file)): then what is still in the channels is sent once more"
                )
            }
            try folder.write(configuration.machine.name, to: file)
        }
    }
#endif
