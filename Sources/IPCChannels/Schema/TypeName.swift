/// A message type that says its name in the schema, by which programs in all languages know it. The name of other structures and
/// enumerations is that of the Swift type, without its module.
///
/// ```swift
/// struct QuoteV2: BitwiseCopyable, NamedMessage {
///     static var messageName: String { "Quote" }
///     var symbol: UInt64
/// }
/// ```
public protocol NamedMessage {
    static var messageName: String { get }
}

/// Names of Swift types that are the same in every process.
enum TypeName {
    /// The full name. For a private type, reflection inserts an address, which is removed here.
    static func full(_ type: Any.Type) -> String {
        let parts = String(reflecting: type).split(separator: "(unknown context at $", omittingEmptySubsequences: false)
        let name = parts.dropFirst().reduce(into: String(parts[0])) { name, part in
            name += part.drop { $0 != "." }.dropFirst()
        }
        return plain(name)
    }

    /// The type's own name, without those of what it is in; or the name that it says.
    static func short(_ type: Any.Type) -> String {
        (type as? any NamedMessage.Type)?.messageName ?? plain(String(describing: type))
    }

    /// A name as other languages have it. That of a raw identifier (SE-0451), such as `two words`, has backticks in Swift, and, in
    /// metadata, no-break spaces.
    static func plain(_ name: String) -> String {
        guard name.utf8.contains(UInt8(ascii: "`")) else { return name }
        var plain = String.UnicodeScalarView()
        for scalar in name.unicodeScalars where scalar != "`" { plain.append(scalar == "\u{a0}" ? " " : scalar) }
        return String(plain)
    }
}
