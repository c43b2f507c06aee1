#if NATS
    import IPCChannels

    /// Asks a pull consumer for messages, so that enough are on their way while they flow and nothing is said while none come.
    ///
    /// The server tells with heartbeats that a request is still known: every 2 s while messages flow, and more seldom when none came for
    /// a while. When they stay away, or the connection or a leader was lost, the puller is of no more use: a new one is made.
    /// The library's own `Fetch` is not used: in 3.4.1 it waits although messages are there. Of one task at a time.
    final class Puller {
        enum Event {
            case message(NATSMessage, Delivery)
            /// The time is over.
            case nothing
            /// The consumer does not answer, or no longer exists.
            case gone(String)
            /// Somebody asked to look after it, and nothing has come since.
            case quiet
        }
        private struct Request {
            let token: Int
            var messages: Int
            var bytes: Int
            let isIdle: Bool
        }

        let mailbox: Mailbox
        private let connection: NATSConnection
        private let call: String
        private var requests: [Request] = []
        private var issued = 0
        private var lastHeard = ContinuousClock.now
        private var lastMessage = ContinuousClock.now
        /// If something should have come by then.
        private var nudged: ContinuousClock.Instant?
        private var maximumBytes: Int

        private let idleHeartbeat: Duration
        private static let activeHeartbeat = Duration.seconds(2)
        private static let activeTime = Duration.seconds(30)
        private static let idleTime = Duration.seconds(600)

        /// - Parameter idleHeartbeat: How often the server says that it is there while no messages come, up to five minutes.
        init(
            _ connection: NATSConnection, stream: String, consumer: String, isShared: Bool, maximumBytes: Int,
            idleHeartbeat: Duration = .seconds(30)
        ) {
            self.connection = connection
            self.idleHeartbeat = idleHeartbeat
            self.maximumBytes = max(maximumBytes, 2 * connection.maximumPayload)
            call = "$JS.API.CONSUMER.MSG.NEXT.\(stream).\(consumer)"
            let token = connection.router.makeToken()
            // The messages of a consumer keep their subject; they are known by the names in their reply subject.
            let key = "\(stream).\(consumer)"
            mailbox = Mailbox(
                subject: connection.router.prefix + token, timers: connection.timers, tellsOfLosses: true,
                source: (stream, consumer, isShared),
                end: { [router = connection.router] in
                    router.remove(token)
                    router.remove(key)
                })
            connection.router.add(mailbox, for: token)
            connection.router.add(mailbox, for: key)
        }

        deinit { mailbox.close() }

        /// How many messages were asked for and did not come yet.
        var outstanding: Int { requests.reduce(0) { $0 + $1.messages } }

        private var outstandingBytes: Int { requests.reduce(0) { $0 + $1.bytes } }

        /// The next message.
        /// - Parameters:
        ///   - wanted: How many may be outstanding. More are asked for when half of them came, or with `exactly` at once.
        func next(wanted: Int, exactly: Bool, until deadline: ContinuousClock.Instant?) async throws(BridgeError)
            -> Event
        {
            if nudged == nil, let message = mailbox.tryNext(), let event = try take(message) { return event }
            while true {
                do throws(BridgeError) {
                    try ask(wanted, exactly)
                    var heard = lastHeard + silence
                    if let nudged { heard = min(heard, nudged) }
                    let until = requests.isEmpty ? deadline : min(deadline ?? heard, heard)
                    guard let message = try await mailbox.next(until: until) else {
                        if let deadline, deadline <= .now { return .nothing }
                        lastHeard = max(lastHeard, mailbox.lastHeartbeat)
                        if let nudged, nudged <= .now {
                            self.nudged = nil
                            return .quiet
                        }
                        if lastHeard + silence > .now { continue }
                        return .gone("no heartbeat came")
                    }
                    if let event = try take(message) { return event }
                } catch {
                    switch error {
                    case .interrupted: nudged = .now + .seconds(1)
                    case .connectionLost, .notConnected: return .gone("the connection or a leader was lost")
                    default: throw error
                    }
                }
            }
        }

        private var silence: Duration {
            requests.contains { !$0.isIdle } ? Self.activeHeartbeat * 2.5 : idleHeartbeat * 2.5
        }

        private func ask(_ wanted: Int, _ exactly: Bool) throws(BridgeError) {
            let outstanding = outstanding
            let isIdle = lastMessage + Self.activeTime <= .now
            let isLow =
                exactly
                ? outstanding < wanted
                : outstanding * 2 <= wanted || outstandingBytes * 2 <= maximumBytes
                    || !isIdle && requests.allSatisfy { $0.isIdle }
            guard isLow, wanted > 0 else { return }
            let count = exactly ? wanted - outstanding : wanted
            if requests.isEmpty { lastHeard = .now }
            issued += 1
            requests.append(Request(token: issued, messages: count, bytes: maximumBytes, isIdle: isIdle))
            let body = JSONValue.members([
                ("batch", .integer(count)), ("max_bytes", exactly ? nil : .integer(maximumBytes)),
                ("expires", .integer((isIdle ? Self.idleTime : Self.activeTime).nanoseconds)),
                ("idle_heartbeat", .integer((isIdle ? idleHeartbeat : Self.activeHeartbeat).nanoseconds)),
            ])
            try connection.publish(call, reply: "\(mailbox.subject).\(issued)", Array(body.text.utf8))
        }

        /// - Returns: Nil if the message is one between the server and us.
        private func take(_ message: NATSMessage) throws(BridgeError) -> Event? {
            lastHeard = .now
            nudged = nil
            if let delivery = message.delivery {
                lastMessage = .now
                account(message.count + message.subjectLength)
                return .message(message, delivery)
            }
            guard let status = message.status else { return nil }
            let description = message.header("Description") ?? "status \(status)"
            guard let token = message.subject.split(separator: ".").last.flatMap({ Int($0) }),
                let index = requests.firstIndex(where: { $0.token == token })
            else { return nil }
            switch status {
            case 404, 408: requests.remove(at: index)
            case 409 where description.hasPrefix("Message Size Exceeds"):
                // The end of a request by its bytes. If nothing came, one message is larger than all of them.
                if requests[index].bytes == maximumBytes { maximumBytes *= 2 }
                requests.remove(at: index)
            case 409 where description.hasPrefix("Batch Completed"): requests.remove(at: index)
            case 400: throw .malformed("the server does not take our request for messages: \(description)")
            default: return .gone(description)
            }
            return nil
        }

        /// The server serves requests in their order.
        private func account(_ bytes: Int) {
            guard !requests.isEmpty else { return }
            requests[0].messages -= 1
            requests[0].bytes = max(0, requests[0].bytes - bytes)
            if requests[0].messages == 0 { requests.removeFirst() }
        }
    }
#endif
