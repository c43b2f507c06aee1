// A program with an asynchronous main, which the runtime parks with an empty signal mask. Its first argument is its role.
import Dispatch
import Foundation
import IPC

@main
struct AsyncPeer {
    static func main() async throws {
        switch CommandLine.arguments[1] {
        case "loop": break
        case "after-pipeline": _ = try await Pipeline([["true"], ["true"]]).run(input: [1, 2, 3])
        case "foundation": print(try runProcess("true"), terminator: "")
        case "dispatch": keepDispatchBusy()
        case "foundation-child": return try showChild()
        default: fatalError("unknown role")
        }
        let signals = try SignalSource([.terminate, .interrupt])
        if CommandLine.arguments[1] == "foundation" { print(try runProcess("true"), terminator: "") }
        say("ready")
        for try await received in try signals.signals() {
            say("got \(received.signal)")
            break
        }
    }

    private static func say(_ text: String) {
        print(text)
        fflush(nil)
    }

    /// What a program writes that Foundation starts.
    private static func runProcess(_ words: String...) throws -> String {
        let (process, pipe) = (Process(), Pipe())
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.standardOutput = pipe
        try process.run()
        let output = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: output, as: UTF8.self)
    }

    /// The signals that Foundation's child blocks and ignores while a source lives.
    private static func showChild() throws {
        let signals = try SignalSource([.terminate, .interrupt, .userDefined1])
        say(try runProcess("grep", "-E", "SigBlk|SigIgn|SigCgt", "/proc/self/status"))
        try signals.close()
    }

    /// Every thread of a pool of Dispatch's computes, and timers fire. Not the pool that runs Swift's tasks, or none would run.
    private static func keepDispatchBusy() {
        for _ in 0..<8 {
            DispatchQueue.global(qos: .utility).async {
                var number: UInt64 = 1
                while true { number = number &* 6_364_136_223_846_793_005 &+ 1 }
            }
        }
        let timer = DispatchSource.makeTimerSource()
        timer.schedule(deadline: .now(), repeating: .milliseconds(1))
        timer.setEventHandler {}
        timer.resume()
        Thread.sleep(forTimeInterval: 0.05)
        withExtendedLifetime(timer) {}
    }
}
