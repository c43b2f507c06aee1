public import IPC

/// At most `capacity` elements, stored in place, so that they can be a field of a message.
///
/// ```swift
/// struct Route: BitwiseCopyable { var stops: InlineList<UInt32, 16> }
/// var route = Route(stops: [4, 8, 15])
/// try route.stops.append(16)
/// for stop in route.stops { print(stop) }
/// ```
///
/// In other languages it is a `uint32_t` with the count and an array. A count from shared memory that is beyond the capacity, or an
/// element that is no value of its type, is the error ``/IPC/IPCError/Code/corrupted``.
public struct InlineList<Element: BitwiseCopyable, let capacity: Int>: BitwiseCopyable {
    private var used: UInt32
    private var elements: [capacity of Element]

    /// The empty list.
    public init() {
        // In every type that a message may have, zero bytes are a value.
        self = unsafe withUnsafeTemporaryAllocation(
            byteCount: MemoryLayout<Self>.size, alignment: MemoryLayout<Self>.alignment
        ) { bytes in
            let place = bytes.baseAddress!  // a count takes four bytes at least
            unsafe place.initializeMemory(as: UInt8.self, repeating: 0, count: bytes.count)
            return unsafe place.load(as: Self.self)
        }
    }

    /// - Throws: ``/IPC/IPCError/Code/limitReached`` if there are more than `capacity` elements.
    public init(_ elements: some Sequence<Element>) throws(IPCError) {
        self.init()
        for element in elements { try append(element) }
    }

    /// - Throws: ``/IPC/IPCError/Code/limitReached`` if the list is full.
    public mutating func append(_ element: Element) throws(IPCError) {
        guard count < capacity else {
            throw IPCError(
                .limitReached, "append", "InlineList<\(Element.self), \(capacity)>",
                advice: "there is room for \(capacity) elements; use a larger capacity, or send another message")
        }
        elements[count] = element
        used += 1
    }

    public mutating func removeAll() { used = 0 }
}

extension InlineList: RandomAccessCollection, MutableCollection {
    public var startIndex: Int { 0 }
    public var endIndex: Int { Swift.min(Int(used), capacity) }

    /// - Precondition: The index is less than `count`.
    public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < endIndex, "the index is out of range")
            return elements[index]
        }
        set {
            precondition(index >= 0 && index < endIndex, "the index is out of range")
            elements[index] = newValue
        }
    }
}

extension InlineList: ExpressibleByArrayLiteral {
    /// - Precondition: The literal has at most `capacity` elements.
    public init(arrayLiteral elements: Element...) {
        precondition(elements.count <= capacity, "the literal has more than \(capacity) elements")
        self.init()
        for (index, element) in elements.enumerated() { self.elements[index] = element }
        used = UInt32(elements.count)
    }
}

extension InlineList: Sendable where Element: Sendable {}

extension InlineList: Equatable where Element: Equatable {
    public static func == (one: InlineList, other: InlineList) -> Bool { one.elementsEqual(other) }
}

extension InlineList: Hashable where Element: Hashable {
    public func hash(into hasher: inout Hasher) {
        hasher.combine(count)
        for element in self { hasher.combine(element) }
    }
}

extension InlineList: CustomStringConvertible {
    public var description: String { "\(Array(self))" }
}

extension InlineList: SelfDescribingMessagePart {
    static func schema(_ schema: (Any.Type) throws(IPCError) -> MessageSchema) throws(IPCError) -> MessageSchema {
        .list(capacity: capacity, of: try schema(Element.self))
    }
}
