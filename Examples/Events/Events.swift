// An event: a process waits, without polling, until another one says that the configuration has changed.
import Glibc
import IPC
import IPCChannels

@main
struct Events {
    static func main() throws {
        if CommandLine.arguments.count > 1 {
            let changed = try Event.open("example/configuration").makeParticipant()
            for _ in 0..<3 {
                try changed.wait(until: .after(.seconds(20)))
                print("configuration read again")
            }
            return
        }
        let changed = try Event.openOrCreate("example/configuration").makeParticipant()
        let server = try ChildProcess("/proc/self/exe", ["serve"])
        for _ in 0..<3 { changed.notify() }  // what is not taken yet is counted
        print("server: \(try server.wait(until: .after(.seconds(20))))")
    }
}
