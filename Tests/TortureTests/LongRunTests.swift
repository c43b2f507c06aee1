import Glibc
import IPC
import TestSupport
import Testing

/// A short form of the long run (`Scripts/torture.sh`).
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

    /// Whoever interrupts it finds nothing of it.
    @Test(.timeLimit(.minutes(5)), arguments: [Signal.terminate, .interrupt])
    func anInterruptedRunLeavesNothing(signal: Signal) throws {
        let torture = try Peer(product("Torture"), ["--seconds", "60"])
        let begun = try torture.said()
        #expect(begun.hasPrefix("Torture --seed"))
        // Somewhere in a round; nothing is waited for.
        usleep(UInt32.random(in: 100_000..<1_500_000))
        try torture.child.handle.send(signal)
        _ = try torture.finish(within: .seconds(30))
        let prefix = "ipc-test-torture-\(torture.child.handle.identifier)"
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
