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
        }
        struct Status {
            var isConnected = false
            /// How many connections there have been.
            var epoch = 0
            var lastError = "no server has answered yet"
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
        ///   blocked as long as the network takes nothing, a second at most.
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
                _ = natsConnection_PublishMsg(lent.connection, message.pointer)
                natsMsg_Destroy(message.pointer)
                giveBack()
            } else if isFirst {
                sem_post(wake)
            }
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
            }
        }

        // MARK: The thread

        private func run() {
            while true {
                if connection == nil && !connect() {
                    // Told to close, or again in a second.
                    var until = timespec()
                    clock_gettime(CLOCK_REALTIME, &until)
                    until.tv_sec += 1
                    sem_timedwait(wake, &until)
                }
                guard let commands = takeCommands() else {
                    if connection != nil { sem_wait(wake) }
                    continue
                }
                var sent = 0
                for command in commands {
                    switch command {
                    case .publish(let message):
                        // What cannot be sent is lost, as on the way: acknowledgements tell.
                        if let connection { _ = natsConnection_PublishMsg(connection, message.pointer) }
                        natsMsg_Destroy(message.pointer)
                        sent += message.bytes
                    case .subscribe(let number): subscribe(number)
                    case .unsubscribe(let number):
                        guard let subscription = subscribed.removeValue(forKey: number) else { continue }
                        natsSubscription_Unsubscribe(subscription)
                        natsSubscription_Destroy(subscription)
                    case .abandoned(let given):
                        guard given == connection else { continue }
                        disconnect()
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

        private func connect() -> Bool {
            if state.withLock({ $0.isClosing }) { return false }
            var made: OpaquePointer?
            let status = natsConnection_Connect(&made, options)
            guard let made, status == NATS_OK || status == NATS_NOT_YET_CONNECTED else {
                natsConnection_Destroy(made)
                let error = describe(status)
                state.withLock { $0.status.lastError = error }
                return false
            }
            connection = made
            lend(made)
            for number in state.withLock({ Array($0.subscriptions.keys) }).sorted() { subscribe(number) }
            if status == NATS_OK { wasConnected(made) }
            return true
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
            let (waiters, closers, commands) = state.withLock { state in
                defer {
                    state.waiters = [:]
                    state.closers = []
                    state.commands = []
                }
                state.status.isConnected = false
                state.status.isClosed = true
                return (state.waiters, state.closers, state.commands)
            }
            for case .publish(let message) in commands { natsMsg_Destroy(message.pointer) }
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
            let error = lastError(connection) ?? "the connection was lost"
            let isClosing = state.withLock { state in
                state.status.isConnected = isConnected
                state.status.lastError = error
                return state.isClosing
            }
            if !isClosing { router.connectionWasLost() }
        }

        private func couldNotConnect(_ connection: OpaquePointer) {
            guard let error = lastError(connection) else { return }
            state.withLock { $0.status.lastError = error }
        }

        private func lastError(_ connection: OpaquePointer) -> String? {
            var text: UnsafePointer<CChar>?
            let status = natsConnection_GetLastError(connection, &text)
            guard status != NATS_OK else { return nil }
            let detail = text.map { String(cString: $0) } ?? ""
            let name = String(cString: natsStatus_GetText(status))
            return detail.isEmpty || detail == name ? name : "\(name) (\(detail))"
        }

        private func setCallbacks(_ closure: UnsafeMutableRawPointer?) {
            natsOptions_SetRetryOnFailedConnect(
                options, true, { ConnectionThread.of($1)?.wasConnected($0!) }, closure)
            natsOptions_SetReconnectedCB(options, { ConnectionThread.of($1)?.wasConnected($0!) }, closure)
            natsOptions_SetDisconnectedCB(options, { ConnectionThread.of($1)?.wasDisconnected($0!) }, closure)
            natsOptions_SetClosedCB(options, { ConnectionThread.of($1)?.enqueue(.abandoned($0!)) }, closure)
            // Its message would be printed otherwise.
            natsOptions_SetErrorHandler(options, { _, _, _, _ in }, closure)
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
