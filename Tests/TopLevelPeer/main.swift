// A program of top-level code, whose globals are never deinitialized. Its first argument is its role.
import Dispatch
import Glibc
import IPC

let role = CommandLine.arguments[1]
let signals = try SignalSource([.terminate, .interrupt])

if role == "after-pipeline" {
    let done = DispatchSemaphore(value: 0)
    Task.detached {
        _ = try await Pipeline([["true"], ["true"]]).run()
        done.signal()
    }
    done.wait()
}
print("ready")
fflush(nil)
print("got \(try signals.next(until: .after(.seconds(30))).signal)")
