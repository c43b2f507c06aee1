import Foundation
import Glibc
import IPC
import IPCChannels
import TestSupport
import Testing

/// Nothing that a user asks for is ignored without a word: options that have no effect together are refused, and both are named.
@Suite(.timeLimit(.minutes(15))) struct IgnoredOptionTests {
    /// What is given, and what the error names.
    private static let refused: [(words: String, named: [String])] = [
        ("queue work c --concurrency 2 --count 0", ["--concurrency", "command"]),
        ("queue work c --drain --timeout 1", ["--drain", "--timeout"]),
        ("queue work c --format json -- cat", ["--format", "cat"]),
        ("queue work c --count 0 --format json --hex", ["--format", "--hex"]),
        ("queue dead c --timeout 1", ["--timeout", "--redrive"]),
        ("queue dead c --purge --timeout 1", ["--timeout", "--redrive"]),
        ("queue dead c --redrive --format json", ["--redrive", "--format"]),
        ("queue dead c --purge --format json", ["--purge", "--format"]),
        ("queue push c x --whole", ["--whole", "arguments"]),
        ("queue push c x --length-prefixed", ["--length-prefixed", "arguments"]),
        ("topic publish c x --whole", ["--whole", "arguments"]),
        ("latest set c x --length-prefixed", ["--length-prefixed", "arguments"]),
        ("mq send /none x --whole", ["--whole", "arguments"]),
        ("topic subscribe c --count 0 --format json --hex", ["--format", "--hex"]),
        ("topic observe c --format json --whole", ["--format", "--whole"]),
        ("latest watch c --count 0 --format json --hex", ["--format", "--hex"]),
        ("latest get c --format json --hex", ["--format", "--hex"]),
        ("mq receive /none --follow --count 3", ["--follow", "--count"]),
        ("mq receive /none --format json --hex", ["--format", "--hex"]),
        ("replay /none --step --speed 2", ["--step", "--speed"]),
        ("replay /none --format csv --speed 2", ["--format", "--speed"]),
        ("replay /none --format jsonl --prefix x", ["--format", "--prefix"]),
        ("queue dead c --redrive --raw", ["--redrive", "--raw"]),
        ("choose --remote --related", ["--remote", "--related"]),
        ("bench --count 10 --duration 1", ["--count", "--duration"]),
        ("bench --scaling --mechanism pipe", ["--scaling", "--mechanism"]),
        ("bench --scaling --size 64", ["--scaling", "--size"]),
        ("bench --scaling --placement free", ["--scaling", "--placement"]),
        ("bench --scaling --duration 1", ["--scaling", "--duration"]),
        ("bench --scaling --rate 10", ["--scaling", "--rate"]),
        ("bench --scaling --log 65536", ["--scaling", "--log"]),
        ("bench --scaling --baseline", ["--scaling", "--baseline"]),
        ("bench --scaling --api blocking", ["--scaling", "--api"]),
        ("bench --scaling --seed 1", ["--scaling", "--seed"]),
        ("bench --scaling --format json", ["--scaling", "--format"]),
    ]

    @Test(arguments: refused) func whatHasNoEffectIsRefused(words: String, named: [String]) throws {
        let root = "/dev/shm/" + uniqueName()
        defer { removeAll(root) }
        let outcome = try Tool(words.split(separator: " ").map(String.init), environment: ["IPC_ROOT": root]).finish()
        #expect(outcome.status == .exited(64), "\(words): \(outcome.status) \(outcome.errors)")
        for name in named { #expect(outcome.errors.contains(name), "\(words): \(outcome.errors)") }
        // Nothing was made before it was looked at.
        #expect(access(root, F_OK) != 0)
    }
}
