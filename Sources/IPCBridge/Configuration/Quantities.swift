#if NATS
    /// Times and sizes in a configuration: a number of seconds or of bytes, or a text with a unit.
    enum Quantities {
        private static let durations: [(String, Double)] = [
            ("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400),
        ]
        private static let sizes: [(String, Int)] = [
            ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
        ]

        /// `1.5`, `1ms`, `30s`, `1h`: up to ten years. Nil for anything else.
        static func duration(_ text: String) -> Duration? {
            let (number, unit) = parts(text)
            guard let factor = unit.isEmpty ? 1 : durations.first(where: { $0.0 == unit })?.1,
                let seconds = decimal(number).map({ $0 * factor }), seconds <= 3660 * 86_400
            else { return nil }
            return .nanoseconds(Int64((seconds * 1e9).rounded()))
        }

        /// `65536`, `64KiB`, `1GiB`. Nil for anything else.
        static func byteCount(_ text: String) -> Int? {
            let (number, unit) = parts(text)
            guard let factor = unit.isEmpty ? 1 : sizes.first(where: { $0.0 == unit })?.1, let count = whole(number)
            else {
                return nil
            }
            let (product, overflows) = count.multipliedReportingOverflow(by: factor)
            return overflows ? nil : product
        }

        /// Decimal digits and nothing else.
        static func whole(_ text: String) -> Int? {
            guard !text.isEmpty, text.utf8.allSatisfy(isDigit) else { return nil }
            return Int(text)
        }

        private static func decimal(_ text: String) -> Double? {
            let sides = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
            guard sides.allSatisfy({ !$0.isEmpty && $0.utf8.allSatisfy(isDigit) }) else { return nil }
            return Double(text)
        }

        private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

        private static func parts(_ text: String) -> (number: String, unit: String) {
            let unit = text.drop { $0.isASCII && ($0.isWholeNumber || $0 == ".") }
            return (String(text[..<unit.startIndex]), String(unit))
        }

        /// A time of RFC 3339 in UTC, such as `2026-11-30T12:00:00Z`, with or without a fraction, in nanoseconds since 1970.
        static func time(_ text: String) -> Int64? {
            let bytes = Array(text.utf8)
            guard bytes.count >= 20, bytes.last == UInt8(ascii: "Z") else { return nil }
            func number(_ range: Range<Int>) -> Int? { whole(String(decoding: bytes[range], as: UTF8.self)) }
            let separators: [(Int, UInt8)] = [(4, 0x2d), (7, 0x2d), (10, 0x54), (13, 0x3a), (16, 0x3a)]
            guard separators.allSatisfy({ bytes[$0.0] == $0.1 }), let year = number(0..<4), let month = number(5..<7),
                let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16),
                let second = number(17..<19), (1970...2261).contains(year), (1...12).contains(month), hour < 24,
                minute < 60, second < 60, day >= 1, day <= days(in: month, of: year)
            else { return nil }
            var nanoseconds: Int64 = 0
            if bytes.count > 20 {
                guard bytes[19] == UInt8(ascii: "."), (22...30).contains(bytes.count),
                    let fraction = number(20..<bytes.count - 1)
                else { return nil }
                nanoseconds = (bytes.count - 1 - 20..<9).reduce(Int64(fraction)) { value, _ in value * 10 }
            }
            var date = 0
            for earlier in 1970..<year { date += isLeap(earlier) ? 366 : 365 }
            for earlier in 1..<month { date += days(in: earlier, of: year) }
            date += day - 1
            return Int64(((date * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000 + nanoseconds
        }

        private static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

        private static func days(in month: Int, of year: Int) -> Int {
            switch month {
            case 2: isLeap(year) ? 29 : 28
            case 4, 6, 9, 11: 30
            default: 31
            }
        }
    }
#endif
