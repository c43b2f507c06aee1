import ArgumentParser

/// Numbers on the command line, as what they mean: an option that is out of its range is an error that names the range.
enum Numbers {
    /// How many: 0 or more.
    static let count: @Sendable (String) throws -> Int = { try number($0, 0 ... .max) }
    /// How many at a time: 1 or more.
    static let positive: @Sendable (String) throws -> Int = { try number($0, 1 ... .max) }

    /// A time in seconds: 0 to a year.
    static let seconds: @Sendable (String) throws -> Duration = { text in
        guard let seconds = Double(text), seconds >= 0, seconds <= 366 * 86_400 else {
            throw ValidationError("a number of seconds from 0 to a year is needed.")
        }
        // Rounded: 4.35 times 1e9 is a little less than its digits say.
        return .nanoseconds(Int64((seconds * 1e9).rounded()))
    }

    private static func number(_ text: String, _ range: ClosedRange<Int>) throws -> Int {
        guard let number = Int(text), range.contains(number) else {
            throw ValidationError("a number from \(range.lowerBound) to \(range.upperBound) is needed.")
        }
        return number
    }
}
