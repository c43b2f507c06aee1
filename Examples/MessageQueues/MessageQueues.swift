// Message queues: whole messages, the highest priority first, then the oldest.
import Glibc
import IPC

@main
struct MessageQueues {
    static func main() throws {
        if CommandLine.arguments.count == 2 {
            let queue = try MessageQueue.open(CommandLine.arguments[1], access: .writeOnly)
            for (text, priority) in [("sweep", 1), ("cook", 5), ("wash", 1), ("fire!", 9)] as [(String, UInt32)] {
                try queue.send(text.utf8.span.bytes, priority: priority, until: .after(.seconds(5)))
            }
            return
        }
        let name = "/ipc-example-\(getpid())"
        let queue = try MessageQueue.create(name, maximumMessages: 8, messageSize: 64)
        defer { try? MessageQueue.unlink(name) }
        let child = try ChildProcess("/proc/self/exe", [name])
        _ = try child.wait(until: .after(.seconds(10)))
        for _ in 0..<4 {
            let message = try queue.receive(until: .after(.seconds(5)))
            print(message.priority, String(decoding: message.bytes, as: UTF8.self))
        }
    }
}
