#if NATS
    import IPC
    import IPCChannels
    import Logging
    import Synchronization

    /// Takes calls of other machines for the servers of this one, while there are any: as one member of a queue group, so that each call
    /// has one machine.
    struct CallImport: Carrier {
        let context: CarrierContext
        /// How many calls may be with this machine's servers at once; further ones are refused as overloaded.
        private static let limit = 1024
        /// How many bytes of calls may wait to be begun.
        private static let mostWaiting = 16 << 20
        /// How long a call may wait to be begun: its caller's bridge, which has heard nothing of it, counts it as lost soon after.
        private static let patience = Duration.seconds(3)
        private static let quick = Duration.milliseconds(5)
        /// How often it is looked whether the caller gave up; each tenth time the caller's bridge is told that the call goes on.
        private static let look = Duration.milliseconds(100)

        func run() async throws {
            let channel = try context.openChannel()
            let servers = try LocalReaders(channel)
            while true {
                if try servers.count == 0 {
                    context.status.set(.waiting("no server has joined on this machine"))
                    try await servers.wait(areThere: true)
                }
                context.status.set(.carrying)
                try await serve(channel, with: servers)
            }
        }

        /// Serves until no server is left on this machine.
        private func serve(_ channel: AnyChannel, with servers: LocalReaders) async throws {
            let mailbox = context.connection.subscribe(
                context.names.subject(.service, context.name), queue: "servers",
                limit: MailboxLimit(bytes: Self.mostWaiting) { message in
                    answer(message, .word(.overloaded, "too many calls of other machines wait"))
                })
            defer { mailbox.close() }
            var client = try channel.makeWriter()
            let open = OpenCalls()
            try await withThrowingDiscardingTaskGroup { group in
                let watching = Task {
                    try await servers.wait(areThere: false)
                    // Others get what comes from now on.
                    mailbox.close()
                }
                defer { watching.cancel() }
                while let message = try await next(mailbox) {
                    guard open.count.load(ordering: .relaxed) < Self.limit else {
                        answer(message, .word(.overloaded, "\(Self.limit) calls of other machines are in progress"))
                        continue
                    }
                    guard try servers.count > 0 else {
                        mailbox.close()
                        answer(message, .word(.notTaken, "the last server on \(context.machine) has left"))
                        continue
                    }
                    guard let pending = try await begin(message, &client) else { continue }
                    open.count.add(1, ordering: .relaxed)
                    let begun = Handover(pending)
                    group.addTask {
                        await finish(message, begun.take())
                        open.count.subtract(1, ordering: .relaxed)
                    }
                }
                // Calls in progress are finished first.
            }
        }

        /// The next call; nil if the mailbox is closed and empty.
        private func next(_ mailbox: Mailbox) async throws -> NATSMessage? {
            do { return try await mailbox.next() } catch BridgeError.closed { return nil }
        }

        /// Nil if it did not begin; its caller was told.
        private func begin(_ message: NATSMessage, _ client: inout ChannelWriter) async throws -> PendingOutcome? {
            let latest = message.arrived + Self.patience
            do {
                let call = try CallMessage(reading: message.bytes)
                let options = CallOptions(metadata: call.metadata, requiresServer: true)
                let deadline = call.timeLeft.map { Deadline.after($0 - (.now - message.arrived)) } ?? .never
                while latest > .now, !deadline.hasPassed {
                    let pending = try client.tryBegin(
                        call.request.span.bytes, replyLimit: call.replyLimit, options, until: deadline)
                    if let pending { return pending }
                    try await Task.sleep(for: .milliseconds(2))
                }
                let word = deadline.hasPassed ? CallAnswer.Word.timedOut : .overloaded
                answer(message, .word(word, "the servers on \(context.machine) have too many calls"))
            } catch let error as IPCError where error.code == .notReady {
                answer(message, .word(.notTaken, "the last server on \(context.machine) has left"))
            } catch let error as IPCError where error.code == .overloaded {
                answer(message, .word(.overloaded, error.advice))
            } catch let error as IPCError where error.code == .timedOut {
                answer(message, .word(.timedOut, error.advice))
            } catch let error as IPCError where error.code == .invalidArgument || error.code == .messageTooLarge {
                answer(message, .word(.refused, error.advice))
            } catch let error as EnvelopeError {
                context.logger.warning("a message is not a call", metadata: ["reason": "\(error)"])
                answer(message, .word(.refused, "\(error)"))
            }
            return nil
        }

        private func finish(_ message: NATSMessage, _ pending: consuming PendingOutcome) async {
            let cancellations = context.connection.makeMailbox(tellsOfLosses: false)
            defer { cancellations.close() }
            do throws(IPCError) {
                var round = 0
                while true {
                    // A quick answer needs no sign.
                    if let outcome = try await pending.wait(until: .after(round == 0 ? Self.quick : Self.look)) {
                        switch outcome {
                        case .reply(let bytes): answer(message, .reply(bytes))
                        case .failure(let bytes): answer(message, .failure(bytes))
                        }
                        return context.status.addCarried(1, bytes: message.count)
                    }
                    // Dropping the call cancels it.
                    if cancellations.tryNext() != nil { return }
                    if round % 10 == 0 { answer(message, .word(.inProgress, ""), reply: cancellations.subject) }
                    round += 1
                }
            } catch {
                let word: CallAnswer.Word =
                    switch error.code {
                    case .timedOut: .timedOut
                    case .messageTooLarge: .replyTooLarge
                    default: .lost
                    }
                answer(message, .word(word, error.advice))
            }
        }

        private func answer(
            _ message: NATSMessage, _ answer: CallAnswer, reply: String? = nil, isSubstitute: Bool = false
        ) {
            guard let subject = message.reply, subject.hasPrefix("_INBOX.") else { return }
            do throws(BridgeError) {
                try context.connection.publish(subject, reply: reply, answer.bytes(from: context.machine))
            } catch {
                // With the connection, the caller's bridge hears nothing any more, and says so.
                if case .tooLarge(let bytes, _) = error, reply == nil, !isSubstitute {
                    self.answer(message, .word(.replyCannotBeSent, "\(bytes)"), isSubstitute: true)
                }
                context.logger.warning("an answer could not be sent", metadata: ["reason": "\(error)"])
            }
        }
    }

    /// How many calls are with the servers of this machine.
    private final class OpenCalls: Sendable {
        let count = Atomic(0)
    }
#endif
