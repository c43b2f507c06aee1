import IPC

/// A value to be printed as JSON: small, in the order given, and without Foundation, whose start costs milliseconds.
indirect enum JSON {
    case object([(String, JSON)])
    case array([JSON])
    case string(String)
    case number(Double)
    case integer(Int)
    case bool(Bool)
    case null
    /// What is JSON already, on one line.
    case written(String)

    var text: String {
        switch self {
        case .object(let members): "{" + members.map { $0.quotedForJSON + ":" + $1.text }.joined(separator: ",") + "}"
        case .array(let elements): "[" + elements.map(\.text).joined(separator: ",") + "]"
        case .string(let string): string.quotedForJSON
        case .number(let number): number.isFinite ? "\(number)" : "null"
        case .integer(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .null: "null"
        case .written(let text): text
        }
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByNilLiteral
{
    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int) { self = .integer(value) }
    init(booleanLiteral value: Bool) { self = .bool(value) }
    init(nilLiteral: ()) { self = .null }
}

extension JSON {
    init(_ string: String?) { self = string.map { .string($0) } ?? .null }
    init(_ number: Int?) { self = number.map { .integer($0) } ?? .null }
    /// Of a number that another process has stored: at most what an `Int` can say.
    init(clamping number: UInt64) { self = .integer(Int(clamping: number)) }
}
