import IPCChannels

extension JSONValue {
    init(_ string: String?) { self = string.map { .string($0) } ?? .null }
    init(_ number: Int?) { self = number.map { .integer($0) } ?? .null }

    /// Null for what no number of JSON is.
    static func decimal(_ number: Double) -> JSONValue { number.isFinite ? .number("\(number)") : .null }
}
