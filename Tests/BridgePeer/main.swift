import Glibc
import IPC
import IPCChannels

// A worker or a server that a test of the bridge can kill:
//   BridgePeer work QUEUE MILLISECONDS   does jobs of 8 bytes, each in that time; says "has N" and "did N"
//   BridgePeer serve SERVICE             answers calls of texts; says "cancelled" when a caller gives up
//   BridgePeer make COUNT                makes queues idle/queue/N and services idle/service/N that stay
//   BridgePeer push QUEUE COUNT          sends jobs
//   BridgePeer drain QUEUE COUNT         does so many jobs, and says how many in a second
//   BridgePeer calls SERVICE COUNT TASKS calls so often, by so many callers at once, and says how many in a second
// IPC_ROOT names the machine.

/// At once, though it is a pipe.
func say(_ text: String) {
    var line = text + "\n"
    _ = line.withUTF8 { write(1, $0.baseAddress, $0.count) }
}

func work(_ name: String, _ milliseconds: UInt32) throws {
    var worker = try AnyChannel.open(name, until: .after(.seconds(20))).makeReader()
    say("ready")
    while true {
        let job = try worker.take()
        let number = try job.bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        say("has \(number)")
        usleep(milliseconds * 1000)
        try job.acknowledge()
        say("did \(number)")
    }
}

func answer(_ call: consuming TakenMessage) throws {
    let words = String(decoding: try call.bytes, as: UTF8.self).split(separator: " ").map(String.init)
    let argument = words.count > 1 ? words[1] : ""
    switch words.first {
    case "echo": try call.reply(Array(argument.utf8).span.bytes)
    case "fail": try call.fail(Array(argument.utf8).span.bytes)
    case "metadata": try call.reply(Array((call.metadata[argument] ?? "none").utf8).span.bytes)
    case "left":
        let left = call.deadline.remaining.map { "\(Int($0 / .milliseconds(1)))" } ?? "for ever"
        try call.reply(Array(left.utf8).span.bytes)
    case "large": try? call.reply([UInt8](repeating: 7, count: Int(argument) ?? 0).span.bytes)
    case "hold":
        say("holds \(call.attempt)")
        while !call.isCancelled { usleep(1000) }
        say("cancelled")
    default: call.reject()
    }
}

func serve(_ name: String) throws {
    var server = try AnyChannel.open(name, until: .after(.seconds(20))).makeReader()
    say("ready")
    while true { try answer(server.take()) }
}

func make(_ count: Int) throws {
    for number in 0..<count {
        let options = ChannelOptions(lifetime: .kept, capacity: 1 << 16)
        _ = try AnyChannel.openOrCreate(.workQueue, "idle/queue/\(number)", options)
        _ = try AnyChannel.openOrCreate(.service, "idle/service/\(number)", options)
    }
}

func push(_ name: String, _ count: Int) throws {
    let options = ChannelOptions(lifetime: .kept, capacity: 1 << 22)
    var producer = try AnyChannel.openOrCreate(.workQueue, name, options).makeWriter()
    let job = [UInt8](repeating: 1, count: 64)
    for _ in 0..<count { try producer.write(job.span.bytes) }
}

func drain(_ name: String, _ count: Int) throws {
    var worker = try AnyChannel.open(name, until: .after(.seconds(20))).makeReader()
    try worker.take().acknowledge()
    let start = ContinuousClock.now
    for _ in 1..<count { try worker.take().acknowledge() }
    say("\(Int(Double(count - 1) / ((ContinuousClock.now - start) / .seconds(1)))) jobs/s")
}

func call(_ name: String, _ count: Int, _ tasks: Int) async throws {
    let service = try AnyChannel.open(name)
    let start = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<tasks {
            group.addTask {
                var client = try service.makeWriter()
                for _ in 0..<count / tasks {
                    _ = try await client.call(Array("echo x".utf8).span.bytes, until: .after(.seconds(20)))
                }
            }
        }
        try await group.waitForAll()
    }
    say("\(Int(Double(count) / ((ContinuousClock.now - start) / .seconds(1)))) calls/s")
}

let arguments = CommandLine.arguments
let count = arguments.count > 3 ? Int(arguments[3]) ?? 0 : 0
switch arguments.count > 2 ? arguments[1] : "" {
case "work": try work(arguments[2], UInt32(count))
case "serve": try serve(arguments[2])
case "make": try make(Int(arguments[2]) ?? 0)
case "push": try push(arguments[2], count)
case "drain": try drain(arguments[2], count)
case "calls": try await call(arguments[2], count, arguments.count > 4 ? Int(arguments[4]) ?? 1 : 1)
default: fatalError("BridgePeer ROLE NAME [COUNT [TASKS]]")
}
