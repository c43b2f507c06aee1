public import IPC

/// Text of at most `capacity` bytes of UTF-8, stored in place, so that it can be a field of a message.
///
/// ```swift
/// struct Order: BitwiseCopyable { var customer: InlineString<32>; var cents: Int64 }
/// let order = Order(customer: "Ada Lovelace", cents: 1250)
/// let line = readLine() ?? ""
/// let other = Order(customer: try InlineString(line), cents: 900)  // an error if it is too long
/// ```
///
/// In other languages it is a `uint32_t` with the length and an array of bytes. Text from shared memory is checked before it becomes a
/// value: a length beyond the capacity, or bytes that are not UTF-8, are the error ``/IPC/IPCError/Code/corrupted``.
public struct InlineString<let capacity: Int>: BitwiseCopyable, Sendable {
    private var length: UInt32
    private var bytes: [capacity of UInt8]

    /// The empty text.
    public init() {
        length = 0
        bytes = [capacity of UInt8](repeating: 0)
    }

    /// - Throws: ``/IPC/IPCError/Code/messageTooLarge`` if the text has more than `capacity` bytes of UTF-8.
    public init(_ text: some StringProtocol) throws(IPCError) {
        let count = text.utf8.count
        guard count <= capacity else {
            throw IPCError(
                .messageTooLarge, "store text", "InlineString<\(capacity)>",
                advice:
                    "the text has \(count) bytes, and there is room for \(capacity); shorten it (init(truncating:)), or use a larger capacity"
            )
        }
        self.init(checked: text.utf8)
    }

    /// Stores as much of the text as there is room for, without cutting a character in two.
    public init(truncating text: some StringProtocol) {
        var count = 0
        var end = text.startIndex
        for index in text.indices {
            let next = text.index(after: index)
            count += text[index..<next].utf8.count
            guard count <= capacity else { break }
            end = next
        }
        self.init(checked: text[..<end].utf8)
    }

    private init(checked utf8: some Collection<UInt8>) {
        self.init()
        for (index, byte) in utf8.enumerated() { bytes[index] = byte }
        length = UInt32(utf8.count)
    }

    /// The text. Copies it.
    public var string: String {
        String(decoding: (0..<utf8Count).map { bytes[$0] }, as: UTF8.self)
    }

    /// The number of bytes of UTF-8.
    public var utf8Count: Int { min(Int(length), capacity) }

    public var isEmpty: Bool { length == 0 }
}

extension InlineString: Hashable {
    public static func == (one: InlineString, other: InlineString) -> Bool {
        one.utf8Count == other.utf8Count && (0..<one.utf8Count).allSatisfy { one.bytes[$0] == other.bytes[$0] }
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(utf8Count)
        for index in 0..<utf8Count { hasher.combine(bytes[index]) }
    }
}

extension InlineString: CustomStringConvertible {
    public var description: String { string }
}

extension InlineString: ExpressibleByStringLiteral {
    /// - Precondition: The literal has at most `capacity` bytes of UTF-8.
    public init(stringLiteral text: String) {
        precondition(text.utf8.count <= capacity, "the literal has more than \(capacity) bytes")
        self.init(checked: text.utf8)
    }
}

extension InlineString: SelfDescribingMessagePart {
    static func schema(_ schema: (Any.Type) throws(IPCError) -> MessageSchema) throws(IPCError) -> MessageSchema {
        .text(capacity: capacity)
    }
}
