import ArgumentParser

/// Numbers on the command line, as what they mean: an option that is out of its range is an error that names the range.
///
/// They are decimal digits, with a fraction where that makes sense, and nothing else: Swift's own parsers also take `0x10`, `1e3`, `nan`,
/// and `+5`, which is mostly a mistake, or another tool's idea of a number.
enum Numbers {
    /// How many: 0 or more.
    static let count: @Sendable (String) throws -> Int = whole(0 ... .max)
    /// How many at a time: 1 or more.
    static let positive: @Sendable (String) throws -> Int = whole(1 ... .max)

    /// A time in seconds: 0 to a year.
    static let seconds: @Sendable (String) throws -> Duration = { text in
        guard let seconds = decimal(text), seconds <= 366 * 86_400 else {
            throw ValidationError("expected a number of seconds from 0 to a year, such as 1.5.")
        }
        return duration(seconds)
    }

    /// A whole number in a range that does not begin below 0.
    static func whole<Number: FixedWidthInteger & Sendable>(
        _ range: ClosedRange<Number>
    ) -> @Sendable (String) throws -> Number {
        { text in
            guard let number = digits(text, as: Number.self), range.contains(number) else {
                throw ValidationError("expected a number from \(range.lowerBound) to \(range.upperBound).")
            }
            return number
        }
    }

    /// A whole number of either sign, such as `-5`.
    static let signed: @Sendable (String) throws -> Int = { text in
        let isNegative = text.hasPrefix("-")
        guard digits(isNegative ? String(text.dropFirst()) : text, as: UInt64.self) != nil, let number = Int(text)
        else {
            throw ValidationError("expected a number from \(Int.min) to \(Int.max).")
        }
        return number
    }

    /// A number with or without a fraction, which may be all that is given.
    static func decimal(_ what: String, _ range: some RangeExpression<Double> & Sendable)
        -> @Sendable (String) throws -> Double
    {
        { text in
            guard let number = decimal(text), range.contains(number) else {
                throw ValidationError("expected \(what).")
            }
            return number
        }
    }

    /// Decimal digits and nothing else; nil for what is none, or too large.
    static func digits<Number: FixedWidthInteger>(_ text: some StringProtocol, as type: Number.Type) -> Number? {
        guard isDigits(text.utf8) else { return nil }
        return Number(text)
    }

    /// Decimal digits, with or without a fraction; both sides of the point have some. Nil for what is none.
    static func decimal(_ text: String) -> Double? {
        let parts = text.utf8.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.allSatisfy({ isDigits($0) }), let number = Double(text), number.isFinite else { return nil }
        return number
    }

    /// Rounded: 4.35 times 1e9 is a little less than its digits say.
    static func duration(_ seconds: Double) -> Duration { .nanoseconds(Int64((seconds * 1e9).rounded())) }

    private static func isDigits(_ text: some Collection<UInt8>) -> Bool {
        !text.isEmpty && text.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    /// Permissions as for `chmod`: octal digits up to 777.
    static func permissions(_ text: String) -> UInt32? {
        guard isDigits(text.utf8), let number = UInt32(text, radix: 8), number <= 0o777 else { return nil }
        return number
    }
}
