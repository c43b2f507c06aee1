import Glibc
import IPC
import TestSupport
import Testing

/// Short forms of the long runs (`Scripts/torture.sh`, `Scripts/soak.sh`).
@Suite(.serialized, .timeLimit(.minutes(20))) struct LongRunTests {
    /// Another seed each time: a failure says which it was, and which round to repeat.
    @Test(.timeLimit(.minutes(5))) func survivorsSeeNothingOfTheDeathsAroundThem() throws {
        let seed = UInt32.random(in: 1 ... .max)
        // Other tests use the processor meanwhile, so waits of seconds count here, and of 100 ms in the long run.
        let torture = try Peer(
            product("Torture"), ["--seconds", "20", "--seed", "\(seed)", "--longest-wait", "3000"])
        let (status, text) = try torture.finish(within: .seconds(90))
        #expect(status == .exited(0), "\(text)")
        #expect(text.contains("violations "), "seed \(seed): \(text)")
        #expect(!text.contains(" 0 kills"), "seed \(seed): nobody was killed: \(text)")
    }

    /// The notes of all who send, work, call and serve agree, whatever happens to them.
    @Test(.timeLimit(.minutes(5))) func jobsAndCallsEndOnceWhateverHappensToThoseWhoHaveThem() throws {
        let seed = UInt32.random(in: 1 ... .max)
        let soak = try Peer(product("Soak"), ["--seconds", "12", "--seed", "\(seed)"])
        let (status, text) = try soak.finish(within: .seconds(120))
        #expect(status == .exited(0), "\(text)")
        // Nothing shows that no job was lost if there was none.
        for kind in ["acknowledged", "times rejected", "collected", "replied", "timedOut", "cancelled", "violations"] {
            #expect(text.contains(kind) && !text.contains(" 0 \(kind)"), "seed \(seed): \(kind): \(text)")
        }
        #expect(!text.contains("shutdowns  0,"), "seed \(seed): nobody was killed: \(text)")
        let left = try names(in: "/dev/shm").filter { $0.hasPrefix("ipc-test-soak-\(soak.child.handle.identifier)") }
        #expect(left == [])
    }

    /// Whoever interrupts it finds nothing of it.
    @Test(.timeLimit(.minutes(5)), arguments: ["Torture", "Soak"], [Signal.terminate, .interrupt])
    func anInterruptedRunLeavesNothing(program: String, signal: Signal) throws {
        let run = try Peer(product(program), ["--seconds", "60"])
        let begun = try run.said()
        #expect(begun.hasPrefix("\(program) --seed"))
        // Somewhere in a round; nothing is waited for.
        usleep(UInt32.random(in: 100_000..<1_500_000))
        try run.child.handle.send(signal)
        _ = try run.finish(within: .seconds(30))
        let prefix = "ipc-test-\(program.lowercased())-\(run.child.handle.identifier)"
        let left = try names(in: "/dev/shm").filter { $0.hasPrefix(prefix) }
        #expect(left == [])
    }

    private func names(in path: String) throws -> [String] {
        let folder = try #require(opendir(path))
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names
    }
}
