/// The name of a Unix socket that is not a file: up to 107 bytes, which need not be text.
///
/// Two names are the same if their bytes are.
public struct AbstractName: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The name, without the zero byte that the kernel keeps before it.
    public let bytes: [UInt8]

    /// A name of any bytes, zeros too. How many it may have is checked where it is used.
    public init(bytes: [UInt8]) { self.bytes = bytes }

    /// The name that has the bytes of a text, in UTF-8.
    public init(_ text: String) { self.init(bytes: Array(text.utf8)) }

    public init(stringLiteral text: String) { self.init(text) }

    /// The name as text for people: bytes that are not UTF-8 as `\xff`.
    public var description: String { escapingInvalidBytes(bytes) }
}
