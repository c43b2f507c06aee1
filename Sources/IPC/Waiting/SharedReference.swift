/// Something that cannot be copied, such as a socket, held by whoever needs it: it ends with the last who does.
///
/// For elements of a sequence, and for tasks that use one thing together.
public final class SharedReference<Value: ~Copyable & Sendable>: Sendable {
    public let value: Value
    public init(_ value: consuming Value) { self.value = value }
}
