#if NATS
    import IPC
    import IPCChannels
    import Logging
    import Synchronization

    /// What channels the machines have: a bucket on the server, followed from now on. Safe from several threads.
    ///
    /// Entries stay when a channel or its bridge goes: what is stored of it can still be read.
    final class Directory: Sendable {
        private struct State {
            /// What the server has, by key.
            var entries: [String: DirectoryEntry] = [:]
            /// What it has of this machine, as it is written.
            var published: [String: String] = [:]
            var wanted: [String: String] = [:]
            var changes = 0
            var isComplete = false
            /// The keys that were told since the bucket is followed; nil once all that it had were.
            var told: Set<String>?
            /// The revision at which the server told of an entry of this machine last.
            var revisions: [String: UInt64] = [:]
            var waiter: CheckedContinuation<Void, Never>?

            var unpublished: [String: String] {
                told == nil ? wanted.filter { published[$0.key] != $0.value } : [:]
            }
        }

        let connection: NATSConnection
        private let machine: Machine
        let names: ServerNames
        private let logger: Logger
        private let state = Mutex(State())

        init(_ connection: NATSConnection, _ machine: Machine, _ names: ServerNames, _ logger: Logger) {
            self.connection = connection
            self.machine = machine
            self.names = names
            self.logger = logger
        }

        /// Counts what changed: for somebody who looks now and then.
        var changes: Int { state.withLock { $0.changes } }

        /// Whether all that the server had is here.
        var isComplete: Bool { state.withLock { $0.isComplete } }

        /// What the other machines have.
        var others: [DirectoryEntry] {
            state.withLock { state in state.entries.values.filter { $0.machine != machine } }
        }

        /// What the other machines have under a name.
        func others(_ channel: ChannelName) -> [DirectoryEntry] { others.filter { $0.channel == channel } }

        /// Says what this machine has. It is published when there is a connection.
        func publish(_ entries: [DirectoryEntry]) {
            let wanted = Dictionary(
                entries.map { (names.directoryKey($0.pattern, $0.machine, $0.channel), $0.json) },
                uniquingKeysWith: { $1 })
            state.withLock { state in
                guard state.wanted != wanted else { return }
                state.wanted = wanted
                state.waiter?.resume()
                state.waiter = nil
            }
        }

        /// The bucket is followed from its beginning: it may be another one than before, which lacks what this machine has published.
        func beginAnew() { state.withLock { ($0.told, $0.published, $0.revisions) = ([], [:], [:]) } }

        /// What the server has of an entry now; nil for nothing.
        func set(_ key: String, _ json: String?, revision: UInt64) {
            var entry: DirectoryEntry?
            if let json {
                do throws(EntryError) { entry = try DirectoryEntry(key: key, json: json, names) } catch {
                    logger.warning(
                        "entry of the directory ignored", metadata: ["key": "\(key)", "reason": "\(error.reason)"])
                }
            }
            state.withLock { state in
                state.told?.insert(key)
                if state.entries[key] != entry {
                    state.entries[key] = entry
                    state.changes += 1
                }
                guard entry.map({ $0.machine == machine }) ?? (state.published[key] != nil) else { return }
                state.published[key] = json
                state.revisions[key] = revision
                state.waiter?.resume()
                state.waiter = nil
            }
        }

        /// What the server does not have of this machine yet, by key: nothing until it has told what it has.
        var unpublished: [String: String] { state.withLock { $0.unpublished } }

        /// What was published is there, unless the server has told of something later meanwhile, which a stranger put there.
        func setPublished(_ key: String, _ json: String, revision: UInt64) {
            state.withLock { state in
                if revision > state.revisions[key] ?? 0 { state.published[key] = json }
            }
        }

        /// It cannot be published on this server.
        func giveUp(_ key: String, _ json: String, _ reason: String) {
            state.withLock { $0.published[key] = json }
            logger.error(
                "a channel cannot be told to other machines", metadata: ["key": "\(key)", "reason": "\(reason)"])
        }

        /// All that the bucket had was told. What else was known of another one is gone.
        func setComplete() {
            state.withLock { state in
                if let told = state.told { state.entries = state.entries.filter { told.contains($0.key) } }
                (state.told, state.isComplete, state.changes) = (nil, true, state.changes + 1)
                state.waiter?.resume()
                state.waiter = nil
            }
        }

        /// Waits until there is something unpublished, or the task is cancelled.
        func waitForUnpublished() async {
            await withTaskCancellationHandler {
                await withCheckedContinuation { continuation in
                    let isThere = state.withLock { state in
                        if Task.isCancelled || !state.unpublished.isEmpty { return true }
                        state.waiter = continuation
                        return false
                    }
                    if isThere { continuation.resume() }
                }
            } onCancel: {
                state.withLock { state in
                    state.waiter?.resume()
                    state.waiter = nil
                }
            }
        }
    }
#endif
