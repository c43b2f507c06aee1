import Foundation
import Glibc
import IPC
import IPCChannels
import SystemPackage
import TestSupport
import Testing

@testable import IPCTool

/// The command's parsers and printers, with texts that were made up by chance: none traps, what is accepted is what was meant, and what
/// is printed is read back as it was. `IPC_FUZZ_SEED` for other texts.
@Suite(.timeLimit(.minutes(15))) struct ArgumentPropertyTests {
    private static let seed = getenv("IPC_FUZZ_SEED").flatMap { UInt64(String(cString: $0)) } ?? 41
    private static let pieces = [
        "0", "1", "9", "-", "+", ".", "..", "e", "E", "x", "0x", "p", "_", " ", "\n", "nan", "inf", "infinity", "none",
        "next", "oldest", "last:", "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e300",
        "1e-300",
        "777", "0600", "8", "é", "\u{0}", "\u{1b}[31m", "\u{301}", "٣", "\u{fffd}", "\u{10ffff}", "\t", "\r", "\"",
        "\\",
    ]

    /// Runs `body` with texts of few pieces until a second is over, or there were enough.
    private func forEachText(_ stream: UInt64, _ body: (String, inout Seeded) throws -> Void) rethrows {
        var chance = Seeded(Self.seed, stream)
        let end = Deadline.after(.seconds(2))
        for _ in 0..<20_000 where !end.hasPassed {
            let text = (0..<chance.number(0...5)).map { _ in chance.pick(Self.pieces) }.joined()
            try body(text, &chance)
        }
    }

    @Test func aTimeIsWhatItsDigitsSay() throws {
        var chance = Seeded(Self.seed, 1)
        for _ in 0..<20_000 {
            let nanoseconds = Int64.random(
                in: 0...(chance.chance(50) ? 5_000_000_000 : 366 * 86_400 * 1_000_000), using: &chance)
            let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
            let fraction = String(String(rest + 1_000_000_000).dropFirst())
            #expect(try Numbers.seconds("\(whole).\(fraction)") == .nanoseconds(nanoseconds))
        }
        #expect(try Numbers.seconds("31622400") == .seconds(366 * 86_400))
        var accepted = 0
        forEachText(2) { text, _ in
            guard let time = try? Numbers.seconds(text) else { return }
            accepted += 1
            #expect(time >= .zero && time <= .seconds(366 * 86_400), "\(text.debugDescription)")
            // What it says is a number.
            #expect(Double(text) != nil && text.utf8.allSatisfy { (48...57).contains($0) || $0 == 46 }, "\(text)")
        }
        #expect(accepted > 100)
    }

    @Test func aBackoffIsOneTimeOrTwo() {
        var accepted = 0
        forEachText(3) { text, _ in
            guard let backoff = try? QueueCreationOptions.backoff(text) else { return }
            accepted += 1
            switch backoff {
            case .none: #expect(text == "none")
            case .fixed(let time): #expect((try? Numbers.seconds(text)) == time)
            case .exponential(let first, let limit):
                let parts = text.components(separatedBy: "..")
                #expect(parts.count == 2 && (try? Numbers.seconds(parts[0])) == first)
                #expect(parts.count == 2 && (try? Numbers.seconds(parts[1])) == limit)
            }
        }
        #expect(accepted > 100)
    }

    @Test func numbersAreWithinTheirRange() throws {
        forEachText(4) { text, _ in
            if let number = try? Numbers.count(text) { #expect(number >= 0 && Int(text) == number) }
            if let number = try? Numbers.positive(text) { #expect(number >= 1 && Int(text) == number) }
            if let number = try? Numbers.signed(text) { #expect(Int(text) == number && !text.contains("+")) }
        }
        var chance = Seeded(Self.seed, 5)
        for _ in 0..<2000 {
            let number = Int.random(in: 0 ... .max, using: &chance) >> chance.number(0...62)
            #expect(try Numbers.count("\(number)") == number)
        }
        for text in ["-1", "9223372036854775808", ""] {
            #expect(throws: (any Error).self) { try Numbers.count(text) }
        }
    }

    @Test func permissionsAndStartsAreReadBackAsTheyArePrinted() {
        for mode in 0...0o777 as ClosedRange<CModeT> {
            let printed = PermissionsArgument(value: FilePermissions(rawValue: mode)).description
            #expect(PermissionsArgument(argument: printed)?.value.rawValue == mode)
        }
        forEachText(6) { text, _ in
            if let mode = PermissionsArgument(argument: text) { #expect(mode.value.rawValue <= 0o777) }
            if let start = StartArgument(argument: text) { #expect(start.description == text) }
        }
    }

    @Test func sizesOfAllKindsAreShown() {
        var chance = Seeded(Self.seed, 7)
        for number in [Int.min, .min + 1, -1, 0, 1023, 1024, .max - 1, .max] { #expect(!Table.size(number).isEmpty) }
        for _ in 0..<5000 {
            let bytes = Int.random(in: .min ... .max, using: &chance) >> chance.number(0...63)
            let words = Table.size(bytes).split(separator: " ")
            let units = ["B": 1.0, "KiB": 1024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776]
            guard words.count == 2, let value = Double(words[0]), let unit = units[String(words[1])] else {
                Issue.record("\(bytes): \(words)")
                continue
            }
            // To a tenth of the unit.
            #expect(
                abs(value * unit - Double(bytes)) <= 0.051 * unit + abs(Double(bytes)) * 1e-12, "\(bytes): \(words)")
        }
    }

    @Test func hexadecimalDigitsAreReadBack() throws {
        var chance = Seeded(Self.seed, 8)
        for _ in 0..<5000 {
            let bytes = (0..<chance.number(0...20)).map { _ in UInt8(chance.number(0...255)) }
            #expect(try Hex.bytes(Array(bytes.hexadecimal.utf8)) == bytes)
        }
        forEachText(9) { text, _ in
            guard let bytes = try? Hex.bytes(Array(text.utf8)) else { return }
            #expect(text.filter(\.isHexDigit).count == 2 * bytes.count)
        }
    }

    /// Any value.
    private func value(_ chance: inout Seeded, _ depth: Int) -> JSONValue {
        func text(_ chance: inout Seeded) -> String {
            var text = ""
            for _ in 0..<chance.number(0...4) {
                if chance.chance(50) {
                    text += chance.pick(Self.pieces)
                } else if let scalar = Unicode.Scalar(UInt32(chance.number(0...0x10ffff))) {
                    text.unicodeScalars.append(scalar)
                }
            }
            return text
        }
        switch chance.number(0...(depth > 3 ? 4 : 6)) {
        case 0: return .string(text(&chance))
        case 1: return .decimal(Double(bitPattern: UInt64.random(in: 0 ... .max, using: &chance)))
        case 2: return .integer(Int.random(in: .min ... .max, using: &chance) >> chance.number(0...63))
        case 3: return .bool(chance.chance(50))
        case 4: return .null
        case 5: return .array((0..<chance.number(0...4)).map { _ in value(&chance, depth + 1) })
        default:
            let keys = Set((0..<chance.number(0...4)).map { _ in text(&chance) })
            return .members(keys.sorted().map { ($0, value(&chance, depth + 1)) })
        }
    }

    /// The same, as Foundation read it.
    private func isSame(_ value: JSONValue, _ read: Any) -> Bool {
        switch value {
        case .string(let text):
            return (read as? String).map { Array($0.unicodeScalars) == Array(text.unicodeScalars) } ?? false
        case .number(let digits):
            if let number = Int64(digits) { return (read as? NSNumber)?.int64Value == number }
            guard let number = Double(digits) else { return false }
            // Foundation reads decimal digits by way of its own kind of number, which is a little off.
            let found = (read as? NSNumber)?.doubleValue ?? .nan
            return abs(found - number) <= abs(number) * 1e-14
        case .bool(let flag): return (read as? NSNumber)?.boolValue == flag
        case .null: return read is NSNull
        case .array(let elements):
            guard let all = read as? [Any], all.count == elements.count else { return false }
            return zip(elements, all).allSatisfy { isSame($0, $1) }
        case .object(let members):
            guard let all = read as? [String: Any] else { return false }
            // Keys that are the same text in other scalars are one in Foundation's dictionary.
            return members.allSatisfy { member in all[member.key].map { isSame(member.value, $0) } ?? false }
                || Set(members.map(\.key)).count != members.count
        }
    }

    @Test func whatIsPrintedAsJSONIsReadBack() throws {
        var chance = Seeded(Self.seed, 10)
        let end = Deadline.after(.seconds(20))
        for _ in 0..<5000 where !end.hasPassed {
            let value = value(&chance, 0)
            let text = value.text
            #expect(!text.unicodeScalars.contains { $0.isControl }, "\(text.debugDescription)")
            let read = try JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed)
            #expect(isSame(value, read), "\(text)")
        }
    }

    /// However it comes in pieces, it is cut where a look at the whole would cut it.
    @Test func inputIsCutTheSameInPieces() throws {
        var chance = Seeded(Self.seed, 11)
        for round in 0..<3000 {
            let framing = [Framing.lines, .hex, .lengthPrefixed, .whole][round % 4]
            let messages = (0..<chance.number(0...5)).map { _ in
                (0..<chance.number(0...9)).map { _ in UInt8(chance.number(11...255)) }
            }
            var bytes: [UInt8] = []
            for message in messages {
                switch framing {
                case .lines: bytes += message + [10]
                case .hex: bytes += Array((message.hexadecimal + "\n").utf8)
                case .lengthPrefixed: bytes += [0, 0, 0, UInt8(message.count)] + message
                case .whole: bytes += message
                }
            }
            let expected = framing == .whole ? [messages.flatMap { $0 }] : messages
            var (input, cut) = (MessageInput(framing), [[UInt8]]())
            func takeAll() throws { while let message = try input.cut() { cut.append(message) } }
            var rest = bytes[...]
            while !rest.isEmpty {
                let piece = rest.prefix(chance.number(1...7))
                rest = rest.dropFirst(piece.count)
                input.append(Array(piece))
                if chance.chance(70) { try takeAll() }
            }
            input.append([])
            try takeAll()
            #expect(cut == expected, "\(framing) \(bytes)")
        }
    }
}
