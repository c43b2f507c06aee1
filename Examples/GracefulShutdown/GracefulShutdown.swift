// Signals, first use: finish what is in flight on SIGTERM or Ctrl-C, then end.
import Glibc
import IPC

@main
struct GracefulShutdown {
    static func main() throws {
        let signals = try SignalSource([.terminate, .interrupt])
        print("serving as \(getpid()); stop me with kill or Ctrl-C")
        fflush(nil)
        var served = 0
        while true {
            usleep(20_000)  // a piece of work
            served += 1
            if let received = try signals.tryNext() {
                print("\(received.signal): ending in order after \(served) pieces of work")
                return
            }
        }
    }
}
