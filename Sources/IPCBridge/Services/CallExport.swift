#if NATS
import IPC
import IPCChannels
import Logging
import Synchronization

/// Passes the calls of this machine's clients to servers on other machines, while there is no server here.
///
/// A call is sent once. It ends with the answer, with its deadline, or when nothing is heard of it any more: then its caller gets the
/// error of a call whose server died, and the call's retries, if it has any, send it again.
struct CallExport: Carrier {
    let context: CarrierContext
    /// How many calls may be on their way; further ones wait in the channel.
    private static let limit = 256

    func run() async throws {
        let channel = try context.openChannel()
        while true {
            if try LocalReaders.count(channel) > 0 {
                context.status.set(.waiting("servers of this machine take the calls"))
                try await LocalReaders.wait(channel, areThere: false)
            }
            context.status.set(.carrying)
            try await pass(channel)
        }
    }

    /// Passes calls until a server joins on this machine.
    private func pass(_ channel: AnyChannel) async throws {
        var server = try channel.makeReader()
        try await withThrowingTaskGroup(of: Void.self) { group in
            var count = 0
            while true {
                if count == Self.limit {
                    try await group.next()
                    count -= 1
                }
                let call = try await server.take()
                guard try LocalReaders.count(channel) == 0 else {
                    // As if it had never been taken.
                    try call.release()
                    return try await group.waitForAll()
                }
                // A call that another bridge makes here is for the servers of this machine, which have just left.
                guard call.metadata[CallMessage.machineKey] == nil else {
                    call.reject()
                    continue
                }
                count += 1
                let taken = Handed(call)
                group.addTask {
                    guard let call = taken.take() else { return }
                    await PassedCall(context).run(call)
                }
            }
        }
    }
}

/// Hands a call over to a task.
private final class Handed: Sendable {
    private let call: Mutex<TakenMessage?>

    init(_ call: consuming TakenMessage) { self.call = Mutex(call) }

    func take() -> TakenMessage? { call.withLock { $0.take() } }
}

/// One call on its way.
private struct PassedCall {
    /// How long to wait for a connection before a call counts as lost.
    private static let connectionWait = Duration.seconds(2)
    /// A server's bridge says at least every second that it goes on.
    private static let silence = Duration.milliseconds(3500)
    /// How often to look whether the caller still waits.
    private static let look = Duration.milliseconds(50)

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
            case .word(let word, let text):
                drop(call, "\(word)\(text.isEmpty ? "" : ": \(text)")")
            }
        } catch {
            // The call itself is dropped with its last owner, and its caller told.
            context.status.addDropped(1)
            context.logger.warning("a call was lost", metadata: ["reason": "\(error)"])
        }
    }

    private func drop(_ call: consuming TakenMessage, _ reason: String) {
        context.status.addDropped(1)
        context.logger.debug("a call was not answered", metadata: ["reason": "\(reason)"])
        call.reject()
    }

    private func answer(to message: CallMessage, _ call: borrowing TakenMessage) async throws -> CallAnswer {
        let connection = context.connection
        try await connection.waitUntilConnected(for: Self.connectionWait)
        let mailbox = connection.makeMailbox(tellsOfLosses: false)
        defer { mailbox.close() }
        let subject = context.names.subject(.service, context.name)
        try connection.publish(subject, reply: mailbox.subject, message.bytes(from: context.machine))
        var heard = ContinuousClock.now
        var cancellation: String?
        while true {
            guard let answer = try await mailbox.next(timeout: Self.look) else {
                if call.isCancelled {
                    // Told as soon as it is known whom to tell; one that is not taken yet ends with its deadline.
                    if let cancellation { try connection.publish(cancellation, []) }
                    return .word(.timedOut, "its caller gave up")
                }
                if heard + Self.silence < .now { return .word(.lost, "its server's bridge is not heard of any more") }
                continue
            }
            if answer.status == 503 { return .word(.notTaken, "no server has joined on any machine") }
            heard = .now
            let decoded = try CallAnswer(reading: answer.bytes)
            guard case .word(.inProgress, _) = decoded else { return decoded }
            cancellation = answer.reply
        }
    }
}

extension Deadline {
    /// Nil for a deadline that never comes.
    fileprivate var timeLeft: Duration? { remaining.map { max($0, .zero) } }
}
#endif
