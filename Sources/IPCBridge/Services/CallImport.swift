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
    /// After that long without a call it is looked whether there are still servers here.
    private static let quiet = Duration.seconds(10)

    func run() async throws {
        let channel = try context.openChannel()
        while true {
            if try LocalReaders.count(channel) == 0 {
                context.status.set(.waiting("no server has joined on this machine"))
                try await LocalReaders.wait(channel, areThere: true)
            }
            context.status.set(.carrying)
            try await serve(channel)
        }
    }

    /// Serves until no server is left on this machine.
    private func serve(_ channel: AnyChannel) async throws {
        let mailbox = context.connection.subscribe(context.names.subject(.service, context.name), queue: "servers")
        defer { mailbox.close() }
        var client = try channel.makeWriter()
        let open = OpenCalls()
        try await withThrowingDiscardingTaskGroup { group in
            while true {
                guard let message = try await mailbox.next(timeout: Self.quiet) else {
                    if try LocalReaders.count(channel) > 0 { continue }
                    break
                }
                guard open.count.load(ordering: .relaxed) < Self.limit else {
                    answer(message, .word(.overloaded, "\(Self.limit) calls of other machines are in progress"))
                    continue
                }
                guard let pending = try await begin(message, &client) else {
                    // Others get what comes from now on.
                    if try LocalReaders.count(channel) > 0 { continue }
                    break
                }
                open.count.add(1, ordering: .relaxed)
                let box = HandedCall(pending)
                group.addTask {
                    defer { open.count.subtract(1, ordering: .relaxed) }
                    guard let pending = box.take() else { return }
                    await finish(message, pending)
                }
            }
            // Calls in progress are finished first.
            mailbox.close()
        }
    }

    /// Nil if it did not begin; its caller was told.
    private func begin(_ message: NATSMessage, _ client: inout ChannelWriter) async throws -> PendingOutcome? {
        do {
            let call = try CallMessage(reading: message.bytes)
            let options = CallOptions(metadata: call.metadata, requiresServer: true)
            let deadline = call.timeLeft.map { Deadline.after($0) } ?? .never
            return try await client.begin(
                call.request.span.bytes, replyLimit: call.replyLimit, options, until: deadline)
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
                if let outcome = try await pending.wait(until: .after(.milliseconds(100))) {
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

    private func answer(_ message: NATSMessage, _ answer: CallAnswer, reply: String? = nil) {
        guard let subject = message.reply else { return }
        do throws(BridgeError) {
            try context.connection.publish(subject, reply: reply, answer.bytes(from: context.machine))
        } catch {
            // The caller's bridge hears nothing any more, and says so.
            context.logger.warning("an answer could not be sent", metadata: ["reason": "\(error)"])
        }
    }
}

/// How many calls are with the servers of this machine.
private final class OpenCalls: Sendable {
    let count = Atomic(0)
}

/// Hands a call over to a task.
private final class HandedCall: Sendable {
    private let call: Mutex<PendingOutcome?>

    init(_ call: consuming PendingOutcome) { self.call = Mutex(call) }

    func take() -> PendingOutcome? { call.withLock { $0.take() } }
}
#endif
