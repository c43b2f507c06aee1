// A work queue: three workers share a hundred jobs. One of them is killed with a job in its hands; another one does it.
import Glibc
import IPC
import IPCChannels

@main
struct WorkQueues {
    static let count: UInt64 = 100
    static let options = ChannelOptions(lifetime: .whileUsed)

    static func main() throws {
        let queue = try WorkQueue<UInt64>.openOrCreate("example/work-\(getppidOfWorker())", options)
        switch CommandLine.arguments.dropFirst().first {
        case "work": try work(queue)
        case "hold": try hold(queue)
        default: try run(queue)
        }
    }

    /// The name has the number of the process that started it all, so that two runs do not mix.
    static func getppidOfWorker() -> Int32 { CommandLine.arguments.count > 1 ? getppid() : getpid() }

    static func run(_ queue: WorkQueue<UInt64>) throws {
        var producer = try queue.makeProducer()
        for number in 1...count { try producer.send(number) }
        let output = try AnonymousPipe()
        let target = output.writer.descriptor
        func start(_ role: String) throws(IPCError) -> ChildProcess {
            try ChildProcess("/proc/self/exe", [role], descriptors: [1: target])
        }
        let victim = try start("hold")
        let lines = output.closingWriter()
        print(try line(lines))
        try victim.handle.send(.kill)
        _ = try victim.wait()

        let results = try AnonymousPipe()
        let standardOutput = results.writer.descriptor
        let first = try ChildProcess("/proc/self/exe", ["work"], descriptors: [1: standardOutput])
        let second = try ChildProcess("/proc/self/exe", ["work"], descriptors: [1: standardOutput])
        let sums = String(decoding: try results.closingWriter().readToEnd(until: .after(.seconds(60))), as: UTF8.self)
        _ = try first.wait()
        _ = try second.wait()
        let total = sums.split(separator: "\n").compactMap { UInt64($0) }.reduce(0, +)
        print("done \(total) of \(count * (count + 1) / 2)")
        producer.close()
    }

    /// Works until nothing has come for a while; prints the sum of its jobs.
    static func work(_ queue: WorkQueue<UInt64>) throws {
        var worker = try queue.makeWorker()
        var sum: UInt64 = 0
        while let number = try next(&worker) { sum += number }
        print(sum)
    }

    static func next(_ worker: inout WorkQueue<UInt64>.Worker) throws(IPCError) -> UInt64? {
        let deadline = Deadline.after(.milliseconds(300))
        repeat {
            if let job = try worker.tryNext() {
                let number = job.message
                try job.acknowledge()
                return number
            }
            usleep(1000)
        } while !deadline.hasPassed
        return nil
    }

    static func hold(_ queue: WorkQueue<UInt64>) throws {
        var worker = try queue.makeWorker()
        let job = try worker.next()
        print("took job \(job.message)")
        fflush(nil)
        withExtendedLifetime(job) { while true { pause() } }
    }

    static func line(_ reader: borrowing PipeReader) throws(IPCError) -> String {
        var bytes = [UInt8](repeating: 0, count: 64)
        var elements = bytes.mutableSpan
        var buffer = elements.mutableBytes
        let count = try reader.read(into: &buffer, until: .after(.seconds(20)))
        return String(decoding: bytes[..<count].dropLast(), as: UTF8.self)
    }
}
