/// What a participant has, for another thread or task to finish.
public final class Handed<Value: ~Copyable>: @unchecked Sendable {
    // `@unchecked`: handed over, and taken once.
    private var value: Value?
    public init(_ value: consuming Value) { self.value = consume value }
    public func take() -> Value? { value.take() }
}

/// What cannot be copied, for arrays and for tasks.
public final class Held<Value: ~Copyable & Sendable>: Sendable {
    public let value: Value
    public init(_ value: consuming Value) { self.value = value }
}
