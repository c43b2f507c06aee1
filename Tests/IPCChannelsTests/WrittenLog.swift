import IPC
import SystemPackage

@testable import IPCChannels

extension TypeValidationTests {
    /// A channel's log, as another participant may write to it.
    struct Log: ~Copyable {
        private let mapping: MemoryMapping

        init(_ name: ChannelName) throws {
            let path = ChannelRoot.current.folder(name) + "/log"
            mapping = try MappedFile.open(FilePath(path), access: .readWrite).map()
        }

        /// Writes bytes into all messages that begin with the mark.
        func write(_ bytes: [UInt8], at offset: Int) {
            // Payloads begin at odd multiples of 32, requests and jobs 32 bytes later.
            for place in stride(from: 32, to: mapping.byteCount - 256, by: 32)
            where mapping.load(UInt64.self, at: place) == Order.mark {
                for (index, byte) in bytes.enumerated() { mapping.store(byte, at: place + offset + index) }
            }
        }
    }
}
