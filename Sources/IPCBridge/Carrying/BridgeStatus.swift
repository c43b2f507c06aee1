#if NATS
    import IPC
    import IPCChannels

    /// The lock of a bridge, and what it says about itself: a latest value of one writer, `bridge/PREFIX/MACHINE/status`.
    ///
    /// Who writes it is the bridge of this machine and prefix in this root; a second one waits until it is dead, as the kernel tells. The
    /// value is JSON, for `ipc bridge status`, `ipc top` and `ipc serve-ui`. It is removed with the bridge.
    struct BridgeStatus: ~Copyable {
        let channel: AnyChannel
        private var writer: ChannelWriter
        private var shown: String?

        /// Half of the log: what one value may take. Some 250 bytes are one carrier.
        private static let capacity = 4 << 20

        /// Whether this is a channel of a bridge, which is never carried.
        static func isOfBridge(_ name: ChannelName) -> Bool { name.description.hasPrefix("bridge/") }

        /// Whether this is the channel of a bridge's status.
        static func isStatus(_ name: ChannelName) -> Bool {
            isOfBridge(name) && name.description.hasSuffix("/status")
        }

        static func name(_ configuration: BridgeConfiguration) -> String {
            "bridge/\(configuration.prefix)/\(configuration.machine)/status"
        }

        /// Takes the lock; nil while another bridge has it.
        static func tryTake(_ configuration: BridgeConfiguration, in root: ChannelRoot) throws(IPCError)
            -> BridgeStatus?
        {
            let channel = try AnyChannel.openOrCreate(
                .latest, name(configuration), in: root, ChannelOptions(writers: .exclusive),
                defaults: ChannelOptions(capacity: capacity))
            do throws(IPCError) {
                return BridgeStatus(channel: channel, writer: try channel.makeWriter())
            } catch  where error.code == .addressInUse || error.code == .removed {
                return nil
            }
        }

        private init(channel: AnyChannel, writer: consuming ChannelWriter) {
            self.channel = channel
            self.writer = writer
        }

        /// The process that has the lock; nil if none has it.
        static func holder(_ configuration: BridgeConfiguration, in root: ChannelRoot) -> Int32? {
            guard let name = try? ChannelName(name(configuration)),
                let description = try? ChannelDescription(name, in: root, countsMessages: false)
            else { return nil }
            return description.participants.first { $0.role == .writer && $0.isAlive }?.process
        }

        /// Publishes what is new since the last time.
        ///
        /// - Parameters:
        ///   - head: What is said about the bridge.
        ///   - volatile: What is said along with it, but not news in itself.
        ///   - carriers: One for each carrier. Those for which there is no room are left out, and counted.
        mutating func publish(
            _ head: [(String, JSONValue?)], volatile: [(String, JSONValue?)], _ carriers: [JSONValue]
        ) throws(IPCError) {
            var lines: [JSONValue] = []
            var size = 0
            for carrier in carriers {
                size += carrier.text.utf8.count + 1
                guard size < Self.capacity / 2 - 65_536 else { break }
                lines.append(carrier)
            }
            let rest: [(String, JSONValue?)] = [
                ("carriers", .array(lines)),
                ("leftOut", lines.count < carriers.count ? .integer(carriers.count - lines.count) : nil),
            ]
            let news = JSONValue.members(head + rest).text
            guard news != shown else { return }
            shown = news
            let bytes = Array(JSONValue.members(head + volatile + rest).text.utf8)
            try writer.write(bytes.span.bytes, until: .immediate)
        }
    }
#endif
