// Shared memory: both processes see the same pages; a robust mutex keeps them apart, a semaphore tells the end.
import Glibc
import IPC

@main
struct SharedMemoryAndSemaphores {
    static let rounds = 100_000

    static func main() throws {
        if CommandLine.arguments.count == 2 {
            let mapping = try SharedMemory.open(CommandLine.arguments[1]).map()
            let mutex = try SharedMutex.open(in: mapping, at: 0)
            let done = try SharedSemaphore.open(in: mapping, at: 64)
            for _ in 0..<rounds {
                try mutex.withLock { mapping.store(mapping.load(Int.self, at: 128) + 1, at: 128) }
            }
            try done.post()
            return
        }
        let name = "/ipc-example-\(getpid())"
        let mapping = try SharedMemory.create(name, byteCount: 4096).map()
        defer { try? SharedMemory.unlink(name) }
        _ = try SharedMutex.create(in: mapping, at: 0)
        let done = try SharedSemaphore.create(in: mapping, at: 64, value: 0)
        let first = try ChildProcess("/proc/self/exe", [name])
        let second = try ChildProcess("/proc/self/exe", [name])
        for _ in 0..<2 { try done.wait(until: .after(.seconds(30))) }
        _ = (try first.wait(), try second.wait())
        print("counted to", mapping.load(Int.self, at: 128), "of", 2 * rounds)
    }
}
