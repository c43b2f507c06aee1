/// Numbers as people read them: three digits and a unit.
enum Quantity {
    static func size(_ bytes: Int) -> String {
        if bytes >= 1 << 20, bytes % (1 << 20) == 0 { return "\(bytes >> 20) MiB" }
        if bytes >= 1 << 10, bytes % (1 << 10) == 0 { return "\(bytes >> 10) KiB" }
        return "\(bytes) B"
    }

    static func time(_ nanoseconds: UInt64) -> String { scaled(Double(nanoseconds), 1000, ["ns", "µs", "ms", "s"]) }

    static func rate(_ perSecond: Double) -> String { scaled(perSecond, 1000, ["/s", "k/s", "M/s", "G/s"]) }

    static func bandwidth(_ bytesPerSecond: Double) -> String {
        scaled(bytesPerSecond, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"])
    }

    static func ratio(_ value: Double) -> String { fixed(value, 2) }
    static func ratio(_ ratio: PairedRatio) -> String { "\(fixed(ratio.value, 2)) ±\(fixed(ratio.margin, 2))" }

    private static func scaled(_ value: Double, _ step: Double, _ units: [String]) -> String {
        var value = value
        var unit = 0
        while value >= step, unit < units.count - 1 {
            value /= step
            unit += 1
        }
        return fixed(value, value >= 100 || unit == 0 ? 0 : value >= 10 ? 1 : 2) + " " + units[unit]
    }

    /// A number with so many digits after the point.
    static func fixed(_ value: Double, _ digits: Int) -> String {
        let scale = (0..<digits).reduce(1.0) { power, _ in power * 10 }
        let whole = Int((value.magnitude * scale).rounded())
        let sign = value < 0 && whole != 0 ? "-" : ""
        guard digits > 0 else { return sign + String(whole) }
        let fraction = String(whole % Int(scale))
        return sign + String(whole / Int(scale)) + "." + String(repeating: "0", count: digits - fraction.count)
            + fraction
    }
}
