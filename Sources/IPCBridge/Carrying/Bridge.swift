#if NATS
    import IPC
    public import IPCChannels
    public import Logging
    import Synchronization

    /// Carries channels between this machine and others, as a configuration says.
    ///
    /// It may be killed at any instruction. A second bridge of the same machine and prefix in the same root waits until the first one is
    /// dead, and takes over.
    public final class Bridge: Sendable {
        private let root: ChannelRoot
        private let logger: Logger
        private let wanted: Mutex<BridgeConfiguration>
        /// How often it looks whether another bridge is dead, beside being told by the kernel.
        private static let standByInterval = Duration.seconds(1)

        /// - Parameters:
        ///   - configuration: What is carried.
        ///   - root: The folder of channels.
        ///   - logger: For what happens to connections and carriers.
        public init(_ configuration: BridgeConfiguration, in root: ChannelRoot = .current, logger: Logger) {
            self.root = root
            self.logger = logger
            wanted = Mutex(configuration)
        }

        /// Carries by another configuration from now on. Carriers whose rule changed end in order and begin anew; with other servers, all
        /// of them do. What is stored is not lost; what is carried best effort, events too, may be.
        public func change(to configuration: BridgeConfiguration) { wanted.withLock { $0 = configuration } }

        /// Runs until the task is cancelled. Then it stops its carriers, outgoing ones first, within 5 seconds.
        ///
        /// - Throws: ``/IPC/IPCError`` if the root cannot be used, or the configuration of the servers.
        public func run() async throws {
            var last: BridgeConfiguration?
            while !Task.isCancelled {
                let configuration = wanted.withLock { $0 }
                guard let lock = try await waitForLock(configuration) else { continue }
                guard let session = try makeSession(configuration, otherwise: last) else { continue }
                last = configuration
                try await session.run(holding: lock) { self.wanted.withLock { $0 } }
            }
        }

        /// - Parameter last: What is carried by again if the configuration's connection cannot be made, or its machine is another one than this
        ///   root's; nil to fail then.
        /// - Returns: Nil if it is to be carried by `last`.
        private func makeSession(
            _ configuration: BridgeConfiguration, otherwise last: BridgeConfiguration?
        ) throws -> BridgeSession? {
            do {
                try MachineNote.take(configuration, in: root)
                return try BridgeSession(configuration, in: root, logger)
            } catch {
                guard let last, last != configuration else { throw error }
                logger.error("the configuration stays as it was", metadata: ["reason": "\(error)"])
                wanted.withLock { if $0 == configuration { $0 = last } }
                return nil
            }
        }

        /// Waits until no other bridge of this machine runs. Nil when cancelled, or when the configuration changed.
        private func waitForLock(_ configuration: BridgeConfiguration) async throws -> BridgeStatus? {
            var told: Int32?
            while !Task.isCancelled, wanted.withLock({ $0 }).isSameBridge(as: configuration) {
                if let lock = try BridgeStatus.tryTake(configuration, in: root) {
                    if told != nil { logger.notice("takes over", metadata: ["machine": "\(configuration.machine)"]) }
                    return lock
                }
                guard let holder = BridgeStatus.holder(configuration, in: root) else {
                    // It has just begun, or just ended.
                    try? await Task.sleep(for: .milliseconds(10))
                    continue
                }
                if told != holder {
                    logger.notice(
                        "another bridge of this machine runs; this one waits as a stand-by",
                        metadata: [
                            "machine": "\(configuration.machine)", "process": "\(holder)", "root": "\(root.path)",
                        ])
                    told = holder
                }
                // The process may be one of another pid namespace: then time passes.
                do throws(IPCError) {
                    try await ProcessHandle(holder).waitForExit(until: .after(Self.standByInterval))
                } catch  where error.code == .timedOut {
                    continue
                } catch { try? await Task.sleep(for: .milliseconds(100)) }
            }
            return nil
        }
    }

    extension BridgeConfiguration {
        /// Whether the lock is the same.
        func isSameBridge(as other: BridgeConfiguration) -> Bool { machine == other.machine && prefix == other.prefix }

        /// Whether the connection is the same.
        func isSameSession(as other: BridgeConfiguration) -> Bool {
            isSameBridge(as: other) && servers == other.servers
        }
    }
#endif
