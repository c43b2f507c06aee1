/// The header of a frame without its stamp, loaded once: what another process may change is checked on the copy.
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
        // Two 32-bit fields in each word: length and kind, writer and units.
        let first = unsafe SharedUInt64(frame + LogLayout.Frame.length).relaxed
        let second = unsafe SharedUInt64(frame + LogLayout.Frame.writer).relaxed
        length = UInt32(truncatingIfNeeded: first)
        kind = UInt32(truncatingIfNeeded: first >> 32)
        sequence = unsafe SharedUInt64(frame + LogLayout.Frame.sequence).relaxed
        writer = UInt32(truncatingIfNeeded: second)
        units = UInt32(truncatingIfNeeded: second >> 32)
    }

    @inlinable @inline(__always)
    func store(at frame: UnsafeMutableRawPointer) {
        unsafe SharedUInt64(frame + LogLayout.Frame.length).relaxed = UInt64(length) | UInt64(kind) << 32
        unsafe SharedUInt64(frame + LogLayout.Frame.sequence).relaxed = sequence
        unsafe SharedUInt64(frame + LogLayout.Frame.writer).relaxed = UInt64(writer) | UInt64(units) << 32
    }

    /// The size of the frame in bytes.
    @inlinable @inline(__always)
    var size: UInt64 { UInt64(units) &* UInt64(LogLayout.Frame.alignment) }

    /// Whether a reader may use it: its sizes stay within what a frame may take of the log.
    ///
    /// - Parameter maximum: ``ChannelMemory/maximumFrame``.
    @inlinable @inline(__always)
    func isValid(upTo maximum: UInt64) -> Bool {
        // A skipped frame may also cover what is set aside, so it may be twice as large.
        UInt64(length) &+ UInt64(LogLayout.Frame.headerSize) <= size
            && (size <= maximum || kind == LogLayout.Kind.skipped && size <= 2 &* maximum)
    }

    /// Whether it is a message, with an origin or without.
    @inlinable @inline(__always)
    var isMessage: Bool { LogLayout.Kind.isMessage(kind) }

    /// How many messages of another machine the frame says that were lost; 0 for one that says nothing of it.
    ///
    /// - Parameter frame: Where the header is from.
    func lostCount(_ frame: UnsafeMutableRawPointer) -> UInt64 {
        guard kind == LogLayout.Kind.lost, length >= 8 else { return 0 }
        return unsafe SharedUInt64(frame + LogLayout.Frame.headerSize).relaxed
    }

    var hasOrigin: Bool { kind == LogLayout.Kind.messageWithOrigin }

    /// Whether it is no message, or one that is long enough to be work. A shorter one was stored by a peer that does not use this
    /// library.
    var hasWorkOrNone: Bool { !isMessage || length >= UInt32(LogLayout.Frame.workPrefixSize) }

    /// The same header for a skipped frame.
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
