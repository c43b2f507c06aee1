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
        var buffer: StreamBuffer

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

extension Frames {
    static func prefix(_ count: Int, _ resource: String) throws(IPCError) -> [UInt8] {
        guard let length = UInt32(exactly: count) else { throw .overLimit(Int(UInt32.max), resource, 0) }
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
    }
}
