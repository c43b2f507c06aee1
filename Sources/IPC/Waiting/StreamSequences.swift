/// A stream of bytes, cut into lines.
///
/// ```swift
/// for try await line in try AnonymousPipe().reader.lines() { print(line) }
/// ```
///
/// A line ends with a newline, or CR and newline, which are left out, or with the stream. Bytes that are not UTF-8 are replaced
/// by U+FFFD: read what is no text by ``StreamSocket/read(into:until:)`` or ``PipeReader/read(into:until:)``. It has a descriptor of its own, so
/// it may outlive what it was made from. One loop at a time: what a loop has read and not handed over goes with it. A loop
/// whose task is cancelled ends.
public struct Lines: AsyncSequence, Sendable {
    let source: ByteSource
    let limit: Int

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate var buffer: StreamBuffer

        public mutating func next() async throws(IPCError) -> String? { try await next(isolation: nil) }

        /// - Throws: ``IPCError/Code/messageTooLarge`` if a line is longer than was allowed.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> String? {
            while true {
                if let end = buffer.pending.newline() { return try text(buffer.pending.take(end + 1).dropLast()) }
                // One byte more may be the CR of a line that is as long as it may be.
                guard buffer.count <= buffer.limit || buffer.count - buffer.limit == 1 else { throw tooLong }
                guard try await buffer.fill() else {
                    let rest = buffer.pending.take(buffer.count)
                    return rest.isEmpty ? nil : try text(rest[...])
                }
            }
        }

        private func text(_ line: ArraySlice<UInt8>) throws(IPCError) -> String {
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            guard line.count <= buffer.limit else { throw tooLong }
            return String(decoding: line, as: UTF8.self)
        }

        private var tooLong: IPCError {
            IPCError(
                .messageTooLarge, "read", buffer.source.name,
                advice: "a line is longer than the limit of \(buffer.limit) bytes; raise the limit of lines(limit:)",
                transferred: buffer.count)
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(buffer: StreamBuffer(source, limit: limit)) }
}

/// A stream of bytes, cut into frames: each has its length before it, in four bytes, the most significant one first.
///
/// It has a descriptor of its own, so it may outlive what it was made from. One loop at a time: what a loop has read and not
/// handed over goes with it. A loop whose task is cancelled ends.
public struct Frames: AsyncSequence, Sendable {
    let source: ByteSource
    let limit: Int

    /// Bytes before each frame.
    static let prefixSize = 4

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate var buffer: StreamBuffer

        public mutating func next() async throws(IPCError) -> [UInt8]? { try await next(isolation: nil) }

        /// - Throws: ``IPCError/Code/messageTooLarge`` if a frame is longer than was allowed;
        ///   ``IPCError/Code/endOfFile`` if the stream ends within one.
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(IPCError) -> [UInt8]? {
            guard try await buffer.fill(upTo: Frames.prefixSize, or: "the length of a frame") else { return nil }
            guard let length = buffer.pending.length else { return nil }
            buffer.pending.drop(Frames.prefixSize)
            guard length <= buffer.limit else { throw .overLimit(buffer.limit, buffer.source.name, 0) }
            guard try await buffer.fill(upTo: length, or: "a frame of \(length) bytes") else {
                if Task.isCancelled { return nil }
                throw IPCError(
                    .endOfFile, "read", buffer.source.name, advice: "the stream ended before a frame of \(length) bytes"
                )
            }
            return buffer.pending.take(length)
        }
    }

    public func makeAsyncIterator() -> Iterator { Iterator(buffer: StreamBuffer(source, limit: limit)) }
}

/// What brings bytes.
enum ByteSource: Sendable {
    case pipe(Shared<PipeReader>)
    case socket(Shared<StreamSocket>)

    var name: String {
        switch self {
        case .pipe(let pipe): pipe.value.end.name
        case .socket(let socket): socket.value.handle.name
        }
    }

