// Signals, second use: notice children that end. Several SIGCHLD at once are one, so each time look at *all* children,
// by their own handles: never wait for "any child", which would steal those of others.
import IPC

@main
struct ReapingChildren {
    static func main() throws {
        let signals = try SignalSource([.child])
        let first = try ChildProcess("sh", ["-c", "exit 1"])
        let second = try ChildProcess("sh", ["-c", "exit 2"])
        let third = try ChildProcess("sh", ["-c", "exit 3"])
        var statuses: [ExitStatus?] = [nil, nil, nil]
        while statuses.contains(nil) {
            _ = try signals.next(until: .after(.seconds(10)))
            if statuses[0] == nil { statuses[0] = try first.tryWait() }
            if statuses[1] == nil { statuses[1] = try second.tryWait() }
            if statuses[2] == nil { statuses[2] = try third.tryWait() }
        }
        for status in statuses { print(status!) }
    }
}
