#if NATS
    import CNATS
    import Synchronization

    /// Messages that nobody needs any more. Each one that the library is given back wakes a thread of it, which frees it: small ones are
    /// given back many at once.
    enum SpentMessages {
        private static let kept = Mutex<[UInt]>([])
        private static let most = 64
        /// Larger messages, in bytes, are not kept. Headers do not count: those of messages from elsewhere are not known.
        private static let largest = 4096

        static func give(_ message: OpaquePointer, _ byteCount: Int) {
            guard byteCount <= largest else { return natsMsg_Destroy(message) }
            let full = kept.withLock { kept -> [UInt] in
                kept.append(UInt(bitPattern: message))
                guard kept.count == most else { return [] }
                defer { kept.removeAll(keepingCapacity: true) }
                return kept
            }
            for message in full { natsMsg_Destroy(OpaquePointer(bitPattern: message)) }
        }
    }
#endif
