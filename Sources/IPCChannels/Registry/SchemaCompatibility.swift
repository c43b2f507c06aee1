/// How the schema of a topic, or of a latest value, may differ from that of a program's type, for rolling upgrades.
///
/// ```swift
/// // The new program publishes Quote { symbol, price, size }; this one knows two of the fields.
/// struct Quote: BitwiseCopyable { var symbol: UInt64, price: Double }
/// let topic = try Topic<Quote>.open("market/quotes", compatibility: .prefix)
/// print(try topic.additionalFields)  // ["size"]
/// ```
public enum SchemaCompatibility: Hashable, Sendable {
    /// Not at all.
    case exact
    /// The channel's structure begins with all fields of the program's, under the same names, at the same offsets and of the same
    /// kinds. The program may only read: whoever writes has to know all fields.
    case prefix
}
