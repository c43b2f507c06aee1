#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import Logging
    import Metrics
    import SystemPackage
    import Synchronization

    /// A bridge with its lock and its connection. One task uses it.
    final class BridgeSession {
        private struct Key: Hashable {
            let channel: ChannelName
            let pattern: ChannelPattern
            let direction: CarrierDirection
        }

        /// A channel of this machine.
        private struct Local {
            /// Of its folder: another one under the same name has another identity.
            let identity: [Int]
            let description: ChannelDescription
            let schema: ChannelSchema
            let incarnation: UInt64
        }

        /// What a carrier has to be like.
        private struct Wanted {
            let rule: ChannelRule
            let incarnation: UInt64
            /// Why there is nothing to be carried; nil if there is.
            let refusal: String?
        }

        /// How often it looks for what has changed: while something does, and after a time without anything. New channels end that wait.
        private static let (interval, quietInterval) = (Duration.milliseconds(200), Duration.seconds(2))
        private static let quietAfter = Duration.seconds(10)
        private static let statusInterval = Duration.seconds(1)
        private static let roundTripInterval = Duration.seconds(10)

        private var configuration: BridgeConfiguration
        private let root: ChannelRoot
        private let logger: Logger
        private let names: ServerNames
        private let connection: NATSConnection
        private let directory: Directory
        private let started = ContinuousClock.now
        private let startTime = time(nil)
        private var carriers: [Key: CarrierTask] = [:]
        /// The figures of carriers that are about to begin anew.
        private var statuses: [Key: CarrierStatus] = [:]
        /// Whether something may have changed that no time stamp tells.
        private let isDirty = Shared(true)
        private let roundTrip = Shared<Duration?>(nil)
        /// What was found at the last look, so that only new channels are opened.
        private var known: [ChannelName: Local] = [:]
        private var seenFigures = -1
        private var seenDirectory = -1
        private var seenRoot: [Int] = []
        private var wasConnected = false
        /// Whether something about the bridge itself has changed since it was published.
        private var isNewHead = true
        private var seenEpoch = 0
        private var seenError = ""
        /// Since when there is no connection, and which reasons of that are logged.
        private var disconnected = (since: ContinuousClock.now, told: Set<String>())
        /// What passes sooner is not logged.
        private static let patience = Duration.seconds(3)
        private var lastChange = ContinuousClock.now
        private var nextStatus = ContinuousClock.now
        private var nextRoundTrip = ContinuousClock.now
        /// What could not be done, so that it is logged once.
        private var told: Set<String> = []

        private final class Shared<Value: Sendable>: Sendable {
            private let content: Mutex<Value>
            init(_ value: Value) { content = Mutex(value) }
            var value: Value {
                get { content.withLock { $0 } }
                set { content.withLock { $0 = newValue } }
            }
            func exchange(_ new: Value) -> Value {
                content.withLock { value in
                    defer { value = new }
                    return value
                }
            }
        }

        init(_ configuration: BridgeConfiguration, in root: ChannelRoot, _ logger: Logger) throws {
            self.configuration = configuration
            self.root = root
            var logger = logger
            logger[metadataKey: "machine"] = "\(configuration.machine)"
            self.logger = logger
            names = ServerNames(prefix: configuration.prefix)
            do throws(BridgeError) {
                connection = try NATSConnection(configuration.servers, name: "ipc-bridge \(configuration.machine)")
            } catch {
                throw IPCError(
                    .invalidArgument, "connect", configuration.servers.servers.joined(separator: ", "),
                    advice: "\(error)")
            }
            connection.followHints(names.subject(.hint, ">"))
            directory = Directory(connection, configuration.machine, names, logger)
        }

        /// Runs until the task is cancelled, or the configuration asks for another connection.
        func run(holding lock: consuming BridgeStatus, _ wanted: () -> BridgeConfiguration) async throws {
            let following = follow()
            var failure: (any Error)?
            var watch: FileWatch?
            while !Task.isCancelled {
                let configuration = wanted()
                guard configuration.isSameSession(as: self.configuration) else { break }
                if configuration != self.configuration {
                    logger.notice("carries by another configuration")
                    self.configuration = configuration
                    isDirty.value = true
                }
                watchConnection()
                do throws(IPCError) {
                    if try hasChanged() {
                        lastChange = .now
                        try await reconcile()
                    }
                    if nextStatus <= .now {
                        nextStatus = .now + Self.statusInterval
                        try publishStatus(&lock)
                    }
                } catch {
                    failure = error
                    break
                }
                await pause(&watch)
            }
            await stop()
            following.cancel()
            await connection.close()
            if let failure { throw failure }
        }

        /// Until the next look: where nothing has changed for a while, when a name in the root does.
        private func pause(_ watch: inout FileWatch?) async {
            guard lastChange + Self.quietAfter < .now else {
                watch = nil
                try? await Task.sleep(for: Self.interval)
                return
            }
            if watch == nil {
                watch = try? FileWatch(FilePath(root.path), for: .names)
                // What came before there was a watch.
                guard !isOtherRoot else { return }
            }
            if watch?.seesEvents == true {
                do {
                    _ = try await watch!.wait(until: .after(Self.quietInterval))
                    return
                } catch { watch = nil }
            }
            try? await Task.sleep(for: Self.interval)
        }

        /// Outgoing carriers first: what they have read is acknowledged or known not to be.
        private func stop() async {
            await CarrierTask.stop(carriers.filter { $0.key.direction == .out }.map(\.value), within: .seconds(3))
            await CarrierTask.stop(Array(carriers.values), within: .seconds(1))
            let late = carriers.filter { !$0.value.isDone }.map { "\($0.key.channel)" }
            if !late.isEmpty {
                logger.error("carriers did not end in time", metadata: ["channels": "\(late.sorted())"])
            }
            carriers = [:]
        }

        /// Follows the directory, also when that fails for a time.
        private func follow() -> Task<Void, Never> {
            let replicas = configuration.rules.map(\.replicas).max() ?? 1
            let (directory, connection, logger) = (directory, connection, logger)
            let history = TopicHistory(names, in: root)
            let hindrance = Hindrance(logger)
            let started = started
            return Task.detached {
                while !Task.isCancelled {
                    do {
                        try await connection.waitUntilConnected()
                        try await hindrance.noting { try await history.begin(connection, since: started) }
                        try await hindrance.noting { try await directory.run(replicas: replicas) }
                    } catch {
                        guard !Task.isCancelled else { return }
                        logger.warning("the directory is followed anew", metadata: ["reason": "\(error)"])
                        try? await Task.sleep(for: .seconds(1))
                    }
                }
            }
        }

        // MARK: The connection

        private func watchConnection() {
            let (isConnected, epoch) = (connection.isConnected, connection.epoch)
            if isConnected, !wasConnected || epoch != seenEpoch {
                logger.notice(
                    "connected", metadata: ["servers": "\(configuration.servers.servers)", "times": "\(epoch)"])
                Counter(label: "ipc_bridge_connections").increment()
                nextRoundTrip = .now
                // What a server refused another one may take.
                isDirty.value = true
            } else if !isConnected, wasConnected {
                logger.warning("connection lost", metadata: ["reason": "\(connection.lastError)"])
                roundTrip.value = nil
                disconnected = (.now, [connection.lastError])
            }
            let error = isConnected ? tellViolations() : connection.lastError
            if !isConnected, disconnected.since + Self.patience <= .now, disconnected.told.insert(error).inserted {
                logger.warning(
                    "not connected; it is tried again",
                    metadata: ["servers": "\(configuration.servers.servers)", "reason": "\(error)"])
            }
            if wasConnected != isConnected || seenEpoch != epoch || seenError != error { isNewHead = true }
            (wasConnected, seenEpoch, seenError) = (isConnected, epoch, error)
            guard isConnected, nextRoundTrip <= .now else { return }
            nextRoundTrip = .now + Self.roundTripInterval
            Task.detached { [connection, roundTrip] in
                guard let time = try? await connection.roundTrip() else { return }
                roundTrip.value = time
                Metrics.Timer(label: "ipc_bridge_round_trip").recordNanoseconds(Int64(time / .nanoseconds(1)))
            }
        }

        /// Logs what the server forbids, each once.
        ///
        /// - Returns: The first of it for the status; empty for nothing.
        private func tellViolations() -> String {
            let violations = connection.violations.map(\.description).sorted()
            for violation in violations where told.insert(violation).inserted {
                logger.error("forbidden by the server", metadata: ["reason": "\(violation)"])
            }
            return violations.first ?? ""
        }

        // MARK: Channels

        /// What tells that names have come to the root, or gone; nothing if it is not there.
        private var rootStamp: [Int] {
            var status = stat()
            guard stat(root.path, &status) == 0 else { return [] }
            return [Int(status.st_ino), status.st_mtim.tv_sec, status.st_mtim.tv_nsec]
        }

        private var isOtherRoot: Bool { rootStamp != seenRoot }

        /// Whether there are other channels, here or elsewhere, than when this was asked last.
        private func hasChanged() throws(IPCError) -> Bool {
            var isNews = isDirty.exchange(false)
            let stamp = rootStamp
            // A change within one tick of the clock has the same time: what is younger is looked at again.
            let isYoung = !stamp.isEmpty && time(nil) - stamp[1] <= 1
            if stamp != seenRoot || isYoung { isNews = true }
            seenRoot = stamp
            let changes = directory.changes
            if changes != seenDirectory { isNews = true }
            seenDirectory = changes
            return isNews
        }

        /// The channels of this machine that a rule names.
        private func look() throws(IPCError) -> [ChannelName: Local] {
            var locals: [ChannelName: Local] = [:]
            for name in try root.names() where configuration.rules.contains(where: { $0.name.matches(name) }) {
                guard !BridgeStatus.isOfBridge(name) else { continue }
                let identity = Self.identity(of: root.folder(name))
                if let local = known[name], local.identity == identity {
                    if configuration.rule(for: name, local.description.pattern) != nil { locals[name] = local }
                    continue
                }
                do throws(IPCError) {
                    let description = try ChannelDescription(name, in: root, countsMessages: false)
                    guard configuration.rule(for: name, description.pattern) != nil else { continue }
                    let channel = try AnyChannel.open(name.description, in: root)
                    locals[name] = Local(
                        identity: identity, description: description, schema: channel.schema,
                        incarnation: try channel.incarnation)
                } catch {
                    // One that was removed meanwhile is no news.
                    if error.code != .notFound, error.code != .removed {
                        tell("a channel cannot be carried", name, error.advice)
                    }
                }
            }
            known = locals
            return locals
        }

        private static func identity(of folder: String) -> [Int] {
            var status = stat()
            guard stat(folder, &status) == 0 else { return [] }
            return [Int(status.st_ino), status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
        }

        private func tell(_ what: String, _ channel: ChannelName, _ reason: String) {
            guard told.insert("\(what) \(channel) \(reason)").inserted else { return }
            logger.error("\(what)", metadata: ["channel": "\(channel)", "reason": "\(reason)"])
        }

        /// Starts and stops carriers, so that they are those that the rules, the channels and the directory ask for.
        private func reconcile() async throws(IPCError) {
            var locals = try look()
            let others = directory.others
            if create(others, locals) { locals = try look() }
            publishEntries(locals)
            var wanted: [Key: Wanted] = [:]
            let byChannel = Dictionary(grouping: others, by: \.channel)
            for (name, local) in locals {
                let pattern = local.description.pattern
                guard let rule = configuration.rule(for: name, pattern) else { continue }
                let elsewhere = byChannel[name] ?? []
                func refusal(_ entry: DirectoryEntry) -> String? {
                    entry.refusal(here: local.description, local.schema, on: configuration.machine)
                }
                func add(_ direction: CarrierDirection, _ refusal: String?) {
                    wanted[Key(channel: name, pattern: pattern, direction: direction)] = Wanted(
                        rule: rule, incarnation: local.incarnation, refusal: refusal)
                }
                let isForEach = Carriers.hasOneForEachMachine(pattern)
                let common = isForEach ? nil : elsewhere.lazy.compactMap(refusal).first
                if rule.direction.isOut { add(.out, common) }
                guard rule.direction.isIn else { continue }
                if !isForEach { add(.in(from: nil), common) }
                // What left this machine comes back when it has free workers.
                if pattern == .workQueue, rule.direction.isOut { add(.in(from: configuration.machine), nil) }
                for entry in elsewhere where isForEach && entry.isOut { add(.in(from: entry.machine), refusal(entry)) }
            }
            await stopOthers(than: wanted)
            // One that refused by itself may find another channel now.
            for (key, wanted) in wanted where carriers[key].map({ $0.isDone && $0.refusal == nil }) ?? true {
                start(key, wanted)
            }
        }

        private func stopOthers(than wanted: [Key: Wanted]) async {
            let ended = carriers.filter { key, carrier in
                guard let wanted = wanted[key] else { return true }
                // Of a channel that was removed and created anew, some would wait for the old one for ever.
                return wanted.rule != carrier.rule || wanted.refusal != carrier.refusal
                    || wanted.incarnation != carrier.incarnation
            }
            guard !ended.isEmpty else { return }
            isNewHead = true
            await CarrierTask.stop(ended.filter { $0.key.direction == .out }.map(\.value), within: .seconds(3))
            await CarrierTask.stop(Array(ended.values), within: .seconds(1))
            for (key, carrier) in ended {
                // Two of them would carry the same twice: its successor begins when it has ended.
                guard carrier.isDone else {
                    logger.warning("a carrier has not ended yet", metadata: ["channel": "\(key.channel)"])
                    continue
                }
                // What it has counted goes on.
                statuses[key] = wanted[key] == nil ? nil : carriers[key]?.status
                carriers[key] = nil
            }
        }

        private func start(_ key: Key, _ wanted: Wanted) {
            let status =
                statuses.removeValue(forKey: key) ?? carriers[key]?.status
                ?? CarrierStatus(key.channel, key.pattern, key.direction)
            // What was refused stays so for whoever looks, until it carries.
            if case .refused = status.figures.state {} else { status.set(.starting) }
            let rule = wanted.rule
            if let refusal = wanted.refusal {
                tell("not carried", key.channel, refusal)
                carriers[key] = CarrierTask(refused: refusal, rule, of: wanted.incarnation, status)
                return
            }
            var logger = logger
            logger[metadataKey: "channel"] = "\(key.channel)"
            switch key.direction {
            case .out: logger[metadataKey: "direction"] = "out"
            case .in(let machine):
                logger[metadataKey: "direction"] = "in"
                if let machine { logger[metadataKey: "from"] = "\(machine)" }
            }
            let context = CarrierContext(
                connection: connection, directory: directory, machine: configuration.machine, rule: rule, root: root,
                name: key.channel, pattern: key.pattern, names: names, status: status, logger: logger)
            guard let carrier = Carriers.make(context, key.direction) else { return }
            carriers[key] = CarrierTask(carrier, rule, of: wanted.incarnation, status, logger) { [isDirty] in
                isDirty.value = true
            }
        }

        /// Creates what other machines have and this one does not.
        ///
        /// - Returns: Whether there was any.
        private func create(_ others: [DirectoryEntry], _ locals: [ChannelName: Local]) -> Bool {
            var hasCreated = false
            for entry in others where locals[entry.channel] == nil {
                guard let rule = configuration.rule(for: entry.channel, entry.pattern), entry.isCarried(here: rule)
                else {
                    continue
                }
                do throws(IPCError) {
                    guard try entry.createChannel(in: root) else {
                        // It is another pattern here, which no rule is for, or somebody has created it meanwhile.
                        let here = try ChannelDescription(entry.channel, in: root, countsMessages: false).pattern
                        guard here != entry.pattern else { continue }
                        tell(
                            "not carried", entry.channel,
                            "it is \(here.withArticle) on \(configuration.machine), and \(entry.pattern.withArticle) on \(entry.machine); rename one"
                        )
                        continue
                    }
                    hasCreated = true
                    logger.info(
                        "channel created as on another machine",
                        metadata: ["channel": "\(entry.channel)", "from": "\(entry.machine)"])
                } catch {
                    tell("a channel of \(entry.machine) cannot be created here", entry.channel, error.advice)
                }
            }
            return hasCreated
        }

        private func publishEntries(_ locals: [ChannelName: Local]) {
            directory.publish(
                locals.compactMap { name, local in
                    configuration.rule(for: name, local.description.pattern).map {
                        DirectoryEntry(local.description, local.schema, of: configuration.machine, $0)
                    }
                })
        }

        // MARK: Status

        private func publishStatus(_ lock: inout BridgeStatus) throws(IPCError) {
            // With a thousand idle channels, their lines would cost more than all else.
            let changes = CarrierStatus.changes.load(ordering: .relaxed)
            guard changes != seenFigures || isNewHead else { return }
            (seenFigures, isNewHead) = (changes, false)
            lastChange = .now
            let head: [(String, JSONValue?)] = [
                ("machine", .string(configuration.machine.name)), ("prefix", .string(configuration.prefix)),
                ("process", .integer(getpid())), ("since", .integer(startTime)),
                ("servers", .array(configuration.servers.servers.map { .string($0) })),
                ("connected", .bool(wasConnected)), ("connections", .integer(seenEpoch)),
                ("lastError", seenError.isEmpty ? nil : .string(seenError)),
            ]
            let volatile: [(String, JSONValue?)] = [
                (
                    "roundTripMicroseconds",
                    roundTrip.value.map { .number("\((($0 / .microseconds(1)) * 10).rounded() / 10)") }
                )
            ]
            let lines = carriers.values.map(\.status).sorted { $0.channel.description < $1.channel.description }.map(
                \.json)
            try lock.publish(head, volatile: volatile, lines)
        }
    }

    extension DirectoryEntry {
        /// Whether a machine with this rule needs the channel, to receive what that machine sends.
        fileprivate func isCarried(here rule: ChannelRule) -> Bool {
            // Calls go out here to servers there.
            pattern == .service ? rule.direction.isOut && isIn : rule.direction.isIn && isOut
        }
    }
#endif
