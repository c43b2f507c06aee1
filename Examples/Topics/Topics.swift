// A topic: one process publishes quotes, two others get every one of them, in order, through shared memory.
import Glibc
import IPC
import IPCChannels

struct Quote: BitwiseCopyable {
    var symbol: UInt32
    var price: Double
}

@main
struct Topics {
    static let count = 100_000

    static func main() throws {
        let topic = try Topic<Quote>.openOrCreate("example/quotes")
        if CommandLine.arguments.count > 1 {
            var quotes = try topic.makeSubscription()
            print("subscribed")
            fflush(nil)
            var sum = 0.0
            for _ in 0..<count { sum += try quotes.receive(until: .after(.seconds(60))).price }
            return print("sum \(sum)")
        }

        let output = try AnonymousPipe()
        let target = output.writer.descriptor
        func startSubscriber() throws(IPCError) -> ChildProcess {
            try ChildProcess("/proc/self/exe", ["subscribe"], descriptors: [1: target])
        }
        let first = try startSubscriber()
        let second = try startSubscriber()
        let lines = output.closingWriter()
        try waitForSubscribers(2, lines)

        var publisher = try topic.makePublisher()
        for number in 0..<count {
            try publisher.publish(Quote(symbol: 7, price: Double(number % 10)), until: .after(.seconds(60)))
        }
        print(String(decoding: try lines.readToEnd(until: .after(.seconds(60))), as: UTF8.self), terminator: "")
        _ = try first.wait(until: .after(.seconds(5)))
        _ = try second.wait(until: .after(.seconds(5)))
    }

    /// Reads a line from each.
    static func waitForSubscribers(_ count: Int, _ lines: borrowing PipeReader) throws(IPCError) {
        var lineCount = 0
        var bytes = [UInt8](repeating: 0, count: 11)
        while lineCount < count {
            var elements = bytes.mutableSpan
            var buffer = elements.mutableBytes
            try lines.readExactly(into: &buffer, until: .after(.seconds(60)))
            lineCount += 1
        }
    }
}
