// What runs in a virtual machine that is about to crash, and after it has: see Scripts/crash.sh. The first argument is the
// mode; standard output is a device that the host has written to a file before `write` returns.
import Glibc
import IPC
import IPCChannels

@main
struct CrashPeer {
    static func main() {
        do { try run(Array(CommandLine.arguments.dropFirst())) } catch {
            Report.say("fault \(CommandLine.arguments.dropFirst().joined(separator: " ")): \(error)")
            exit(1)
        }
    }

    private static func run(_ arguments: [String]) throws {
        func number(_ index: Int) throws -> UInt64 {
            guard arguments.count > index, let number = UInt64(arguments[index]) else {
                throw IPCError(
                    .invalidArgument, "CrashPeer", arguments.joined(separator: " "),
                    advice:
                        "use check EPOCH HISTORY | count | publish CHANNEL WRITER EPOCH SEED | sync CHANNEL EPOCH SEED | send WRITER EPOCH SEED | work WORKER EPOCH SEED"
                )
            }
            return number
        }
        switch arguments.first {
        case "check":
            let history = try History(file: arguments.count > 2 ? arguments[2] : "/dev/null")
            guard try Check(history, epoch: number(1)).run() else { exit(1) }
        case "count": try Counts.create()
        case "publish":
            var publishing = try Publishing(
                TestedChannel.named(arguments[1]), writer: number(2), epoch: number(3), seed: number(4))
            try publishing.run()
        case "sync":
            try Publishing.syncOnly(TestedChannel.named(arguments[1]), epoch: number(2), seed: number(3))
        case "send": try Jobs.send(writer: number(1), epoch: number(2), seed: number(3))
        case "work": try Jobs.work(epoch: number(2), seed: number(3) &+ number(1))
        default: _ = try number(arguments.count)
        }
    }
}
