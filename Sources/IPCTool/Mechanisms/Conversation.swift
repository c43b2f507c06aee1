import Glibc
import IPC

/// A connection, joined with standard input and output.
struct Conversation {
    private let connection: SharedReference<StreamSocket>
    /// Whether descriptors can come.
    private let isLocal: Bool

    init(_ connection: SharedReference<StreamSocket>) {
        self.connection = connection
        isLocal = (try? connection.value.peerCredentials) != nil
    }

    /// Ends when the other side has finished writing, and has been sent what standard input had by then.
    func run() async throws(IPCError) {
        let connection = connection
        let sending = Task {
            while true {
                let bytes = try await StandardInput.read()
                if bytes.isEmpty { return try connection.value.finishWriting() }
                // Whole, though the other side may finish meanwhile.
                try await Task.detached { try await unsafe connection.value.write(bytes.span.bytes) }.value
            }
        }
        defer { sending.cancel() }
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = isLocal ? try await receive(into: &chunk) : try await read(into: &chunk)
            guard let count else { continue }
            if count == 0 { return try await sendRest(sending) }
            try MessageOutput.put(Array(chunk[..<count]))
        }
    }

    /// The other side may read still. What may come later than its end is not waited for: on a terminal, or of a program that runs on.
    private func sendRest(_ sending: Task<Void, any Error>) async throws(IPCError) {
        sending.cancel()
        guard case .failure(let error as IPCError) = await sending.result, error.code == .cancelled else { return }
        do throws(IPCError) {
            while StandardInput.isReadable {
                let bytes = try await StandardInput.read()
                if bytes.isEmpty { return }
                try await unsafe connection.value.write(bytes.span.bytes, until: .after(Self.patience))
            }
        } catch {
            // It has gone, or reads nothing.
            guard error.code == .brokenPipe || error.code == .timedOut else { throw error }
        }
    }

    private static let patience = Duration.seconds(1)

    private func read(into chunk: inout [UInt8]) async throws(IPCError) -> Int? {
        var elements = chunk.mutableSpan
        var buffer = unsafe elements.mutableBytes
        return try await connection.value.read(into: &buffer)
    }

    /// - Returns: Nil if there is nothing to print: another process took what was there, or one byte came to carry descriptors.
    private func receive(into chunk: inout [UInt8]) async throws(IPCError) -> Int? {
        let socket = connection.value.descriptor.rawValue
        try await Reactor.wait(for: .readable, of: socket, until: .never, "read", "connection")
        var descriptors = ReceivedDescriptors()
        let count: Int
        do throws(IPCError) {
            var elements = chunk.mutableSpan
            var buffer = unsafe elements.mutableBytes
            count = try connection.value.receive(into: &buffer, descriptors: &descriptors, until: .immediate)
        } catch  where error.code == .timedOut {
            return nil
        }
        let isCarrier = count == 1 && descriptors.count > 0
        while let descriptor = descriptors.takeFirst() { try await PassedDescriptor(descriptor).show() }
        return isCarrier ? nil : count
    }
}
