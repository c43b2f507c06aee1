#if NATS
    import Glibc

    /// A machine among those that bridges connect: its name, and the number that stands for it in messages.
    public struct Machine: Hashable, Sendable, CustomStringConvertible {
        /// 1 to 64 letters, digits, `-`, `_` and `.`, without a dot at the beginning.
        public let name: String
        /// FNV-1a of the name, 64 bits. It travels with each message.
        public let hash: UInt64

        /// - Parameter name: Nil if it is not the name of a machine.
        public init?(_ name: String) {
            guard (1...64).contains(name.utf8.count), name.first != ".", name.utf8.allSatisfy(Self.isAllowed) else {
                return nil
            }
            self.name = name
            hash = Self.hash(name)
        }

        /// This host, by its host name. What a name cannot contain becomes `-`.
        static var host: Machine? {
            var bytes = [CChar](repeating: 0, count: 256)
            guard gethostname(&bytes, bytes.count - 1) == 0 else { return nil }
            let name = bytes.prefix { $0 != 0 }.prefix(64).map { UInt8(bitPattern: $0) }
            return Machine(String(decoding: name.map { isAllowed($0) ? $0 : UInt8(ascii: "-") }, as: UTF8.self))
        }

        public var description: String { name }

        static func isAllowed(_ byte: UInt8) -> Bool {
            isInPrefix(byte) || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".")
        }

        /// Whether the byte is a letter, a digit or `_`.
        static func isInPrefix(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        }

        /// FNV-1a.
        static func hash(_ text: String) -> UInt64 {
            text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        }
    }
#endif
