import IPC
import IPCChannels

/// A line on standard error about a wait that takes long: after a second, once.
struct WaitNote: Sendable {
    private let task: Task<Void, Never>

    /// Begins to wait.
    ///
    /// - Parameter text: What is told, as it is by then; nil for nothing.
    init(_ text: @escaping @Sendable () -> String?) {
        task = Task {
            guard (try? await Task.sleep(for: .seconds(1))) != nil, let text = text() else { return }
            printError("ipc: \(text)")
        }
    }

    /// The wait is over.
    func end() { task.cancel() }
}

/// How far a command is that sends messages one after the other. While one waits for room, it says for whom; an error says how many went in
/// before.
struct SendingProgress {
    private(set) var count = 0
    private let unit: String
    private let place: String
    private let reason: @Sendable () -> String?
    /// Whether it was told that one waits: that is said once.
    private var hasWaited = false

    /// - Parameters:
    ///   - unit: What is sent, such as `message`.
    ///   - place: Where it goes.
    ///   - reason: Why there is no room there: who has to do something, if that is known.
    init(of unit: String, to place: String, _ reason: @escaping @Sendable () -> String?) {
        self.unit = unit
        self.place = place
        self.reason = reason
    }

    /// Sends one.
    ///
    /// - Parameters:
    ///   - send: Does so, by a deadline.
    ///   - deadline: Asked for once there is no room.
    nonisolated(nonsending) mutating func send(
        until deadline: () -> Deadline, _ send: (Deadline) async throws(IPCError) -> Void
    ) async throws(IPCError) {
        do throws(IPCError) {
            do throws(IPCError) { try await send(.immediate) } catch {
                guard error.code == .timedOut else { throw error }
                try await wait(send, until: deadline())
            }
        } catch {
            throw explained(error)
        }
        count += 1
    }

    private nonisolated(nonsending) mutating func wait(
        _ send: (Deadline) async throws(IPCError) -> Void, until deadline: Deadline
    ) async throws(IPCError) {
        let note =
            hasWaited
            ? nil
            : WaitNote { [place, reason] in
                "waiting for room in \(place)" + (reason().map { ": \($0)" } ?? "")
            }
        defer { note?.end() }
        let start = ContinuousClock.now
        defer { if ContinuousClock.now - start >= .seconds(1) { hasWaited = true } }
        try await send(deadline)
    }

    /// The bytes of the next message, from what was given for it.
    func message(_ given: [UInt8], _ format: MessageFormat) throws(IPCError) -> [UInt8] {
        do throws(IPCError) { return try format.message(given) } catch { throw explained(error) }
    }

    private func explained(_ error: IPCError) -> IPCError {
        guard error.code == .timedOut || count > 0 else { return error }
        let before =
            switch count {
            case 0: "no \(unit) was sent before"
            case 1: "1 \(unit) was sent before"
            default: "\(count) \(unit)s were sent before"
            }
        let holder = error.code == .timedOut ? reason().map { "; \($0)" } ?? "" : ""
        return IPCError(
            error.code, error.operation, error.resource, errno: error.errno,
            advice: "\(error.advice); \(before)\(holder)")
    }
}

/// What keeps those waiting who use a channel, in words.
enum Hindrance {
    private static func participants(_ name: String) -> [ChannelDescription.Participant]? {
        guard let name = try? ChannelName(name) else { return nil }
        return (try? ChannelDescription(name, countsMessages: false))?.participants.filter(\.isAlive)
    }

    /// Whether somebody takes part as a reader: a subscriber, a worker, a server; true where that is not known.
    static func hasReader(_ name: String) -> Bool { participants(name)?.contains { $0.role != .writer } ?? true }

    /// Whether somebody takes part as a writer; true where that is not known.
    static func hasWriter(_ name: String) -> Bool { participants(name)?.contains { $0.role == .writer } ?? true }

    /// Why there is no room in a topic.
    static func ofTopic(_ name: String) -> String? {
        let readers = participants(name)?.filter { $0.role != .writer } ?? []
        guard let slowest = readers.max(by: { ($0.backlog ?? 0) < ($1.backlog ?? 0) }) else {
            return "another publisher has not finished its message"
        }
        return
            "\(ProcFiles.description(slowest.process)) is \(Table.size(slowest.backlog)) behind\(wayOn(slowest.process))"
    }

    /// Why there is no room in a queue.
    static func ofQueue(_ name: String) -> String? {
        let workers = participants(name)?.filter { $0.role != .writer } ?? []
        guard !workers.isEmpty else { return "it has no worker; ipc queue work \(name) starts one" }
        let jobs = (try? AnyChannel.open(name).workQueue.browse(limit: 8)) ?? []
        guard let holder = jobs.lazy.compactMap(\.worker).first else {
            return "its worker is \(ProcFiles.description(workers[0].process))\(wayOn(workers[0].process))"
        }
        return "\(ProcFiles.description(holder)) holds the oldest job\(wayOn(holder))"
    }

    /// What lets one go on that is stopped.
    private static func wayOn(_ process: Int32) -> String {
        ProcFiles.isStopped(process) ? " (kill -CONT \(process) resumes it)" : ""
    }
}
