/// The header of a frame but for its stamp, loaded once: what another process may write is checked on the copy.
@usableFromInline
struct FrameHeader: Sendable {
    @usableFromInline let length: UInt32
    @usableFromInline let kind: UInt32
    @usableFromInline let sequence: UInt64
    @usableFromInline let writer: UInt32
    @usableFromInline let units: UInt32

    @inlinable @inline(__always)
    init(length: UInt32, kind: UInt32, sequence: UInt64, writer: UInt32, units: UInt32) {
        self.length = length
        self.kind = kind
        self.sequence = sequence
        self.writer = writer
        self.units = units
    }

    @inlinable @inline(__always)
    init(_ frame: UnsafeMutableRawPointer) {
        // Two words each: length and kind, writer and units.
        let first = unsafe SharedWord(frame + LogLayout.Frame.length).relaxed
        let second = unsafe SharedWord(frame + LogLayout.Frame.writer).relaxed
        length = UInt32(truncatingIfNeeded: first)
        kind = UInt32(truncatingIfNeeded: first >> 32)
        sequence = unsafe SharedWord(frame + LogLayout.Frame.sequence).relaxed
        writer = UInt32(truncatingIfNeeded: second)
        units = UInt32(truncatingIfNeeded: second >> 32)
    }

    @inlinable @inline(__always)
    func store(at frame: UnsafeMutableRawPointer) {
        unsafe SharedWord(frame + LogLayout.Frame.length).relaxed = UInt64(length) | UInt64(kind) << 32
        unsafe SharedWord(frame + LogLayout.Frame.sequence).relaxed = sequence
        unsafe SharedWord(frame + LogLayout.Frame.writer).relaxed = UInt64(writer) | UInt64(units) << 32
    }

    /// Bytes of the frame.
    @inlinable @inline(__always)
    var size: UInt64 { UInt64(units) &* UInt64(LogLayout.Frame.alignment) }

    /// Whether a reader may use it: nothing leads outside of what a frame may take of the log.
    ///
    /// - Parameter maximum: ``ChannelMemory/maximumFrame``.
    @inlinable @inline(__always)
    func isValid(upTo maximum: UInt64) -> Bool {
        // A skipped frame may lead past what is set aside, as much as that is.
        UInt64(length) &+ UInt64(LogLayout.Frame.headerSize) <= size
            && (size <= maximum || kind == LogLayout.Kind.skipped && size <= 2 &* maximum)
    }

    /// Whether it is no message, or one that is long enough to be work. A shorter one is of a peer that is not of this library.
    var hasWorkOrNone: Bool { kind != LogLayout.Kind.message || length >= UInt32(Work.prefixSize) }

    /// That of a frame which is passed over.
    var skipped: FrameHeader {
        @inline(never) get {
            FrameHeader(length: length, kind: LogLayout.Kind.skipped, sequence: sequence, writer: writer, units: units)
        }
    }

    /// The header of a copy of the message.
    var withoutFrame: FrameHeader {
        FrameHeader(length: length, kind: kind, sequence: sequence, writer: writer, units: 0)
    }
}
