import CIPCShims

/// The checksum of a frame in a durable log: CRC-32C of its stamp, its header and its payload, in its last eight bytes. Of a skipped
/// frame, whose other bytes may be a message's that is set aside, it is that of stamp and header, after the header.
enum Checksum {
    /// Writes it, before the frame is committed.
    ///
    /// - Parameter header: As it was stored: what stands there by now may be another's rubbish.
    static func seal(
        _ frame: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, _ memory: ChannelMemory
    ) {
        unsafe place(frame, header).relaxed = of(frame, header, at: position, memory)
    }

    /// Whether a frame of these sizes is as it was written. The header is valid, and has room for the checksum.
    static func matches(
        _ frame: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, _ memory: ChannelMemory
    ) -> Bool {
        unsafe place(frame, header).relaxed == of(frame, header, at: position, memory)
    }

    private static func place(_ frame: UnsafeMutableRawPointer, _ header: FrameHeader) -> SharedWord {
        guard header.kind != LogLayout.Kind.skipped else {
            return unsafe SharedWord(frame + LogLayout.Frame.headerSize)
        }
        let size = Int(header.units) * LogLayout.Frame.alignment
        return unsafe SharedWord(frame + size - LogLayout.Frame.checksumSize)
    }

    private static func of(
        _ frame: UnsafeMutableRawPointer, _ header: FrameHeader, at position: UInt64, _ memory: ChannelMemory
    ) -> UInt64 {
        var stamp = position ^ memory.key
        var crc = unsafe ipc_crc32c(0, &stamp, 8)
        unsafe crc = ipc_crc32c(crc, frame + 8, LogLayout.Frame.headerSize - 8)
        guard header.kind != LogLayout.Kind.skipped else { return UInt64(crc) }
        // What becomes of work changes afterwards.
        let skipped = memory.carriesWork ? min(Work.prefixSize, Int(header.length)) : 0
        unsafe crc = ipc_crc32c(
            crc, frame + LogLayout.Frame.headerSize + skipped, Int(header.length) - skipped)
        return UInt64(crc)
    }
}
