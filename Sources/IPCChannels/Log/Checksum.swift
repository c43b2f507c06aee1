import CIPCShims

/// The checksum of a frame in a durable log: CRC-32C of its stamp, header, payload and origin, in its last eight bytes. For a skipped frame
/// it covers only the stamp and the header, and follows the header: the other bytes may belong to a message that is set aside.
enum Checksum {
    /// Writes the checksum, before the frame is committed.
    ///
    /// - Parameter header: The header as it was stored: in the log a peer may have overwritten it by now.
    static func seal(
        _ frame: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, _ memory: ChannelMemory
    ) {
        unsafe place(frame, header).relaxed = of(frame, header, at: position, memory)
    }

    /// Whether a frame is as it was written. Requires that the header is valid and has room for the checksum.
    static func matches(
        _ frame: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, _ memory: ChannelMemory
    ) -> Bool {
        unsafe place(frame, header).relaxed == of(frame, header, at: position, memory)
    }

    private static func place(_ frame: UnsafeMutableRawPointer, _ header: FrameHeader) -> SharedUInt64 {
        guard header.kind != LogLayout.Kind.skipped else {
            return unsafe SharedUInt64(frame + LogLayout.Frame.headerSize)
        }
        let size = Int(header.units) * LogLayout.Frame.alignment
        return unsafe SharedUInt64(frame + size - LogLayout.Frame.checksumSize)
    }

    private static func of(
        _ frame: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, _ memory: ChannelMemory
    ) -> UInt64 {
        var stamp = position ^ memory.key
        var crc = unsafe ipc_crc32c(0, &stamp, 8)
        unsafe crc = ipc_crc32c(crc, frame + 8, LogLayout.Frame.headerSize - 8)
        guard header.kind != LogLayout.Kind.skipped else { return UInt64(crc) }
        // The state of work changes after the commit, so it is left out.
        let skipped = memory.carriesWork ? min(LogLayout.Frame.workPrefixSize, Int(header.length)) : 0
        unsafe crc = ipc_crc32c(
            crc, frame + LogLayout.Frame.headerSize + skipped, Int(header.length) - skipped)
        if let place = header.originPlace(trailerSize: memory.trailerSize) {
            unsafe crc = ipc_crc32c(crc, frame + place, LogLayout.Frame.originSize)
        }
        return UInt64(crc)
    }
}
