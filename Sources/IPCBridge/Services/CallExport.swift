#if NATS
    import Glibc
    import IPC
    import IPCChannels
    import Logging

    /// Passes the calls of this machine's clients to servers on other machines, while there is no server here.
    ///
    /// A call is sent once, and again only when a machine says that it was not begun there. It ends with the answer, with its deadline, or
    /// when nothing is heard of it any more: then its caller gets the error of a call whose server died, and the call's retries, if it has
    /// any, send it again.
    struct CallExport: Carrier {
        let context: CarrierContext
        /// How many calls may be on their way; further ones wait in the channel.
        private static let limit = 256

        func run() async throws {
            let channel = try context.openChannel()
            let servers = try LocalReaders(channel)
            while true {
                if try servers.count > 0 {
                    context.status.set(.waiting("servers of this machine take the calls"))
                    try await servers.wait(areThere: false)
                }
                context.status.set(.carrying)
                try await pass(channel, while: servers)
            }
        }

        /// Passes calls until a server joins on this machine.
        private func pass(_ channel: AnyChannel, while servers: LocalReaders) async throws {
            var server = try channel.makeReader()
            try await withThrowingTaskGroup(of: Void.self) { group in
                var count = 0
                while true {
                    if count == Self.limit {
                        try await group.next()
                        count -= 1
                    }
                    let call = try await server.take()
                    guard try servers.count == 0 else {
                        // As if it had never been taken.
                        try call.release()
                        return try await group.waitForAll()
                    }
                    // A call that this bridge makes here is for the servers of this machine, which have just left.
                    guard !call.isOfThisProcess else {
                        call.reject()
                        continue
                    }
                    count += 1
                    let taken = Handover(call)
                    group.addTask { await PassedCall(context).run(taken.take()) }
                }
            }
        }
    }

    /// One call on its way.
    private struct PassedCall {
        /// How long to wait for a connection before a call counts as lost.
        private static let connectionWait = Duration.seconds(2)
        /// A server's bridge says at least every second that it goes on.
        private static let silence = Duration.milliseconds(3500)
        /// How often to look whether the caller still waits.
        private static let look = Duration.milliseconds(50)
        /// How often a call is sent that is not begun, because a machine's last server has just left.
        private static let attempts = 5
        /// How much later the caller's own clock may find that the deadline has passed.
        private static let lateness = Duration.milliseconds(200)

        private let context: CarrierContext
        init(_ context: CarrierContext) { self.context = context }

        func run(_ call: consuming TakenMessage) async {
            do {
                let message = CallMessage(
                    timeLeft: call.deadline.timeLeft, replyLimit: call.replyLimit,
                    metadata: call.metadata.merging([CallMessage.machineKey: context.machine.name]) { $1 },
                    request: try call.bytes)
                switch try await answer(to: message, call) {
                case .reply(let bytes):
                    context.status.addCarried(1, bytes: message.request.count + bytes.count)
                    try call.reply(bytes.span.bytes)
                case .failure(let bytes):
                    context.status.addCarried(1, bytes: message.request.count + bytes.count)
                    try call.fail(bytes.span.bytes)
                case .word(.replyTooLarge, _):
                    // The caller gets the error of a reply that is too large, if not its size.
                    let bytes = [UInt8](repeating: 0, count: call.replyLimit + 1)
                    try? call.reply(bytes.span.bytes)
                case .word(.replyCannotBeSent, let text):
                    tellTooLarge("a reply is too large for the server of NATS", text)
                    try? call.refuse(byteCount: max(Int(text) ?? 1, 1))
                case .word(.requestCannotBeSent, let text):
                    tellTooLarge("a request is too large for the server of NATS", text)
                    try? call.refuse(byteCount: 0)
                case .word(.timedOut, let text):
                    if let left = call.deadline.timeLeft, left < Self.lateness { try? await Task.sleep(for: left) }
                    drop(call, .timedOut, text)
                case .word(let word, let text): drop(call, word, text)
                }
            } catch {
                // The call itself is dropped with its last owner, and its caller told.
                context.status.addDropped(1)
                context.logger.warning("a call was lost", metadata: ["reason": "\(error)"])
            }
        }

        private func tellTooLarge(_ what: String, _ byteCount: String) {
            context.status.addDropped(1)
            context.logger.warning(
                "\(what)",
                metadata: ["bytes": "\(byteCount)", "max_payload": "\(context.connection.maximumPayload)"])
        }

        private func drop(_ call: consuming TakenMessage, _ word: CallAnswer.Word, _ text: String) {
            context.status.addDropped(1)
            context.logger.debug("a call was not answered", metadata: ["reason": "\(word): \(text)"])
            call.reject()
        }

        private func answer(to message: CallMessage, _ call: borrowing TakenMessage) async throws -> CallAnswer {
            var message = message
            var answer = CallAnswer.word(.notTaken, "")
            for _ in 0..<Self.attempts {
                message.timeLeft = call.deadline.timeLeft
                answer = try await answerOnce(to: message, call)
                // By then that machine takes no calls any more.
                guard case .word(.notTaken, let text) = answer, !text.isEmpty else { return answer }
            }
            return answer
        }

        private func answerOnce(to message: CallMessage, _ call: borrowing TakenMessage) async throws -> CallAnswer {
            let connection = context.connection
            if !connection.isConnected { try await connection.waitUntilConnected(for: Self.connectionWait) }
            let mailbox = connection.makeMailbox(tellsOfLosses: false)
            defer { mailbox.close() }
            let subject = context.names.subject(.service, context.name)
            do throws(BridgeError) {
                try connection.publish(subject, reply: mailbox.subject, message.bytes(from: context.machine))
            } catch {
                guard case .tooLarge = error else { throw error }
                return .word(.requestCannotBeSent, "\(message.request.count)")
            }
            var cancellations: String?
            var heard = ContinuousClock.now
            while true {
                // Whoever has it is told that the caller gave up.
                if let cancellations, call.isCancelled {
                    try connection.publish(cancellations, [])
                    return .word(.timedOut, "its caller gave up")
                }
                guard let answer = try await mailbox.next(timeout: Self.look) else {
                    if heard + Self.silence < .now {
                        return .word(.lost, "its server's bridge is not heard of any more")
                    }
                    continue
                }
                if answer.status == 503 { return .word(.notTaken, "") }
                heard = .now
                let decoded = try CallAnswer(reading: answer.bytes)
                guard case .word(.inProgress, _) = decoded else { return decoded }
                // Of whoever may answer: not a subject of the server's own.
                if cancellations == nil, let reply = answer.reply, reply.hasPrefix("_INBOX.") { cancellations = reply }
            }
        }
    }

    extension Deadline {
        /// Nil for a deadline that never comes.
        fileprivate var timeLeft: Duration? { remaining.map { max($0, .zero) } }
    }
#endif