    /// Puts what comes next into `chunk`.
    ///
    /// - Returns: How many bytes; 0 at the end.
    nonisolated(nonsending) func read(into chunk: inout [UInt8]) async throws(IPCError) -> Int {
        var elements = chunk.mutableSpan
        var buffer = unsafe elements.mutableBytes
        return switch self {
        case .pipe(let pipe): try await pipe.value.read(into: &buffer)
        case .socket(let socket): try await socket.value.read(into: &buffer)
        }
    }
}

/// What has come of a source, and was not handed over yet.
private struct StreamBuffer {
    let source: ByteSource
    let limit: Int
    var pending = PendingBytes()
    private var chunk = [UInt8](repeating: 0, count: 16_384)

    init(_ source: ByteSource, limit: Int) {
        self.source = source
        self.limit = max(limit, 0)
    }

    var count: Int { pending.count }

    /// Waits for more; false at the end, or when the task was cancelled.
    nonisolated(nonsending) mutating func fill() async throws(IPCError) -> Bool {
        do throws(IPCError) {
            let count = try await source.read(into: &chunk)
            pending.append(chunk[..<count])
            return count > 0
        } catch {
            guard error.code == .cancelled else { throw error }
            return false
        }
    }

    /// Waits until so many bytes are there; false if the stream ends before the first of them.
    nonisolated(nonsending) mutating func fill(
        upTo wanted: Int, or what: String
    ) async throws(IPCError) -> Bool {
        while count < wanted {
            guard try await fill() else {
                if count == 0 || Task.isCancelled { return false }
                throw IPCError(.endOfFile, "read", source.name, advice: "the stream ended in the middle of \(what)")
            }
        }
        return true
    }
}

extension PipeReader {
    /// What comes out of the pipe, line by line.
    ///
    /// - Parameter limit: Bytes of the longest line.
    public borrowing func lines(limit: Int = 1 << 20) throws(IPCError) -> Lines {
        Lines(source: .pipe(Shared(try PipeReader(adopting: end.owned.duplicate()))), limit: limit)
    }

    /// What comes out of the pipe, frame by frame.
    ///
    /// - Parameter limit: Bytes of the longest frame.
    public borrowing func frames(limit: Int = 1 << 20) throws(IPCError) -> Frames {
        Frames(source: .pipe(Shared(try PipeReader(adopting: end.owned.duplicate()))), limit: limit)
    }
}

extension StreamSocket {
    /// What the peer writes, line by line.
    ///
    /// - Parameter limit: Bytes of the longest line.
    public borrowing func lines(limit: Int = 1 << 20) throws(IPCError) -> Lines {
        Lines(source: .socket(Shared(try StreamSocket(adopting: handle.owned.duplicate()))), limit: limit)
    }

    /// What the peer writes, frame by frame.
    ///
    /// - Parameter limit: Bytes of the longest frame.
    public borrowing func frames(limit: Int = 1 << 20) throws(IPCError) -> Frames {
        Frames(source: .socket(Shared(try StreamSocket(adopting: handle.owned.duplicate()))), limit: limit)
    }

    /// Writes a frame: its length in four bytes, the most significant one first, and its bytes.
    ///
    /// - Throws: As ``write(_:until:)``; ``IPCError/Code/messageTooLarge`` above 4 GiB.
    public nonisolated(nonsending) borrowing func write(
        frame: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let prefix = try Frames.prefix(frame.byteCount, handle.name)
        try await write(unsafe prefix.span.bytes, until: deadline)
        try await write(frame, until: deadline)
    }
}

extension PipeWriter {
    /// Writes a frame: its length in four bytes, the most significant one first, and its bytes.
    ///
    /// - Throws: As ``write(_:until:)``; ``IPCError/Code/messageTooLarge`` above 4 GiB.
    public nonisolated(nonsending) borrowing func write(
        frame: RawSpan, until deadline: Deadline = .never
    ) async throws(IPCError) {
        let prefix = try Frames.prefix(frame.byteCount, end.name)
        try await write(unsafe prefix.span.bytes, until: deadline)
        try await write(frame, until: deadline)
    }
}

extension Frames {
    fileprivate static func prefix(_ count: Int, _ resource: String) throws(IPCError) -> [UInt8] {
        guard let length = UInt32(exactly: count) else { throw .overLimit(Int(UInt32.max), resource, 0) }
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
    }
}
