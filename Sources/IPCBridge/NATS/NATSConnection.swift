#if NATS
    import CNATS
    import Synchronization

    /// A connection to a NATS server or cluster, made in the background and again whenever it is lost.
    ///
    /// None of its calls blocks a thread unless it is told that it may; all may be made from any thread or task. It ends with `close()`, or when it is forgotten.
    final class NATSConnection: Sendable {
        let router = Router()
        let timers = Timers()
        private let thread: ConnectionThread

        /// Begins to connect.
        /// - Throws: `.configuration` if a file or an address cannot be used. What the server refuses is told by `lastError`.
        init(_ servers: ServerConfiguration, name: String) throws(BridgeError) {
            let options = try servers.makeOptions(name: name)
            thread = ConnectionThread(options: options, router: router)
            _ = thread.subscribe(
                .init(subject: "\(router.prefix)>", queue: nil, deliver: { [router] in router.deliver($0) }))
            for kind in ["STREAM", "CONSUMER"] {
                _ = thread.subscribe(
                    .init(
                        subject: "$JS.EVENT.ADVISORY.\(kind).LEADER_ELECTED.>", queue: nil,
                        deliver: { [router] in router.advise($0) }))
            }
            try thread.start()
        }

        deinit { thread.beginClosing() }

        var isConnected: Bool { thread.status.isConnected }

        /// How many times a connection was made.
        var epoch: Int { thread.status.epoch }

        /// What was said last when a connection failed.
        var lastError: String { thread.status.lastError }

        /// What the server has forbidden on this connection.
        var violations: [Violation] { Array(thread.status.violations.keys) }

        /// What the server has forbidden since a time, if it is to publish to this subject.
        func violation(publishingTo subject: String, since time: ContinuousClock.Instant) -> Violation? {
            let violation = Violation(.publish, subject)
            guard let said = thread.status.violations[violation], said >= time else { return nil }
            return violation
        }

        /// The largest message that the server takes, headers included, in bytes.
        var maximumPayload: Int { thread.maximumPayload }

        /// What was published and is not yet with the system, in bytes: grows when the network is slower than we are.
        var queuedBytes: Int { thread.queuedBytes }

        /// Waits for a connection, at once if there is one.
        /// - Throws: `.cancelled`, `.closed`.
        func waitUntilConnected() async throws(BridgeError) { try await thread.waitUntilConnected() }

        /// As `waitUntilConnected()`, for a limited time.
        /// - Throws: `.notConnected` with the library's reason when the time is over.
        func waitUntilConnected(for time: Duration) async throws(BridgeError) {
            if isConnected { return }
            let deadline = ContinuousClock.now + time
            let thread = thread
            let isConnected: Result<Bool, BridgeError> = await withTaskGroup { group in
                group.addTask { () -> Result<Bool, BridgeError> in
                    do throws(BridgeError) {
                        try await thread.waitUntilConnected()
                        return .success(true)
                    } catch {
                        return .failure(error)
                    }
                }
                group.addTask {
                    do { try await Task.sleep(until: deadline, clock: .continuous) } catch {
                        return .failure(.cancelled)
                    }
                    return .success(false)
                }
                let first = await group.next()!
                group.cancelAll()
                return first
            }
            guard try isConnected.get() else { throw .notConnected(lastError) }
        }

        /// Sends a message: it is on its way when the library's thread has taken it, and nothing tells whether it arrives.
        /// - Throws: `.notConnected`, `.tooLarge`, `.congested`, `.closed`.
        func publish(
            _ subject: String, reply: String? = nil, headers: [(String, String)] = [], _ bytes: [UInt8]
        ) throws(BridgeError) {
            try publish(subject, reply: reply, headers: headers, copying: bytes.span.bytes)
        }

        /// As `publish` of an array; the bytes are copied once, into the library's message.
        ///
        /// - Parameter mayBlock: Whether this thread may send it, which saves the wake-up of another one: as that of
        ///   ``ConnectionThread/publish(_:mayBlock:)``.
        func publish(
            _ subject: String, reply: String? = nil, headers: [(String, String)] = [],
            copying body: RawSpan, mayBlock: Bool = false
        ) throws(BridgeError) {
            var made: OpaquePointer?
            let status = body.withUnsafeBytes { bytes in
                natsMsg_Create(
                    &made, subject, reply, bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
                    CInt(clamping: bytes.count))
            }
            guard status == NATS_OK, let message = made else {
                throw .configuration("A message to \(subject) cannot be made: \(describe(status)).")
            }
            var size = body.byteCount
            for (name, value) in headers {
                natsMsgHeader_Set(message, name, value)
                size += name.utf8.count + value.utf8.count + 4
            }
            if !headers.isEmpty { size += 12 }
            try thread.publish(.init(pointer: message, bytes: size), mayBlock: mayBlock)
        }

        /// A mailbox for answers: what is sent to its subject, or to its subject and more tokens, arrives there.
        /// - Parameter tellsOfLosses: Whether its `next` throws `.connectionLost` once after each loss.
        func makeMailbox(tellsOfLosses: Bool = true) -> Mailbox {
            let token = router.makeToken()
            let mailbox = Mailbox(
                subject: router.prefix + token, timers: timers, tellsOfLosses: tellsOfLosses,
                end: { [router] in router.remove(token) })
            router.add(mailbox, for: token)
            return mailbox
        }

        /// Subscribes, now and on each later connection. The server knows of it before it knows of what is published after it.
        /// - Parameters:
        ///   - subject: May have wildcards.
        ///   - queue: Each message goes to one of the members of this group.
        ///   - limit: How much may wait.
        func subscribe(
            _ subject: String, queue: String? = nil, tellsOfLosses: Bool = false, limit: MailboxLimit? = nil
        ) -> Mailbox {
            let key = "subscription " + router.makeToken()
            let ending = Ending()
            let mailbox = Mailbox(
                subject: subject, timers: timers, tellsOfLosses: tellsOfLosses, limit: limit,
                end: { [router, thread] in
                    router.remove(key)
                    if let number = ending.number { thread.unsubscribe(number) }
                })
            router.add(mailbox, for: key)
            let target = WeakMailbox(mailbox)
            ending.number = thread.subscribe(
                .init(
                    subject: subject, queue: queue, deliver: { target.mailbox?.receive($0) },
                    refuse: { target.mailbox?.refuse($0) }))
            return mailbox
        }

        /// Tells readers of streams what is hinted at on these subjects.
        func followHints(_ subject: String) {
            _ = thread.subscribe(.init(subject: subject, queue: nil, deliver: { [router] in router.hint($0) }))
        }

        /// Asks and waits for one answer.
        /// - Throws: `.noResponders` at once when nobody takes it, `.timedOut`, `.connectionLost`, and what `publish` throws.
        func request(
            _ subject: String, headers: [(String, String)] = [], _ bytes: [UInt8], timeout: Duration
        ) async throws(BridgeError) -> NATSMessage {
            let mailbox = makeMailbox()
            defer { mailbox.close() }
            let start = ContinuousClock.now
            try publish(subject, reply: mailbox.subject, headers: headers, bytes)
            guard let answer = try await mailbox.next(timeout: timeout) else {
                if let violation = violation(publishingTo: subject, since: start) {
                    throw .forbidden(violation.description)
                }
                throw .timedOut("\(subject) was asked and did not answer within \(timeout)")
            }
            if answer.status == 503 { throw .noResponders(subject) }
            return answer
        }

        /// How long a message takes to the server and back.
        func roundTrip(timeout: Duration = .seconds(5)) async throws(BridgeError) -> Duration {
            let mailbox = makeMailbox()
            defer { mailbox.close() }
            let start = ContinuousClock.now
            try publish(mailbox.subject, [])
            guard try await mailbox.next(timeout: timeout) != nil else {
                throw .timedOut("the server did not return a message within \(timeout)")
            }
            return .now - start
        }

        /// Sends what was published, and closes; each mailbox ends.
        func close() async { await thread.close() }
    }

    private struct WeakMailbox: @unchecked Sendable {
        private(set) weak var mailbox: Mailbox?

        init(_ mailbox: Mailbox) { self.mailbox = mailbox }
    }

    private final class Ending: Sendable {
        private let value = Mutex<Int?>(nil)

        var number: Int? {
            get { value.withLock { $0 } }
            set { value.withLock { $0 = newValue } }
        }
    }
#endif
