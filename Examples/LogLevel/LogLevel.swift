// Signals, third use: more log on SIGUSR1, less on SIGUSR2, without a restart.
import Glibc
import IPC

@main
struct LogLevel {
    static let levels = ["error", "warning", "info", "debug"]

    static func main() throws {
        let signals = try SignalSource([.userDefined1, .userDefined2, .terminate])
        var level = 1
        print("log level \(levels[level]); send SIGUSR1 or SIGUSR2 to \(getpid()), SIGTERM to end")
        fflush(nil)
        while true {
            switch try signals.next().signal {
            case .userDefined1: level = min(level + 1, levels.count - 1)
            case .userDefined2: level = max(level - 1, 0)
            default: return
            }
            print("log level \(levels[level])")
            fflush(nil)
        }
    }
}
