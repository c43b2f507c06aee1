/// Something that cannot be copied, on its way to the task that takes it.
package final class Handover<Value: ~Copyable & Sendable>: @unchecked Sendable {
    // `@unchecked`: it is taken once, by a task that starts after it was put here.
    private var value: Value?
    package init(_ value: consuming Value) { self.value = consume value }
    package func take() -> Value { value.take()! }
}
