import Glibc
import IPC
import Synchronization

/// A server of HTTP for one page and its few requests, one for each connection.
///
/// Whoever is on this machine can connect. So there are at most ``most`` connections: one more ends the one that has waited
/// longest without having sent its request. A request has ``patience`` to come, and an answer as long to go. Each takes a few
/// KiB of memory and no thread.
final class PageServer: Sendable {
    static let most = 64
    static let patience = Duration.seconds(5)
    private static let longestHead = 8192

    private let listener: SharedReference<StreamListener>
    private let answer: @Sendable (PageRequest) async -> PageResponse
    private let open = Mutex(OpenConnections())

    init(_ listener: consuming StreamListener, _ answer: @escaping @Sendable (PageRequest) async -> PageResponse) {
        self.listener = SharedReference(listener)
        self.answer = answer
    }

    /// Those that are open, in the order of their coming.
    private struct OpenConnections {
        struct One {
            let number: UInt64
            let task: Task<Void, Never>
            /// Whether its request has come.
            var isAnswered = false
        }
        var all: [One] = []
        var next: UInt64 = 0

        /// Ends the oldest that has not asked yet; the oldest of all if each has.
        mutating func makeRoom() {
            guard all.count >= PageServer.most else { return }
            let oldest = all.firstIndex { !$0.isAnswered } ?? 0
            all.remove(at: oldest).task.cancel()
        }
    }

    /// Serves until the task is cancelled.
    func run() async throws {
        var isTold = false
        while !Task.isCancelled {
            let connection: SharedReference<StreamSocket>
            do throws(IPCError) {
                connection = SharedReference(try await listener.value.accept())
            } catch {
                guard error.code == .limitReached else { throw error }
                // No descriptor is left: those that end give theirs back.
                open.withLock { connections in
                    if !connections.all.isEmpty { connections.all.removeFirst().task.cancel() }
                }
                try await Task.sleep(for: .milliseconds(10))
                continue
            }
            let isFull = start(connection)
            if isFull, !isTold {
                isTold = true
                let line =
                    "ipc: \(Self.most) connections are open; each new one closes the one that has been idle longest\n"
                _ = line.withCString { Glibc.write(STDERR_FILENO, $0, strlen($0)) }
            }
        }
    }

    /// - Returns: Whether another had to go for it.
    private func start(_ connection: SharedReference<StreamSocket>) -> Bool {
        open.withLock { connections in
            let isFull = connections.all.count >= Self.most
            connections.makeRoom()
            let number = connections.next
            connections.next += 1
            // It cannot come to its end, and look for itself, before this lock is free.
            let task = Task { [self] in
                await serve(connection, number)
                open.withLock { connections in connections.all.removeAll { $0.number == number } }
            }
            connections.all.append(OpenConnections.One(number: number, task: task))
            return isFull
        }
    }

    private func serve(_ connection: SharedReference<StreamSocket>, _ number: UInt64) async {
        var hasBegun = false
        // An error is the client's: it has gone, was too slow, or asked too much.
        do throws(IPCError) {
            guard let head = try await Self.head(connection, until: .after(Self.patience)) else { return }
            open.withLock { connections in
                if let index = connections.all.firstIndex(where: { $0.number == number }) {
                    connections.all[index].isAnswered = true
                }
            }
            let response =
                if let request = PageRequest(head: head) { await answer(request) } else { PageResponse.notFound }
            let deadline = Deadline.after(Self.patience)
            hasBegun = true
            try await connection.value.write(response.head.span.bytes, until: deadline)
            try await connection.value.write(response.body.span.bytes, until: deadline)
            try connection.value.finishWriting()
            try await Self.drain(connection)
        } catch {
            guard error.code == .cancelled, !hasBegun else { return }
            // Said if there is room for it; nobody waits for that.
            let response = PageResponse.tooMany
            _ = try? connection.value.tryWrite((response.head + response.body).span.bytes)
        }
    }

    /// All before the empty line; nil if the client has gone, or says more than a request needs.
    private static func head(
        _ connection: SharedReference<StreamSocket>, until deadline: Deadline
    ) async throws(IPCError) -> [UInt8]? {
        var head: [UInt8] = []
        while head.count <= longestHead {
            let more = try await read(connection, until: deadline)
            guard !more.isEmpty else { return nil }
            // The empty line may have begun in what came before.
            let start = max(head.count - 3, 0)
            head += more
            if let end = endOfHead(head, from: start) { return Array(head[..<end]) }
        }
        return nil
    }

    private static func endOfHead(_ bytes: [UInt8], from start: Int) -> Int? {
        for index in start..<bytes.count where bytes[index] == UInt8(ascii: "\n") {
            let rest = bytes[(index + 1)...]
            if rest.starts(with: [UInt8(ascii: "\n")]) || rest.starts(with: [UInt8(ascii: "\r"), UInt8(ascii: "\n")]) {
                return index
            }
        }
        return nil
    }

    /// Takes what the client still sends, so that closing does not reset the connection before it has read the answer.
    private static func drain(_ connection: SharedReference<StreamSocket>) async throws(IPCError) {
        let deadline = Deadline.after(.seconds(1))
        for _ in 0..<64 where try await read(connection, until: deadline).isEmpty { return }
    }

    private static func read(
        _ connection: SharedReference<StreamSocket>, until deadline: Deadline
    ) async throws(IPCError) -> [UInt8] {
        var chunk = [UInt8](repeating: 0, count: 2048)
        var elements = chunk.mutableSpan
        var buffer = elements.mutableBytes
        let count = try await connection.value.read(into: &buffer, until: deadline)
        return Array(chunk[..<count])
    }
}
