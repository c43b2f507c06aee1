import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

@testable import IPCTool

/// Numbers are decimal digits, and what is none is refused: by each option that takes one.
@Suite(.timeLimit(.minutes(15))) struct NumberTests {
    /// `#` is the number; what comes before is enough for the rest to be right.
    private static let whole = [
        ["topic", "publish", "c", "x", "--capacity", "#"], ["topic", "subscribe", "c", "--count", "#"],
        ["topic", "subscribe", "c", "--from", "last:#"], ["queue", "push", "c", "x", "--attempts", "#"],
        ["queue", "work", "c", "--count", "#"], ["queue", "work", "c", "--concurrency", "#", "--", "cat"],
        ["latest", "watch", "c", "--count", "#"], ["event", "notify", "c", "--count", "#"],
        ["service", "call", "c", "x", "--reply-limit", "#"], ["service", "call", "c", "x", "--retries", "#"],
        ["service", "call", "c", "x", "--maximum-waiting", "#"],
        ["service", "serve", "c", "--concurrency", "#", "--", "cat"], ["tap", "c", "--count", "#"],
        ["top", "--count", "#"], ["serve-ui", "--port", "#"], ["record", "c", "-o", "/none", "--capacity", "#"],
        ["record", "c", "-o", "/none", "--count", "#"], ["shm", "create", "/none", "--size", "#"],
        ["shm", "read", "/none", "--offset", "#"], ["shm", "read", "/none", "--count", "#"],
        ["shm", "write", "/none", "--offset", "#"], ["shm", "resize", "/none", "--size", "#"],
        ["mmap", "write", "/none", "--offset", "#"], ["mq", "create", "/none", "--max-messages", "#"],
        ["mq", "create", "/none", "--message-size", "#"], ["mq", "send", "/none", "x", "--priority", "#"],
        ["mq", "receive", "/none", "--count", "#"], ["sem", "create", "/none", "--value", "#"],
        ["sem", "post", "/none", "--count", "#"], ["choose", "--size", "#"], ["choose", "--rate", "#"],
        ["bench", "--size", "#"], ["bench", "--count", "#"], ["bench", "--rate", "#"], ["bench", "--log", "#"],
        ["bench", "--seed", "#"],
    ]
    private static let fractions = [
        ["topic", "publish", "c", "x", "--timeout", "#"], ["queue", "push", "c", "x", "--delay", "#"],
        ["queue", "push", "c", "x", "--time-to-live", "#"], ["queue", "push", "c", "x", "--backoff", "#"],
        ["queue", "push", "c", "x", "--backoff", "0.1..#"], ["replay", "/none", "--speed", "#"],
        ["top", "--interval", "#"], ["bench", "--duration", "#"],
    ]

    private func refuse(_ form: [String], _ number: String) throws {
        let words = form.map { $0.replacingOccurrences(of: "#", with: number) }
        // In one word, or a number with a dash would be an option.
        let option = try #require(words.firstIndex { $0.hasPrefix("-") && $0 != "-o" && $0 != "--" })
        let joined = words[..<option] + [words[option] + "=" + words[option + 1]] + words[(option + 2)...]
        let outcome = try Tool(Array(joined), environment: ["IPC_ROOT": "/dev/shm/" + uniqueName()]).finish()
        #expect(outcome.status == .exited(64), "\(joined): \(outcome.status) \(outcome.errors)")
        #expect(outcome.errors.contains(words[option].dropFirst(2)), "\(joined): \(outcome.errors)")
    }

    @Test(arguments: whole) func aNumberIsDecimalDigits(form: [String]) throws {
        for number in ["0x10", "+5", "-5", "1e3", "1.5", "", "٣"] { try refuse(form, number) }
    }

    @Test(arguments: fractions) func aTimeIsDecimalDigitsWithAFraction(form: [String]) throws {
        for number in ["0x10", "+1", "-1", "1e3", "inf", "nan", "infinity", "1.", ".5", "1_0", ""] {
            try refuse(form, number)
        }
    }

    @Test func positionsSignalsAndPermissionsHaveNoSigns() throws {
        for words in [
            ["tap", "c", "--from=1f:+5"], ["tap", "c", "--from=+1f:5"], ["tap", "c", "--from=-0:-0"],
            ["signal", "send", "+15", "1"], ["signal", "send", "RTMIN++1", "1"], ["signal", "send", "TERM", "+1"],
            ["signal", "send", "TERM", "0x10"], ["signal", "send", "TERM", "--value=+5", "1"],
            ["signal", "send", "TERM", "--value=0x5", "1"], ["fifo", "create", "/none/x", "--mode=+600"],
            ["fifo", "create", "/none/x", "--mode=0o600"], ["topic", "publish", "c", "x", "--permissions=-0"],
        ] {
            let outcome = try Tool(words).finish()
            #expect(outcome.status == .exited(64), "\(words): \(outcome.status) \(outcome.errors)")
        }
        #expect(try Numbers.signed("-9223372036854775808") == .min && Numbers.signed("7") == 7)
        #expect(try Numbers.permissions("0640") == 0o640 && Numbers.seconds("007.50") == .milliseconds(7500))
    }

    /// Also of more waits than one can count, or a time in another century.
    @Test func timeOutsHaveALimitThatIsTold() throws {
        let long = try ipc("event", "wait", channelName(), "--timeout", "1000000001")
        #expect(long.status == .exited(64) && long.errors.contains("1000000000"), "\(long.errors)")
        let name = channelName()
        defer { try? Latest<RawBytes>.remove(name) }
        _ = try ipc("latest", "set", name, "21.5", "--keep")
        #expect(try ipc("latest", "get", name, "--timeout", "1000000000").output == "21.5\n")
    }
}
