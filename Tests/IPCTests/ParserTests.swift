import IPC
import TestSupport
import Testing

/// Parsers, with text that was made up by chance from what they look for: they accept what they print, and refuse the rest.
@Suite(.timeLimit(.minutes(5))) struct ParserTests {
    private func texts(_ pieces: [String], seed: UInt64, count: Int = 20_000) -> [String] {
        var chance = Seeded(seed)
        return (0..<count).map { _ in
            (0..<Int.random(in: 0...7, using: &chance)).map { _ in pieces.randomElement(using: &chance)! }.joined()
        }
    }

    @Test func whatAnEndpointAcceptsItPrints() throws {
        let pieces = [
            "tcp://", "udp://", "unix://", "unix:", "unix-abstract:", "[", "]", ":", "/", "::1", "127.0.0.1", "0",
            "65535",
            "65536", "-1", "18446744073709551616", "localhost", "é", "\u{0}", "\u{1b}[31m", "\n", "+", "@", "%", " ",
            String(repeating: "x", count: 107), "tcp", "//",
        ]
        var accepted = 0
        for text in texts(pieces, seed: 1) {
            do throws(IPCError) {
                let endpoint = try Endpoint(text)
                accepted += 1
                #expect(try Endpoint("\(endpoint)") == endpoint, "\(text.debugDescription)")
            } catch {
                #expect(error.code == .invalidName && !error.advice.isEmpty)
            }
        }
        #expect(accepted > 100)
    }

    @Test func whatASignalAcceptsItPrints() {
        let pieces = [
            "SIG", "sig", "TERM", "term", "RT", "RTMIN", "MIN", "+", "-", "0", "1", "30", "64", "65", "999", " ", "é",
            "ß",
        ]
        var accepted = 0
        for text in texts(pieces, seed: 2) {
            guard let signal = Signal(name: text) else { continue }
            accepted += 1
            // 32 and 33 are the C library's own, and have no name.
            #expect(Signal(name: signal.description) == signal || signal.description.hasPrefix("signal "), "\(text)")
        }
        #expect(accepted > 100)
    }

    @Test func whatANameAcceptsIsOneWord() {
        let pieces = [
            "/", "a", "jobs", ".", "..", "\u{0}", "é", "\u{1b}", "\n", String(repeating: "n", count: 250), "-",
        ]
        var accepted = 0
        for text in texts(pieces, seed: 3) {
            guard let name = try? ResourceName(text) else { continue }
            accepted += 1
            #expect(name.description.utf8.first == UInt8(ascii: "/") && !name.description.utf8.dropFirst().contains(47))
            #expect(name.description.utf8.count <= 256 && !name.description.utf8.contains(0))
        }
        #expect(accepted > 100)
    }
}
