#if NATS
    import CNATS
    import Glibc
    import Synchronization

    /// The thread that makes all calls of the library that may block: connecting, publishing when the network is full, subscribing.
    /// It lives until it is told to close, and makes a new connection should the library give one up.
    final class ConnectionThread: @unchecked Sendable {
        struct Subscription {
            let subject: String
            let queue: String?
            let deliver: @Sendable (NATSMessage) -> Void
            /// The server forbids it.
            var refuse: @Sendable (BridgeError) -> Void = { _ in }
        }
        struct Status {
            var isConnected = false
            /// How many connections there have been.
            var epoch = 0
            var lastError = "no server has answered yet"
            /// What the server has forbidden on this connection, and when it said so last.
            var violations: [Violation: ContinuousClock.Instant] = [:]
            var maximumPayload = 1 << 20
            var isClosed = false
        }
        /// A message of the library's on its way to it: it has one owner.
        struct Outgoing: @unchecked Sendable {
            let pointer: OpaquePointer
            /// With its headers.
            let bytes: Int
        }
        private enum Command: @unchecked Sendable {
            case publish(Outgoing)
            case subscribe(Int)
            case unsubscribe(Int)
            /// The library has given this connection up.
            case abandoned(OpaquePointer)
            case close
        }
        private struct State {
            var status = Status()
            var commands: [Command] = []
            var queuedBytes = 0
            /// Whether the thread is about commands that it took.
            var isSending = false
            /// Whether the thread waits for servers to answer, for 2 s each.
            var isConnecting = false
            /// The connection, for threads that publish by themselves.
            var lendable: Lent?
            /// Whether one of them does. Meanwhile the thread takes no commands.
            var isLent = false
            var subscriptions: [Int: Subscription] = [:]
            var issued = 0
            var isClosing = false
            var waiters: [Int: CheckedContinuation<Result<Void, BridgeError>, Never>] = [:]
            var closers: [CheckedContinuation<Void, Never>] = []

            func fault(of message: Outgoing) -> BridgeError? {
                if isClosing { return .closed }
                guard status.isConnected else { return .notConnected(status.lastError) }
                guard message.bytes <= status.maximumPayload else {
                    return .tooLarge(bytes: message.bytes, limit: status.maximumPayload)
                }
                return queuedBytes + message.bytes <= maximumQueued ? nil : .congested(bytes: queuedBytes)
            }
        }
        private let state = Mutex(State())
        private let router: Router
        private let options: OpaquePointer
        private struct Lent: @unchecked Sendable { let connection: OpaquePointer }
        private let wake = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
        // Of the thread alone.
        private var connection: OpaquePointer?
        private var subscribed: [Int: OpaquePointer] = [:]
        /// When the next connection may be made.
        private var nextAttempt = ContinuousClock.now
        /// The pauses after connections that failed, such as one that the server refuses for its password.
        private var backoff = Backoff(from: .milliseconds(50), to: .seconds(2), goodTime: .seconds(5))
        /// When this connection was begun, and how many there had been.
        private var begun = (time: ContinuousClock.now, epoch: 0)

        /// Whoever is not there may come at any time; whoever refuses will hardly change.
        private static let longestPauseForAbsent = Duration.milliseconds(200)

        init(options: OpaquePointer, router: Router) {
            self.options = options
            self.router = router
            sem_init(wake, 0, 0)
        }

        deinit {
            natsOptions_Destroy(options)
            sem_destroy(wake)
            wake.deallocate()
        }

        func start() throws(BridgeError) {
            let number = ConnectionThread.registry.withLock { registry in
                registry.issued += 1
                registry.threads[registry.issued] = self
                return registry.issued
            }
            setCallbacks(UnsafeMutableRawPointer(bitPattern: number))
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { argument in
                    Unmanaged<ConnectionThread>.fromOpaque(argument!).takeRetainedValue().run()
                    nats_ReleaseThreadMemory()
                    return nil
                }, Unmanaged.passRetained(self).toOpaque())
            guard status == 0 else {
                Unmanaged.passUnretained(self).release()
                ConnectionThread.registry.withLock { _ = $0.threads.removeValue(forKey: number) }
                throw .configuration("A thread cannot be started: \(String(cString: strerror(status))).")
            }
            pthread_detach(thread)
            self.number = number
        }

        private var number = 0

        var status: Status { state.withLock { $0.status } }

        var maximumPayload: Int { state.withLock { $0.status.maximumPayload } }

        var queuedBytes: Int { state.withLock { $0.queuedBytes } }

        private func enqueue(_ command: Command) {
            let isFirst = state.withLock { state in
                switch command {
                case .unsubscribe(let number): state.subscriptions[number] = nil
                case .close: state.isClosing = true
                default: break
                }
                state.commands.append(command)
                return state.commands.count == 1
            }
            if isFirst { sem_post(wake) }
        }

        // MARK: Calls from any thread

        /// How much may wait to be sent.
        static let maximumQueued = 256 << 20

        /// Takes the library's message over.
        ///
        /// - Parameter mayBlock: Whether the caller's thread may send it, where nothing is before it: sooner than this thread would, and
        ///   blocked while the network takes nothing, a second at most, or, right after a loss, while the library connects again.
        func publish(_ message: Outgoing, mayBlock: Bool = false) throws(BridgeError) {
            let (fault, isFirst, lent) = state.withLock { state -> (BridgeError?, Bool, Lent?) in
                if let fault = state.fault(of: message) { return (fault, false, nil) }
                if mayBlock, !state.isLent, !state.isSending, state.commands.isEmpty, let lendable = state.lendable {
                    state.isLent = true
                    return (nil, false, lendable)
                }
                state.queuedBytes += message.bytes
                state.commands.append(.publish(message))
                return (nil, state.commands.count == 1, nil)
            }
            if let fault {
                natsMsg_Destroy(message.pointer)
                throw fault
            }
            if let lent {
                let limit = send(message, by: lent.connection)
                giveBack()
                if let limit { throw .tooLarge(bytes: message.bytes, limit: limit) }
            } else if isFirst {
                sem_post(wake)
            }
        }

        /// Hands a message to the library. What cannot be sent is lost, as on the way: acknowledgements tell.
        ///
        /// - Returns: If it is too large, what the server takes by now.
        private func send(_ message: Outgoing, by connection: OpaquePointer) -> Int? {
            let status = natsConnection_PublishMsg(connection, message.pointer)
            SpentMessages.give(message.pointer, message.bytes)
            guard status == NATS_MAX_PAYLOAD else { return nil }
            let limit = Int(natsConnection_GetMaxPayload(connection))
            state.withLock { $0.status.maximumPayload = limit }
            return limit
        }

        private func giveBack() {
            let isMissed = state.withLock { state in
                state.isLent = false
                return !state.commands.isEmpty
            }
            if isMissed { sem_post(wake) }
        }

        func subscribe(_ subscription: Subscription) -> Int {
            let number = state.withLock { state in
                state.issued += 1
                state.subscriptions[state.issued] = subscription
                return state.issued
            }
            enqueue(.subscribe(number))
            return number
        }

        func unsubscribe(_ number: Int) {
            enqueue(.unsubscribe(number))
        }

        func waitUntilConnected() async throws(BridgeError) {
            let number = state.withLock { state in
                state.issued += 1
                return state.issued
            }
            let result = await withTaskCancellationHandler {
                await withCheckedContinuation { (continuation: CheckedContinuation<Result<Void, BridgeError>, Never>) in
                    let result = state.withLock { state -> Result<Void, BridgeError>? in
                        if state.isClosing { return .failure(.closed) }
                        if state.status.isConnected { return .success(()) }
                        if Task.isCancelled { return .failure(.cancelled) }
                        state.waiters[number] = continuation
                        return nil
                    }
                    if let result { continuation.resume(returning: result) }
                }
            } onCancel: {
                state.withLock { $0.waiters.removeValue(forKey: number) }?.resume(returning: .failure(.cancelled))
            }
            try result.get()
        }

        /// Begins to close; what was published before is sent first.
        func beginClosing() { enqueue(.close) }

        func close() async {
            await withCheckedContinuation { continuation in
                let isClosed = state.withLock { state in
                    if !state.status.isClosed { state.closers.append(continuation) }
                    return state.status.isClosed
                }
                if isClosed { continuation.resume() } else { beginClosing() }
                // There is nothing to be sent yet, and the thread finds the command later.
                if state.withLock({ $0.isConnecting }) { tellEnd() }
            }
        }

        // MARK: The thread

        private func run() {
            while true {
                if connection == nil, nextAttempt <= .now { connect() }
                guard let commands = takeCommands() else {
                    if connection == nil { sleep(until: nextAttempt) } else { sem_wait(wake) }
                    continue
                }
                var sent = 0
                for command in commands {
                    switch command {
                    case .publish(let message):
                        if let connection {
                            _ = send(message, by: connection)
                        } else {
                            SpentMessages.give(message.pointer, message.bytes)
                        }
                        sent += message.bytes
                    case .subscribe(let number): subscribe(number)
                    case .unsubscribe(let number):
                        guard let subscription = subscribed.removeValue(forKey: number) else { continue }
                        natsSubscription_Unsubscribe(subscription)
                        natsSubscription_Destroy(subscription)
                    case .abandoned(let given):
                        guard given == connection else { continue }
                        disconnect()
                        waitBeforeNext()
                    case .close:
                        disconnect()
                        end()
                        return
                    }
                }
                let done = sent
                if done > 0 { state.withLock { $0.queuedBytes -= done } }
            }
        }

        /// Nil if there are none, or if another thread has the connection: it wakes this one when it is done.
        private func takeCommands() -> [Command]? {
            state.withLock { state in
                state.isSending = !state.isLent && !state.commands.isEmpty
                guard state.isSending else { return nil }
                let commands = state.commands
                state.commands.removeAll(keepingCapacity: true)
                return commands
            }
        }

        /// Sleeps until a time, or until there is a command.
        private func sleep(until time: ContinuousClock.Instant) {
            let nanoseconds = max((time - .now).nanoseconds, 0)
            var until = timespec()
            clock_gettime(CLOCK_MONOTONIC, &until)
            until.tv_sec += Int(nanoseconds / 1_000_000_000)
            until.tv_nsec += Int(nanoseconds % 1_000_000_000)
            if until.tv_nsec >= 1_000_000_000 {
                (until.tv_sec, until.tv_nsec) = (until.tv_sec + 1, until.tv_nsec - 1_000_000_000)
            }
            sem_clockwait(wake, CLOCK_MONOTONIC, &until)
        }

        /// After a connection that failed or was given up: spread, so that many bridges do not come back together.
        private func waitBeforeNext(at most: Duration? = nil) {
            let wasConnected = state.withLock { $0.status.epoch } > begun.epoch
            let pause = backoff.next(after: wasConnected ? .now - begun.time : .zero)
            nextAttempt = .now + min(pause, most ?? pause) * Double.random(in: 0.75...1.25)
        }

        private func connect() {
            let epoch = state.withLock { state in
                state.isConnecting = !state.isClosing
                return state.isClosing ? nil : state.status.epoch
            }
            guard let epoch else { return }
            begun = (.now, epoch)
            var made: OpaquePointer?
            let status = natsConnection_Connect(&made, options)
            state.withLock { $0.isConnecting = false }
            guard let made, status == NATS_OK else {
                natsConnection_Destroy(made)
                let error =
                    status == NATS_NO_SERVER ? "no server listens there, or its name is not known" : describe(status)
                state.withLock { $0.status.lastError = error }
                let isAbsent = [NATS_NO_SERVER, NATS_TIMEOUT, NATS_IO_ERROR].contains(status)
                return waitBeforeNext(at: isAbsent ? Self.longestPauseForAbsent : nil)
            }
            state.withLock { $0.status.violations = [:] }
            connection = made
            lend(made)
            for number in state.withLock({ Array($0.subscriptions.keys) }).sorted() { subscribe(number) }
            wasConnected(made)
        }

        private func subscribe(_ number: Int) {
            guard let connection, subscribed[number] == nil,
                let subscription = state.withLock({ $0.subscriptions[number] })
            else { return }
            let closure = Unmanaged.passRetained(Deliverer(subscription.deliver)).toOpaque()
            let callback: natsMsgHandler = { _, _, message, closure in
                let deliverer = Unmanaged<Deliverer>.fromOpaque(closure!).takeUnretainedValue()
                let message = NATSMessage(owning: message!)
                guard message.count <= DeliveryExecutor.mostBytes else { return deliverer.deliver(message) }
                DeliveryExecutor.lendThread { deliverer.deliver(message) }
            }
            var made: OpaquePointer?
            let status =
                if let queue = subscription.queue {
                    natsConnection_QueueSubscribe(&made, connection, subscription.subject, queue, callback, closure)
                } else {
                    natsConnection_Subscribe(&made, connection, subscription.subject, callback, closure)
                }
            guard status == NATS_OK, let made else {
                Unmanaged<Deliverer>.fromOpaque(closure).release()
                // What closed the connection has told its reason, and the next one is subscribed again.
                guard status != NATS_CONNECTION_CLOSED else { return }
                let error = "\(subscription.subject) cannot be subscribed to: \(describe(status))"
                state.withLock { $0.status.lastError = error }
                return
            }
            // The last call of the callback may come after the subscription has ended.
            natsSubscription_SetOnCompleteCB(made, { Unmanaged<Deliverer>.fromOpaque($0!).release() }, closure)
            natsSubscription_SetPendingLimits(made, -1, -1)
            subscribed[number] = made
        }

        private func lend(_ connection: OpaquePointer?) {
            let lent = connection.map { Lent(connection: $0) }
            state.withLock { $0.lendable = lent }
        }

        private func disconnect() {
            for subscription in subscribed.values {
                natsSubscription_Unsubscribe(subscription)
                natsSubscription_Destroy(subscription)
            }
            subscribed = [:]
            lend(nil)
            if let connection { natsConnection_Destroy(connection) }
            connection = nil
        }

        private func end() {
            let number = number
            ConnectionThread.registry.withLock { _ = $0.threads.removeValue(forKey: number) }
            let commands = state.withLock { state in
                defer { state.commands = [] }
                return state.commands
            }
            for case .publish(let message) in commands { natsMsg_Destroy(message.pointer) }
            tellEnd()
        }

        /// Tells all that wait here that the connection is closed. From any thread, perhaps twice.
        private func tellEnd() {
            let (waiters, closers) = state.withLock { state in
                defer { (state.waiters, state.closers) = ([:], []) }
                state.status.isConnected = false
                state.status.isClosed = true
                return (state.waiters, state.closers)
            }
            for waiter in waiters.values { waiter.resume(returning: .failure(.closed)) }
            router.connectionWasClosed()
            for closer in closers { closer.resume() }
        }

        // MARK: Callbacks of the library, on its threads

        private func wasConnected(_ connection: OpaquePointer) {
            let payload = Int(natsConnection_GetMaxPayload(connection))
            let isConnected = natsConnection_Status(connection) == NATS_CONN_STATUS_CONNECTED
            let waiters = state.withLock { state in
                state.status.epoch += 1
                state.status.isConnected = isConnected
                if payload > 0 { state.status.maximumPayload = payload }
                defer { state.waiters = [:] }
                return state.waiters.values
            }
            for waiter in waiters { waiter.resume(returning: .success(())) }
        }

        private func wasDisconnected(_ connection: OpaquePointer) {
            let isConnected = natsConnection_Status(connection) == NATS_CONN_STATUS_CONNECTED
            let error = lastError(connection)
            let isClosing = state.withLock { state in
                // One that was never connected ends with what was said before.
                if let error = error ?? (state.status.isConnected ? "the connection was lost" : nil) {
                    state.status.lastError = error
                }
                state.status.isConnected = isConnected
                state.status.violations = [:]
                return state.isClosing
            }
            if !isClosing { router.connectionWasLost() }
        }

        private func couldNotConnect(_ connection: OpaquePointer) {
            // Each attempt clears the error of the connection, and leaves the one of this thread of the library.
            guard let error = lastError(connection) ?? lastErrorOfThread() else { return }
            state.withLock { $0.status.lastError = error }
        }

        private func wasGivenUp(_ connection: OpaquePointer) {
            if let error = lastError(connection) { state.withLock { $0.status.lastError = error } }
            enqueue(.abandoned(connection))
        }

        private func hasFailed(_ status: natsStatus) {
            var last = NATS_OK
            guard let text = nats_GetLastError(&last), last == status else { return }
            if status == NATS_CONNECTION_AUTH_FAILED {
                let error = describe(status)
                return state.withLock { $0.status.lastError = error }
            }
            guard status == NATS_NOT_PERMITTED, let violation = Violation(String(cString: text)) else { return }
            let subscriptions = state.withLock { state in
                if state.status.violations[violation] != nil || state.status.violations.count < Self.mostViolations {
                    state.status.violations[violation] = .now
                }
                guard violation.action == .subscribe else { return [Subscription]() }
                return state.subscriptions.values.filter { Violation(.subscribe, $0.subject) == violation }
            }
            for subscription in subscriptions { subscription.refuse(.forbidden(violation.description)) }
        }

        private static let mostViolations = 256

        private func lastErrorOfThread() -> String? {
            var status = NATS_OK
            let text = nats_GetLastError(&status)
            return Self.saysWhy(status) ? Self.text(status, text) : nil
        }

        private func lastError(_ connection: OpaquePointer) -> String? {
            var text: UnsafePointer<CChar>?
            let status = natsConnection_GetLastError(connection, &text)
            return Self.saysWhy(status) ? Self.text(status, text) : nil
        }

        /// The others only say that there is no connection.
        private static func saysWhy(_ status: natsStatus) -> Bool {
            status != NATS_OK && status != NATS_CONNECTION_CLOSED && status != NATS_NO_SERVER
        }

        private static func text(_ status: natsStatus, _ text: UnsafePointer<CChar>?) -> String {
            return describe(status, detail: text.map { String(cString: $0) } ?? "")
        }

        private func setCallbacks(_ closure: UnsafeMutableRawPointer?) {
            // The first connection is made by this thread, which learns then why it fails.
            natsOptions_SetReconnectedCB(options, { ConnectionThread.of($1)?.wasConnected($0!) }, closure)
            natsOptions_SetDisconnectedCB(options, { ConnectionThread.of($1)?.wasDisconnected($0!) }, closure)
            natsOptions_SetClosedCB(options, { ConnectionThread.of($1)?.wasGivenUp($0!) }, closure)
            // Without one, errors are printed.
            natsOptions_SetErrorHandler(options, { ConnectionThread.of($3)?.hasFailed($2) }, closure)
            // After each round of all servers: spread, so that many bridges do not come back together.
            natsOptions_SetCustomReconnectDelay(
                options,
                { connection, _, closure in
                    ConnectionThread.of(closure)?.couldNotConnect(connection!)
                    return Int64.random(in: 50...250)
                }, closure)
        }

        /// The living threads, by the number that callbacks are given: one that comes late finds nothing.
        private static let registry = Mutex((issued: 0, threads: [Int: ConnectionThread]()))

        private static func of(_ closure: UnsafeMutableRawPointer?) -> ConnectionThread? {
            registry.withLock { $0.threads[Int(bitPattern: closure)] }
        }
    }

    private final class Deliverer: Sendable {
        let deliver: @Sendable (NATSMessage) -> Void

        init(_ deliver: @escaping @Sendable (NATSMessage) -> Void) { self.deliver = deliver }
    }
#endif
